/** Whether the certificates of an `ssl` are certificates, and have these keys. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { Fields } from '../apisix/objects.ts';
import { isFields } from '../apisix/objects.ts';

/** What is wrong, with its place; undefined if nothing is. Repeats nothing of a key. */
export function troubleWithPairs(ssl: Fields): string | undefined {
  const [certs, keys] = [listed(ssl['certs']), listed(ssl['keys'])];
  const pairs = [
    { cert: ssl['cert'], key: ssl['key'], at: '' },
    ...certs.map((cert, index) => ({ cert, key: keys[index], at: `[${index}]` })),
  ];
  for (const { cert, key, at } of pairs) {
    const [ofCert, ofKey] = at === '' ? ['cert', 'key'] : [`certs${at}`, `keys${at}`];
    const leaf = orUndefined(() => new X509Certificate(String(cert)));
    if (leaf === undefined) return `${ofCert}: it cannot be parsed as a certificate`;
    const own = orUndefined(() => createPrivateKey(String(key)));
    if (own === undefined) return `${ofKey}: it cannot be parsed as a private key without a passphrase`;
    if (!leaf.checkPrivateKey(own)) return `${ofKey}: it is not the key of the certificate in ${ofCert}`;
  }
  const client = ssl['client'];
  const ca = isFields(client) ? client['ca'] : undefined;
  if (ca !== undefined && orUndefined(() => new X509Certificate(String(ca))) === undefined) {
    return 'client.ca: it cannot be parsed as a certificate';
  }
  return undefined;
}

function listed(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function orUndefined<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}
