/** Server names, as routes and clients write them. */

/** Normalizes a name for comparison: lower case, without the trailing dot of an absolute name. */
export function normalizeServerName(name: string): string {
  const lower = name.toLowerCase();
  return lower.endsWith('.') ? lower.slice(0, -1) : lower;
}

/** A client's server name, or undefined if it is an IPv6 address or `host:port`, which some clients send. */
export function hostNameOf(sni: string | undefined): string | undefined {
  return sni?.includes(':') ? undefined : sni;
}

/** The pattern for any name; a client without a name does not match. */
export const everyName = '*';

/** `example.com` for the pattern `*.example.com`; undefined for a plain name, and for `*`. */
export function wildcardSuffix(pattern: string): string | undefined {
  return pattern.startsWith('*.') ? pattern.slice(2) : undefined;
}

/** Whether a text consists of one or more non-empty labels, as the `*` of a pattern requires. */
export function isLabels(text: string): boolean {
  return text !== '' && !text.startsWith('.') && !text.endsWith('.') && !text.includes('..');
}
