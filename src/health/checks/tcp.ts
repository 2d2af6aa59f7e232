/** Healthy if it accepts connections. */
import type { Check } from './check.ts';

export function tcp(): Check {
  return { tls: 'never' };
}
