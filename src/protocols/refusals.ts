/** What several protocols refuse for the same reasons, each in its own words. */
import { ProxyError } from '../errors.ts';
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

/** For what follows a request for TLS too early: it would be taken for part of the protected session. */
export function stuffed(cve: 'CVE-2011-0411' | 'CVE-2021-23222'): ProxyError {
  return new ProxyError('ERR_STARTTLS_STUFFED', {
    side: 'client',
    message: 'the client sent bytes ahead of the answer to its request for TLS',
    hint: `this is how plain text is smuggled into a protected session (${cve})`,
  });
}

/** For a client that leaves politely. */
export function gone(): ProxyError {
  return new ProxyError('ERR_CLIENT_CLOSED', { side: 'client', message: 'the client said goodbye' });
}
