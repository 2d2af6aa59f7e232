/**
 * Healthy if it completes a full handshake with the upstream's own settings. If it has none (clients are
 * passed through to it), any certificate will do: all that we can ask is that it speaks TLS.
 */
import type { Check } from './check.ts';

export function tls(): Check {
  return { tls: 'always' };
}
