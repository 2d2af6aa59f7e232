/** The PEM files that HAProxy names: certificates with their keys, CAs, revocation lists. */
import { X509Certificate } from 'node:crypto';
import { patternOf } from '../clients.ts';
import { addNamed, type Draft } from '../draft.ts';
import type { Notes } from '../notes.ts';
import type { Surroundings } from '../result.ts';
import type { Line } from './syntax.ts';

export type PemFiles = {
  /** The name of the certificate in a file of HAProxy's (`crt`), put into the draft on first use. */
  readonly certificate: (path: string, line: Line) => string;
  /** All files that a `crt` stands for: of a directory those in it, in order. */
  readonly expand: (path: string) => readonly string[];
  /** The names in it, and what types of keys it is for; undefined if it cannot be read. */
  readonly holding: (path: string) => Holding | undefined;
  /** Whether a certificate of the draft is for one of these names or patterns. */
  readonly fits: (certificate: string, names: readonly string[]) => boolean;
  /** The name of an authority of these files; `system` for `@system-ca`. */
  readonly authority: (wanted: string, ca: readonly string[], crl: string | undefined) => string;
};

export type KeyType = 'ecdsa' | 'rsa' | 'other';
type Holding = { readonly names: readonly string[]; readonly types: readonly KeyType[] };

/** `global` tells what paths are relative to (`crt-base`, `ca-base`). */
export function createPemFiles(
  draft: Draft,
  bases: { readonly crt: string; readonly ca: string },
  notes: Notes,
  surroundings: Surroundings,
): PemFiles {
  const certificates = new Map<string, string>();
  const authorities = new Map<string, string>();
  const below = (base: string, path: string) =>
    path.startsWith('/') || base === '' ? path : `${base}/${path}`;
  const { read, list, pathFor } = surroundings;

  /** With the key in the same file, or beside it in FILE.key; undefined if neither is there. */
  const pairOf = (path: string, line: Line, isKnownThere = false) => {
    const cert = read(path);
    const ocsp = read(`${path}.ocsp`) === undefined ? {} : { ocsp: pathFor(`${path}.ocsp`) };
    const key = [path, `${path}.key`, path.replace(/\.[^./]+$/, '.key')].find((candidate) =>
      read(candidate)?.includes('PRIVATE KEY-----'),
    );
    if (cert === undefined && isKnownThere) return undefined;
    if (key === undefined) {
      const message = 'it cannot be read here, so its key is taken to be in the same file';
      notes.look(line, `crt ${path}`, cert === undefined ? message : 'no key is there, nor in FILE.key');
    }
    return { cert: pathFor(path), key: pathFor(key ?? path), ...ocsp };
  };

  const paths = new Map<string, string>();
  const holding = (given: string): Holding | undefined => {
    const path = below(bases.crt, given);
    const texts = read(path) === undefined ? bundled.map((type) => read(`${path}.${type}`)) : [read(path)];
    const held = texts.flatMap((text) => (text === undefined ? [] : (holdingOf(text) ?? [])));
    if (held.length === 0) return undefined;
    return { names: held.flatMap(({ names }) => names), types: held.flatMap(({ types }) => types) };
  };
  return {
    holding,
    fits(certificate, names) {
      const held = holding(paths.get(certificate) ?? '')?.names ?? [];
      return names.some((name) => held.includes(name) || held.includes(name.replace(/^[^.]+/, '*')));
    },
    certificate(given, line) {
      const path = below(bases.crt, given);
      const known = certificates.get(path);
      if (known !== undefined) return known;
      // A bundle: FILE.rsa and FILE.ecdsa in place of FILE.
      const bundle =
        read(path) === undefined
          ? bundled.flatMap((type) => pairOf(`${path}.${type}`, line, true) ?? [])
          : [];
      const base =
        path
          .split('/')
          .at(-1)
          ?.replace(/\.(pem|crt|cert|cer)$/, '') ?? path;
      const value = bundle.length > 0 ? { pairs: bundle } : (pairOf(path, line) ?? {});
      const name = addNamed(draft.certificates, base, value);
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
    authority(wanted, ca, crl) {
      if (ca.length === 1 && ca[0] === '@system-ca') return 'system';
      const files = ca.flatMap((path) => {
        const full = below(bases.ca, path);
        return list(full)?.map((name) => `${full}/${name}`) ?? [full];
      });
      const value = {
        ca: files.length === 1 ? pathFor(files[0] ?? '') : files.map(pathFor),
        ...(crl !== undefined && { crl: pathFor(below(bases.ca, crl)) }),
      };
      const key = JSON.stringify(value);
      const name = authorities.get(key) ?? addNamed(draft.authorities, wanted, value);
      authorities.set(key, name);
      return name;
    },
  };
}

/** The endings of a bundle's files. */
const bundled = ['ecdsa', 'rsa', 'dsa'];

/** The names of the first certificate of a file. HAProxy goes by its CNs, too. */
function holdingOf(pem: string): Holding | undefined {
  try {
    const certificate = new X509Certificate(pem);
    const { subjectAltName = '', publicKey } = certificate;
    // Node says undefined of an empty one, whatever its type says.
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
