/** The placeholders of endpoints and names that depend on the client. */

/** The placeholders in braces: `{sni.1}` of `{sni.1}.tenants.svc:5432`. */
export function placeholders(text: string): string[] {
  return text.includes('{') || text.includes('}') ? (text.match(/\{[^{}]*\}|[{}]/g) ?? []) : [];
}
