/** What an operator has taken out of service: open connections stay, new ones go elsewhere. */

/** Without `endpoint`, all endpoints of the upstream, those that clients choose by templates included. */
export type Drain = { readonly upstream: string; readonly endpoint: string | undefined };

export function isDrained(drains: readonly Drain[], upstream: string, endpoint: string): boolean {
  return drains.some(
    (drain) => drain.upstream === upstream && (drain.endpoint === undefined || drain.endpoint === endpoint),
  );
}
