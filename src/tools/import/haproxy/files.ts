/** Reads the PEM files that HAProxy names: certificates with keys, CAs, revocation lists. */
import { X509Certificate } from 'node:crypto';
import { patternOf } from '../clients.ts';
import { addNamed, type Draft } from '../draft.ts';
import type { Notes } from '../notes.ts';
import type { Surroundings } from '../result.ts';
import type { Line } from './syntax.ts';

export type PemFiles = {
  /** The name of the certificate in a `crt` file, added to the draft on first use. */
  readonly certificate: (path: string, line: Line) => string;
  /** All files that a `crt` stands for: for a directory, its files in order. */
  readonly expand: (path: string) => readonly string[];
  /** The names in a certificate file and its key types; undefined if it cannot be read. */
  readonly holding: (path: string) => Holding | undefined;
  /** Whether a certificate in the draft covers one of these names or patterns. */
  readonly fits: (certificate: string, names: readonly string[]) => boolean;
  /** The name of an authority for these files; `system` for `@system-ca`. */
  readonly authority: (wanted: string, ca: readonly string[], crl: string | undefined) => string;
};

export type KeyType = 'ecdsa' | 'rsa' | 'other';
type Holding = { readonly names: readonly string[]; readonly types: readonly KeyType[] };

/** `global` says what paths are relative to (`crt-base`, `ca-base`). */
export function createPemFiles(
  draft: Draft,
  bases: { readonly crt: string; readonly ca: string },
  notes: Notes,
  surroundings: Surroundings,
): PemFiles {
  const { read, list } = surroundings;
  const certificates = new Map<string, string>();
  const paths = new Map<string, string>();
  const holding = (given: string) => holdingAt(below(bases.crt, given), read);
  return {
    holding,
    authority: createAuthorities(draft, bases.ca, surroundings),
    fits(certificate, names) {
      const held = holding(paths.get(certificate) ?? '')?.names ?? [];
      return names.some((name) => held.includes(name) || held.includes(name.replace(/^[^.]+/, '*')));
    },
    certificate(given, line) {
      const path = below(bases.crt, given);
      const known = certificates.get(path);
      if (known !== undefined) return known;
      const pairs = bundleAt(path, read).map((file) => pairAt(file, line, notes, surroundings));
      const value = pairs.length > 0 ? { pairs } : pairAt(path, line, notes, surroundings);
      const name = addNamed(draft.certificates, baseName(path), value);
      certificates.set(path, name);
      paths.set(name, given);
      return name;
    },
    expand(path) {
      const names = list(below(bases.crt, path));
      if (names === undefined) return [path];
      const listed = names.filter((name) => !/^\.|\.(key|ocsp|issuer|sctl)$/.test(name)).sort();
      return listed.map((name) => `${path.replace(/\/$/, '')}/${name}`);
    },
  };
}

/** Adds authorities to the draft, one for each set of files. */
function createAuthorities(
  draft: Draft,
  base: string,
  { list, pathFor }: Surroundings,
): PemFiles['authority'] {
  const known = new Map<string, string>();
  return (wanted, ca, crl) => {
    if (ca.length === 1 && ca[0] === '@system-ca') return 'system';
    const files = ca.flatMap((path) => {
      const full = below(base, path);
      return list(full)?.map((name) => `${full}/${name}`) ?? [full];
    });
    const value = {
      ca: files.length === 1 ? pathFor(files[0] ?? '') : files.map(pathFor),
      ...(crl !== undefined && { crl: pathFor(below(base, crl)) }),
    };
    const key = JSON.stringify(value);
    const name = known.get(key) ?? addNamed(draft.authorities, wanted, value);
    known.set(key, name);
    return name;
  };
}

function below(base: string, path: string): string {
  return path.startsWith('/') || base === '' ? path : `${base}/${path}`;
}

/** `example` of `/etc/ssl/example.pem`. */
function baseName(path: string): string {
  const file = path.split('/').at(-1) ?? path;
  return file.replace(/\.(pem|crt|cert|cer)$/, '');
}

type Pair = { readonly cert: string; readonly key: string; readonly ocsp?: string };

/** A certificate with its key in the same file, or in FILE.key. Adds a note if there is neither. */
function pairAt(path: string, line: Line, notes: Notes, surroundings: Surroundings): Pair {
  const { read, pathFor } = surroundings;
  const key = keyFor(path, read);
  if (key === undefined) {
    const isThere = read(path) !== undefined;
    const message = 'it cannot be read, so its key is taken to be in the same file';
    notes.look(line, `crt ${path}`, isThere ? `no key is there, nor in ${path}.key` : message);
  }
  const ocsp = read(`${path}.ocsp`) === undefined ? {} : { ocsp: pathFor(`${path}.ocsp`) };
  return { cert: pathFor(path), key: pathFor(key ?? path), ...ocsp };
}

function keyFor(path: string, read: Surroundings['read']): string | undefined {
  const places = [path, `${path}.key`, path.replace(/\.[^./]+$/, '.key')];
  return places.find((place) => read(place)?.includes('PRIVATE KEY-----'));
}

/** A bundle: FILE.rsa and FILE.ecdsa instead of FILE. */
function bundleAt(path: string, read: Surroundings['read']): readonly string[] {
  if (read(path) !== undefined) return [];
  return ['ecdsa', 'rsa', 'dsa'].map((type) => `${path}.${type}`).filter((file) => read(file) !== undefined);
}

function holdingAt(path: string, read: Surroundings['read']): Holding | undefined {
  const alone = read(path);
  const texts = alone === undefined ? bundleAt(path, read).map(read) : [alone];
  const held = texts.flatMap((text) => (text === undefined ? [] : (holdingOf(text) ?? [])));
  if (held.length === 0) return undefined;
  return { names: held.flatMap(({ names }) => names), types: held.flatMap(({ types }) => types) };
}

/** The names in a file's first certificate, including CNs, as HAProxy uses them too. */
function holdingOf(pem: string): Holding | undefined {
  try {
    const certificate = new X509Certificate(pem);
    const { subjectAltName = '', publicKey } = certificate;
    // Node returns undefined for an empty subject, contrary to its type.
    const subject: string | undefined = certificate.subject;
    const sans = subjectAltName.split(', ').flatMap((san) => (san.startsWith('DNS:') ? [san.slice(4)] : []));
    const cns = [...(subject ?? '').matchAll(/^CN=(.+)$/gm)].map(([, cn = '']) => cn);
    const type = publicKey.asymmetricKeyType;
    return {
      names: [...sans, ...cns].flatMap((name) => patternOf(name) ?? []),
      types: [type === 'ec' ? 'ecdsa' : type === 'rsa' ? 'rsa' : 'other'],
    };
  } catch {
    return undefined;
  }
}
