/** Server names as routes and clients write them. */

/** The spelling that names are compared in: lower case, without the trailing dot of an absolute name. */
export function normalizeServerName(name: string): string {
  const lower = name.toLowerCase();
  return lower.endsWith('.') ? lower.slice(0, -1) : lower;
}

/** A client's server name, if it is one: an IPv6 address or `host:port`, which some send, is no name for anything. */
export function hostNameOf(sni: string | undefined): string | undefined {
  return sni?.includes(':') ? undefined : sni;
}

/** The pattern of any name at all, but not of none. */
export const everyName = '*';

/** `example.com` for the pattern `*.example.com`; undefined for a plain name, and for `*`. */
export function wildcardSuffix(pattern: string): string | undefined {
  return pattern.startsWith('*.') ? pattern.slice(2) : undefined;
}

/** Whether a text is one label or more with nothing empty among them: what the `*` of a pattern can stand for. */
export function isLabels(text: string): boolean {
  return text !== '' && !text.startsWith('.') && !text.endsWith('.') && !text.includes('..');
}
