/** The demo's throw-away PKI: made on the first run, and reused while it is complete and valid. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { caFiles, filesOf, writeAll } from '../pki/directory.ts';
import { type Credential, createCa, issue, selfSigned } from '../pki/issue.ts';

/**
 * `ca` signs what clients and penstock's listeners present, `internal-ca` what upstreams and penstock show
 * each other.
 */
type CaName = 'ca' | 'internal-ca';

const cas: Record<CaName, string> = { ca: 'penstock demo CA', 'internal-ca': 'penstock demo internal CA' };

type Leaf = { readonly by: CaName | 'itself'; readonly cn: string; readonly dns?: readonly string[] };

const leaves = {
  echo: { by: 'ca', cn: 'echo.demo.test', dns: ['echo.demo.test'] },
  vault: { by: 'ca', cn: 'vault.demo.test', dns: ['vault.demo.test'] },
  // psql connects to "localhost".
  database: { by: 'ca', cn: 'db.demo.test', dns: ['db.demo.test', 'localhost'] },
  alice: { by: 'ca', cn: 'alice' },
  bob: { by: 'ca', cn: 'bob' },
  sensor: { by: 'itself', cn: 'sensor' },
  stranger: { by: 'itself', cn: 'sensor' },
  'secure-upstream': { by: 'internal-ca', cn: 'secure.demo.test', dns: ['secure.demo.test'] },
  'vault-upstream': { by: 'internal-ca', cn: 'vault.internal', dns: ['vault.internal'] },
  penstock: { by: 'internal-ca', cn: 'penstock' },
} as const satisfies Record<string, Leaf>;

type Name = CaName | keyof typeof leaves;

/** Texts are PEM; each is also in the directory, as NAME.crt and NAME.key. */
export type DemoPki = Readonly<Record<Name, Pick<Credential, 'cert' | 'key'>>>;

/**
 * Reads the PKI in the directory, or makes one there; only the owner can read keys. Throws the system's
 * errors.
 */
export async function openPki(directory: string): Promise<{ pki: DemoPki; reused: boolean }> {
  const found = readPki(directory);
  if (found) return { pki: found, reused: true };
  const pki = await makePki();
  const texts = Object.entries(pki).flatMap(([name, { cert, key }]) => {
    const files = pathsOf(directory, name);
    return [
      [files.cert, cert],
      [files.key, key],
    ];
  });
  writeAll(Object.fromEntries(texts));
  return { pki, reused: false };
}

async function makePki(): Promise<DemoPki> {
  const ca = await createCa({ cn: cas.ca });
  const internal = await createCa({ cn: cas['internal-ca'] });
  const issuers: Record<string, Credential> = { ca, 'internal-ca': internal };
  const made: Record<string, Pick<Credential, 'cert' | 'key'>> = { ...issuers };
  for (const [name, leaf] of Object.entries<Leaf>(leaves)) {
    const options = { cn: leaf.cn, dns: leaf.dns, usage: leaf.dns ? 'server' : 'client' } as const;
    const issuer = issuers[leaf.by];
    made[name] = issuer ? await issue(issuer, options) : await selfSigned(options);
  }
  return made as DemoPki;
}

/** Undefined if anything is missing, unreadable, from another CA or version, or valid for less than a day. */
function readPki(directory: string): DemoPki | undefined {
  const pki: Record<string, { cert: string; key: string }> = {};
  try {
    for (const name of [...Object.keys(cas), ...Object.keys(leaves)]) {
      const files = pathsOf(directory, name);
      pki[name] = { cert: readFileSync(files.cert, 'utf8'), key: readFileSync(files.key, 'utf8') };
      if (!isUsable(name, pki)) return undefined;
    }
  } catch {
    // If anything cannot be read, a new PKI replaces it.
    return undefined;
  }
  return pki as DemoPki;
}

function isUsable(name: string, pki: Readonly<Record<string, { cert: string; key: string }>>): boolean {
  const { cert = '', key = '' } = pki[name] ?? {};
  const certificate = new X509Certificate(cert);
  const dayAhead = Date.now() + 86_400_000;
  if (Date.parse(certificate.validTo) < dayAhead || !certificate.checkPrivateKey(createPrivateKey(key))) {
    return false;
  }
  const leaf: Leaf | undefined = (leaves as Record<string, Leaf>)[name];
  if (leaf === undefined) return true;
  const issuer = new X509Certificate(pki[leaf.by]?.cert ?? cert);
  return (
    certificate.verify(issuer.publicKey) &&
    certificate.subject === `CN=${leaf.cn}` &&
    (leaf.dns ?? []).every((dns) => certificate.checkHost(dns) !== undefined)
  );
}

function pathsOf(directory: string, name: string) {
  return name === 'ca' ? caFiles(directory) : filesOf(directory, name);
}
