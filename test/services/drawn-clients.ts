/** Clients at random, of those kinds between which a configuration may distinguish. */
import fc from 'fast-check';

export type CorpusClient = {
  readonly port: number;
  readonly from: string;
  readonly plain: boolean;
  readonly sni: string | undefined;
  readonly alpn: readonly string[] | undefined;
  readonly certificate: 'app' | 'other' | 'stranger' | undefined;
};

/** `count` of them, those that are alike once. `text` is the configuration with all that it names. */
export function drawnClients(
  text: string,
  ports: readonly number[],
  count: number,
  seed: number,
): CorpusClient[] {
  const names = namesIn(text);
  const sources = sourcesIn(text);
  const alpns = alpnsIn(text);
  const asksCertificate = /verify|client_certificate/.test(text);
  const client = fc.record({
    port: fc.constantFrom(...ports),
    from: fc.constantFrom(...sources),
    plain: fc.integer({ min: 0, max: 9 }).map((it) => it === 0),
    sni: fc.constantFrom(...names, undefined),
    alpn: fc.constantFrom(undefined, ...alpns.map((one) => [one]), ...(alpns.length > 1 ? [alpns] : [])),
    certificate: fc.constantFrom(
      ...(asksCertificate ? (['app', 'other', 'stranger', undefined] as const) : [undefined]),
    ),
  });
  const all = fc.sample(client, { seed, numRuns: count });
  const plain = { sni: undefined, alpn: undefined, certificate: undefined };
  const unique = new Map(
    all.map((one) => (one.plain ? { ...one, ...plain } : one)).map((one) => [JSON.stringify(one), one]),
  );
  return [...unique.values()];
}

/** Those that are mentioned, one below and one beside each, and strangers. */
function namesIn(text: string): string[] {
  const found =
    text.match(/(?<![\w/@])\.?[a-z0-9*_-]+(?:\.[a-z0-9-]+)*\.(?:com|org|net|test|internal|example)\b/g) ?? [];
  const names = found.map((name) => name.replace(/^\*?\.|^_wildcard\./, '').replaceAll('*', 'x'));
  const all = names.flatMap((name) => [
    name,
    `x.${name}`,
    `y.x.${name}`,
    name.split('.').slice(1).join('.') || 'com',
    `x${name}`,
  ]);
  return [...new Set([...all, 'nobody.invalid'])]
    .filter((name) => name.includes('.') && /^[a-z0-9_.-]+$/.test(name))
    .slice(0, 60);
}

/** One address within each network that is mentioned, and one that is not. */
function sourcesIn(text: string): string[] {
  const found = text.match(/127\.\d+\.\d+\.\d+(?:\/\d+)?/g) ?? [];
  const networks = found.filter(
    (one) => one.includes('/') || text.includes(`src ${one}`) || /(allow|deny) /.test(text),
  );
  const inside = networks.map((one) => one.replace(/\/\d+$/, '').replace(/\.0$/, '.9'));
  return [...new Set(['127.0.0.1', '127.77.0.1', ...inside])].slice(0, 8);
}

function alpnsIn(text: string): string[] {
  if (!/alpn/.test(text)) return [];
  const found = text.match(/\b(h2|http\/1\.1|postgresql|mqtt|acme-tls\/1|amqp|xmpp-client|imap)\b/g) ?? [];
  return [...new Set([...found, 'h2'])].slice(0, 4);
}
