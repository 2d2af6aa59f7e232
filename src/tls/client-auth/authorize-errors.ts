/** Why the user's own check, a module at this path, lets nobody in, or not this client. */
import { type ConnectionCode, ProxyError } from '../../errors.ts';
import type { Answer } from './authorize-thread.ts';

export function refusalOf(modulePath: string, answer: Answer): ProxyError | undefined {
  switch (answer.kind) {
    case 'allow':
      return undefined;
    case 'deny': {
      const reason = printable(answer.reason);
      return refusal(modulePath, 'ERR_AUTHORIZE_DENIED', `denied the client${reason && `: ${reason}`}`);
    }
    case 'failed':
      return failure(modulePath, `did not decide: ${printable(answer.reason)}`);
  }
}

export function unusableError(modulePath: string, reason: string): ProxyError {
  const isTypeScript = /\.[cm]?ts$/.test(modulePath);
  const hint =
    isTypeScript && !process.features.typescript
      ? `Node ${process.versions.node} does not run TypeScript: use Node 22.18 or later, or make it a .mjs file`
      : 'the module needs a default export: (client) => boolean | { deny: string }, or a promise of it';
  return failure(modulePath, `cannot be used: ${printable(reason)}`, hint);
}

export function ended(modulePath: string): ProxyError {
  return failure(modulePath, 'was ended before it answered, by a reload or a shutdown');
}

export function failure(
  modulePath: string,
  what: string,
  hint = 'see what the module does with such a client',
): ProxyError {
  return refusal(modulePath, 'ERR_AUTHORIZE_FAILED', what, hint);
}

export function refusal(modulePath: string, code: ConnectionCode, what: string, hint?: string): ProxyError {
  const side = code === 'ERR_AUTHORIZE_DENIED' ? 'client' : 'proxy';
  return new ProxyError(code, {
    side,
    message: `the check ${modulePath} ${what}`,
    ...(hint && { hint }),
  });
}

/**
 * A module's text may contain what a client sent: removes control and invisible
 * characters, and limits the length.
 */
export function printable(text: string): string {
  const visible = text.toWellFormed().replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ');
  return visible.length <= longestReason ? visible : `${visible.slice(0, longestReason)}...`;
}

const longestReason = 300;
