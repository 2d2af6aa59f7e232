/** Imports APISIX's `ssls`, which contain certificates and keys. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { asOneLabel, type Clients, patternOf, patternsAbove, spellingOf } from '../clients.ts';
import { addNamed, type Draft, type WrittenFile } from '../draft.ts';
import type { Notes } from '../notes.ts';
import type { Surroundings } from '../result.ts';
import type { Value } from '../value.ts';
import type { ApisixObject, Objects } from './objects.ts';
import type { Strange } from './strange.ts';

export type Certificates = {
  /**
   * How APISIX treats such clients: those without a name as if they had sent `fallback_sni`. undefined if it
   * then still has no name for them, and aborts the handshake.
   */
  readonly takenFor: (clients: Clients) => Clients | undefined;
  /**
   * How TLS is terminated for such clients; undefined if APISIX has no certificate for them and refuses them.
   */
  readonly tlsFor: (clients: Clients) => TlsSettings | undefined;
  /** Whether what penstock does not know may decide which of them the certificate is for. */
  readonly isUnclearFor: (clients: Clients) => boolean;
  /** What client certificates such clients need; undefined as above. Adds nothing to the draft. */
  readonly authFor: (clients: Clients) => 'none' | 'require' | undefined;
  /** The names and patterns of all certificates. */
  readonly patterns: readonly string[];
  /**
   * The name of a certificate to present to upstreams, by the id of its `ssl`; undefined if there is none.
   */
  readonly clientCertificate: (id: string, from: Value) => string | undefined;
  /** The name of a certificate that the upstream object itself contains. */
  readonly inlineCertificate: (cert: Value, key: Value, wanted: string) => string;
  readonly files: readonly WrittenFile[];
};

export type TlsSettings = {
  readonly certificates: readonly string[];
  readonly client_auth?: { readonly mode: 'require'; readonly authority: string };
};

type Ssl = ApisixObject & { readonly snis: readonly string[] };

/** Adds to the draft only what is used. Clients of `strange` ones are refused. */
export function createCertificates(
  { ssls, settings }: Objects,
  draft: Draft,
  strange: Strange,
  notes: Notes,
  surroundings: Surroundings,
): Certificates {
  const files: WrittenFile[] = [];
  const store = createStore(draft, files, notes, surroundings);
  const enabled = ssls.filter(({ value }) => {
    const off = value.get('status').raw === 0;
    if (off) notes.leftOut(value.place, value.name, 'it is disabled (status: 0)');
    return !off;
  });
  const servers = enabled
    .filter(({ value }) => value.get('type').text !== 'client')
    .map((one) => withNames(one, notes));
  const byName = indexByName(servers, notes);
  const made = new Map<Ssl, TlsSettings>();
  const settingsOf = (ssl: Ssl) => {
    const settings = made.get(ssl) ?? terminateSettings(ssl, store, draft, notes);
    made.set(ssl, settings);
    return settings;
  };
  const clients = new Map<string, string>();
  const fallback = fallbackName(settings, notes);
  return {
    files,
    takenFor(client) {
      if (client.kind !== 'nameless') return client;
      return fallback === undefined ? undefined : { kind: 'name', name: fallback };
    },
    patterns: servers.flatMap(({ snis }) =>
      snis.flatMap((sni) => (sni === '*' ? [] : [sni, asOneLabel(sni)])),
    ),
    tlsFor(client) {
      const ssl = sslFor(client, byName);
      return ssl && settingsOf(ssl);
    },
    isUnclearFor(client) {
      const ssl = sslFor(client, byName);
      return ssl !== undefined && strange.narrows(ssl.value);
    },
    authFor(client) {
      const ssl = sslFor(client, byName);
      return ssl && (ssl.value.keys.includes('client') ? 'require' : 'none');
    },
    clientCertificate(id, from) {
      const known = clients.get(id);
      if (known !== undefined) return known;
      const ssl = enabled.find((one) => one.id === id && one.value.get('type').text === 'client');
      if (!ssl) {
        notes.notCarried(from.place, from.name, `there is no ssl "${id}" of type client`);
        return undefined;
      }
      const name = store.pairs(ssl.value, `client-${id}`);
      clients.set(id, name);
      return name;
    },
    inlineCertificate: (cert, key, wanted) => store.pair(wanted, [[cert, key]]),
  };
}

/** undefined if there is none that can be read; clients without a name are then refused. */
function fallbackName(settings: Value | undefined, notes: Notes): string | undefined {
  const said = settings?.get('apisix').get('ssl').get('fallback_sni');
  if (said?.raw === undefined || said.raw === null) return undefined;
  const name = patternOf(said.text ?? '');
  if (name !== undefined && !name.startsWith('*')) return name;
  notes.notCarried(
    said.place,
    said.name,
    'penstock does not accept it as a name',
    'clients that ask for no name are refused',
  );
  return undefined;
}

function withNames({ id, value }: ApisixObject, notes: Notes): Ssl {
  const snis = value.get('snis');
  const listed = snis.items.length > 0 ? snis.items : [value.get('sni')];
  const star = snis.items.find(({ text }) => text === '*');
  if (star) {
    const message =
      'in a list APISIX finds `*` for no name with a dot: those that only it would take are refused';
    notes.denied(star.place, star.name, message, 'as `sni: "*"`, in an ssl of its own, it takes them all');
  }
  return {
    id,
    value,
    snis: listed.flatMap(({ text = '' }) => (text === '*' ? ['*'] : (patternOf(text) ?? []))),
  };
}

function isList({ value }: Ssl): boolean {
  return value.get('snis').items.length > 0;
}

/**
 * If several are for one name, APISIX uses the first; this uses the strictest, one that refuses or requires
 * certificates.
 */
function indexByName(ssls: readonly Ssl[], notes: Notes): Map<string, Ssl> {
  const byName = new Map<string, Ssl>();
  for (const ssl of ssls) {
    for (const sni of ssl.snis) {
      const there = byName.get(sni);
      if (there) {
        notes.look(ssl.value.place, ssl.value.name, `"${sni}" is in ${there.value.name}, too`);
      }
      const asksMore = ssl.value.keys.includes('client') && !there?.value.keys.includes('client');
      const isStricter = asksMore || (sni === '*' && isList(ssl));
      if (there === undefined || isStricter) byName.set(sni, ssl);
    }
  }
  return byName;
}

/**
 * APISIX takes the longest matching pattern, and then refuses names with more than one label for its `*`,
 * without trying a shorter pattern.
 */
function sslFor(clients: Clients, byName: ReadonlyMap<string, Ssl>): Ssl | undefined {
  if (clients.kind === 'name' && byName.has(clients.name)) return byName.get(clients.name);
  const patterns = [spellingOf(clients) ?? '*', ...patternsAbove(clients)];
  const longest = patterns.find((pattern) => pattern.startsWith('*.') && byName.has(pattern));
  if (longest === undefined) {
    const any = byName.get('*');
    return any && isList(any) ? undefined : any;
  }
  return patterns.includes(asOneLabel(longest)) ? byName.get(longest) : undefined;
}

function terminateSettings({ value, snis }: Ssl, store: Store, draft: Draft, notes: Notes): TlsSettings {
  return {
    certificates: [store.pairs(value, snis[0] ?? value.name)],
    ...versions(value.get('ssl_protocols'), notes),
    ...clientAuth(value, snis[0] ?? value.name, store, draft, notes),
  };
}

function versions(protocols: Value, notes: Notes): object {
  const names = protocols.items.map(({ text }) => text);
  if (names.length === 0) return {};
  if (names.includes('TLSv1.1')) {
    notes.notCarried(protocols.place, protocols.name, 'penstock does not speak TLSv1.1; 1.2 is the lowest');
  }
  if (!names.includes('TLSv1.3')) return { max_version: '1.2' };
  return names.includes('TLSv1.2') || names.includes('TLSv1.1') ? {} : { min_version: '1.3' };
}

function clientAuth(ssl: Value, wanted: string, store: Store, draft: Draft, notes: Notes): object {
  const client = ssl.get('client');
  if (client.raw === undefined) return {};
  const ca = client.get('ca');
  const authority = addNamed(draft.authorities, `${wanted}-clients`, {});
  draft.origins.set(`authorities.${authority}`, ca.place.file);
  draft.authorities.set(authority, { ca: store.file(`${authority}-ca.crt`, ca) });
  warnOfMissingRoot(ca, notes);
  const depth = client.get('depth');
  const length = 'penstock accepts client chains of any length';
  if (depth.raw === undefined)
    notes.look(client.place, client.name, `${length}; APISIX takes one intermediate CA`);
  else notes.notCarried(depth.place, depth.name, length);
  const skip = client.get('skip_mtls_uri_regex');
  if (skip.raw !== undefined) {
    notes.leftOut(
      skip.place,
      skip.name,
      'streams have no URIs: certificates are required of all, as in APISIX',
    );
  }
  return { client_auth: { mode: 'require', authority } };
}

function warnOfMissingRoot(ca: Value, notes: Notes): void {
  const blocks = ca.text?.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  const parsed = blocks.flatMap((block) => parsedOr(() => new X509Certificate(block)) ?? []);
  if (parsed.length > 0 && !parsed.some(({ subject, issuer }) => subject === issuer)) {
    notes.look(ca.place, ca.name, 'it holds no root certificate', 'add the root: chains are followed to it');
  }
}

type Store = ReturnType<typeof createStore>;

/** Turns certificates, keys and CAs into files beside the configuration. */
function createStore(draft: Draft, files: WrittenFile[], notes: Notes, surroundings: Surroundings) {
  const { certificatePath, writesCertificates } = surroundings;

  /**
   * The path of a file with the value's contents, or of one that the user must provide if the value is not
   * PEM.
   */
  const file = (name: string, value: Value, secret = false): string => {
    const path = certificatePath(name);
    const { text } = value;
    if (text?.startsWith('-----BEGIN')) {
      files.push({ path, text: text.endsWith('\n') ? text : `${text}\n`, secret });
      if (!writesCertificates) {
        const hint = `--certificates DIR writes it; this file expects it as ${path}`;
        notes.notCarried(value.place, value.name, 'it is in the configuration itself, and stays there', hint);
      }
      return path;
    }
    notes.notCarried(value.place, value.name, whyNotPem(value), `put it into ${path}, in PEM`);
    return path;
  };

  const pair = (wanted: string, pairs: readonly (readonly [Value, Value])[]): string => {
    const name = addNamed(draft.certificates, wanted, {});
    const written = pairs.map(([cert, key], index) => {
      const base = index === 0 ? name : `${name}-${index + 1}`;
      return { cert: file(`${base}.crt`, cert), key: file(`${base}.key`, key, true) };
    });
    draft.origins.set(`certificates.${name}`, pairs[0]?.[0].place.file ?? '');
    draft.certificates.set(name, written.length === 1 ? (written[0] ?? {}) : { pairs: written });
    return name;
  };

  /** OpenSSL keeps the last of several pairs with the same key type. */
  const pairs = (ssl: Value, wanted: string): string => {
    const keys = ssl.get('keys');
    const more = ssl.get('certs').items.map((cert, index) => [cert, keys.items[index] ?? keys] as const);
    const all = [[ssl.get('cert'), ssl.get('key')] as const, ...more];
    // Without others, what type its key has does not matter; parsing takes a third of a millisecond.
    if (more.length === 0) return pair(wanted, all);
    const kept = all.filter(([cert, key], index) => {
      const type = keyType(cert, key);
      const later = all.slice(index + 1).some(([one, other]) => type !== '' && keyType(one, other) === type);
      if (later) notes.leftOut(cert.place, cert.name, `a later certificate has a key of type ${type}, too`);
      return !later;
    });
    return pair(wanted, kept);
  };

  return { file, pair, pairs };
}

function whyNotPem({ raw, text }: Value): string {
  if (raw === undefined) return "it is not there: APISIX's Admin API does not tell keys";
  if (text?.startsWith('$')) return 'it refers to a secret, which the import cannot read';
  return 'APISIX has encrypted it, or it is not PEM';
}

function keyType(cert: Value, key: Value): string {
  const { text = '' } = cert;
  const type = parsedOr(() => new X509Certificate(text).publicKey.asymmetricKeyType);
  return type ?? parsedOr(() => createPrivateKey(key.text ?? '').asymmetricKeyType) ?? '';
}

function parsedOr<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}
