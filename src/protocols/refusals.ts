/** Why clients are turned away; each protocol has words of its own for it. */
import type { Refusal } from './protocol.ts';

/** Why a client is turned away, as far as its last words differ by it. */
export type Reason = 'needs_tls' | 'misspoken' | 'full' | 'unreachable';

/** Undefined for a client that has left, or that is inside TLS, where it understands an alert. */
export function reasonFor({ code, phase }: Refusal): Reason | undefined {
  if (code === 'ERR_STARTTLS_REQUIRED' || code === 'ERR_NO_ROUTE') return 'needs_tls';
  if (phase === 'starttls') return code === 'ERR_CLIENT_CLOSED' ? undefined : 'misspoken';
  if (phase !== 'connect') return undefined;
  return /^ERR_UPSTREAM_(LIMIT|QUEUE)/.test(code) ? 'full' : 'unreachable';
}
