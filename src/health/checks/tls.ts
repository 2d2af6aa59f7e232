/**
 * A full handshake, by the upstream's own settings. Where it has none (clients are passed through to it), any certificate
 * will do: that somebody speaks TLS is all that can be asked.
 */
import type { Check } from './check.ts';

export function tls(): Check {
  return { tls: 'always' };
}
