/** Converts `tls.options`, with the certificates and the default store. */
import { X509Certificate } from 'node:crypto';
import { asOneLabel, type Clients, patternOf, patternsAbove, spellingOf } from '../clients.ts';
import { addNamed } from '../draft.ts';
import type { Value } from '../value.ts';
import { hasOthers, localName } from './input.ts';
import type { Tools } from './services.ts';

export type Terminating = {
  /** undefined if such clients are refused. */
  readonly settingsFor: (clients: Clients) => object | undefined;
  readonly patterns: readonly string[];
};

export type TlsOptions = {
  /** By the name in a router; `default` without one. */
  readonly of: (name: Value, router: Value) => Terminating;
  readonly refusing: Terminating;
};

const refusing: Terminating = { settingsFor: () => undefined, patterns: [] };

export function createTlsOptions(tools: Tools): TlsOptions {
  const made = new Map<string, Terminating>();
  return {
    refusing,
    of(reference, router) {
      const name = reference.raw === undefined ? 'default' : localName(reference.text);
      const options = tools.sources.options.get(name ?? '');
      if (name === undefined || (options === undefined && name !== 'default')) {
        tools.notes.denied(
          reference.place,
          reference.name,
          'there are no such options in these files: clients are refused',
        );
        return refusing;
      }
      const known = made.get(name) ?? terminating(options, router, tools);
      made.set(name, known);
      return known;
    },
  };
}

function terminating(options: Value | undefined, router: Value, tools: Tools): Terminating {
  const { notes } = tools;
  const certificates = presented(tools);
  const [first] = certificates;
  if (first === undefined) {
    const message =
      'there is no certificate in these files: Traefik would present one of its own making, or order one';
    notes.denied(router.place, router.name, message, 'clients of it are refused; see `certificates`');
    return refusing;
  }
  const auth = options ? clientAuth(options.get('clientAuth'), tools) : {};
  const isStrange = options && hasOthers(options, known, notes);
  if (auth === 'refused' || isStrange) return refusing;
  const settings = {
    certificates: certificates.map(({ name }) => name),
    ...parameters(options, tools),
    ...auth,
  };
  if (options?.get('sniStrict').raw !== true) return { settingsFor: () => settings, patterns: [] };
  const names = new Set(certificates.flatMap((one) => one.names ?? []).map(asOneLabel));
  if (certificates.some((one) => one.names === undefined)) {
    const strict = options.get('sniStrict');
    notes.notCarried(
      strict.place,
      strict.name,
      'a certificate cannot be read',
      'only clients whose names are known are served',
    );
  }
  return {
    patterns: [...names],
    settingsFor(clients) {
      const own = spellingOf(clients) ?? '';
      const wildcard = clients.kind === 'name' ? (patternsAbove(clients)[0] ?? '') : '';
      return names.has(own) || names.has(wildcard) ? settings : undefined;
    },
  };
}

const known = [
  'minVersion maxVersion cipherSuites curvePreferences clientAuth sniStrict alpnProtocols preferServerCipherSuites',
  'disableSessionTickets',
].flatMap((names) => names.split(' '));

type Certificate = { readonly name: string; readonly names: readonly string[] | undefined };

/** The default certificate first, for names that none of the others has. */
function presented(tools: Tools): Certificate[] {
  const { sources, draft, surroundings, notes } = tools;
  const fallback = sources.stores.get('default')?.get('defaultCertificate');
  const all = [...(fallback?.raw === undefined ? [] : [fallback]), ...sources.certificates];
  return all.flatMap((value): Certificate[] => {
    const [cert, key] = [value.get('certFile'), value.get('keyFile')];
    if (!cert.text || !key.text) {
      notes.notCarried(value.place, value.name, 'expected `certFile` and `keyFile`');
      return [];
    }
    const wanted = /BEGIN/.test(cert.text ?? '')
      ? 'certificate'
      : ((cert.text ?? '').split('/').at(-1) ?? '').replace(/\.\w+$/, '');
    const pair = { cert: pathOf(cert, `${wanted}.crt`, tools), key: pathOf(key, `${wanted}.key`, tools) };
    const there = [...draft.certificates].find(
      ([, one]) => JSON.stringify(one) === JSON.stringify(pair),
    )?.[0];
    const pem = /BEGIN/.test(cert.text ?? '') ? cert.text : surroundings.read(cert.text ?? '');
    return [{ name: there ?? addNamed(draft.certificates, wanted, pair), names: namesIn(pem) }];
  });
}

function namesIn(pem: string | undefined): string[] | undefined {
  try {
    const { subjectAltName = '' } = new X509Certificate(pem ?? '');
    return subjectAltName
      .split(', ')
      .flatMap((san) => (san.startsWith('DNS:') ? (patternOf(san.slice(4)) ?? []) : []));
  } catch {
    return undefined;
  }
}

/** Traefik takes a path, or the PEM itself, which is written beside the configuration. */
export function pathOf(
  value: Value,
  name: string,
  { surroundings, files }: Pick<Tools, 'surroundings' | 'files'>,
): string {
  const text = value.text ?? '';
  if (!text.includes('-----BEGIN')) return surroundings.pathFor(text);
  const path = surroundings.certificatePath(name);
  files.push({ path, text, secret: name.endsWith('.key') });
  return path;
}

function clientAuth(section: Value, tools: Tools): object | 'refused' {
  const { draft, notes } = tools;
  const cas = section.get('caFiles').items;
  const type = section.get('clientAuthType');
  const mode = type.text ?? (cas.length > 0 ? 'RequireAndVerifyClientCert' : 'NoClientCert');
  const isStrange = hasOthers(section, ['caFiles', 'clientAuthType'], notes);
  // Whoever is only asked gets in with any certificate, and without.
  if (!isStrange && (mode === 'NoClientCert' || mode === 'RequestClientCert')) return {};
  const modes: ReadonlyMap<string, string> = new Map([
    ['RequireAndVerifyClientCert', 'require'],
    ['VerifyClientCertIfGiven', 'request'],
  ]);
  const wanted = modes.get(mode);
  if (isStrange || wanted === undefined || cas.length === 0 || cas.some(({ text }) => !text)) {
    notes.denied(
      type.place,
      `${type.name}: ${mode}`,
      'penstock has no such check of client certificates: clients are refused',
    );
    return 'refused';
  }
  const paths = cas.map((ca, index) => pathOf(ca, `clients-ca-${index + 1}.crt`, tools));
  const value = { ca: paths.length === 1 ? paths[0] : paths };
  const there = [...draft.authorities].find(([, one]) => JSON.stringify(one) === JSON.stringify(value))?.[0];
  return { client_auth: { mode: wanted, authority: there ?? addNamed(draft.authorities, 'clients', value) } };
}

/**
 * Go refuses clients that offer protocols, none of which is in the list, and Traefik's has three unless it
 * says otherwise.
 */
function parameters(options: Value | undefined, { notes }: Tools): object {
  const text = (key: string) => options?.get(key).text;
  const listed = options?.get('alpnProtocols').items.flatMap((item) => item.text || []) ?? [];
  for (const key of ['cipherSuites', 'curvePreferences']) {
    const value = options?.get(key);
    if (value?.raw !== undefined)
      notes.notCarried(
        value.place,
        value.name,
        'penstock’s own list takes its place',
        'see `ciphers` and `groups`',
      );
  }
  const min = options?.get('minVersion');
  if (min && /1[01]$/.test(min.text ?? ''))
    notes.notCarried(min.place, min.name, 'penstock speaks no version below 1.2');
  return {
    alpn: listed.length > 0 ? listed : ['h2', 'http/1.1', 'acme-tls/1'],
    ...(text('minVersion') === 'VersionTLS13' && { min_version: '1.3' }),
    ...(text('maxVersion') === 'VersionTLS12' && { max_version: '1.2' }),
    ...(options?.get('disableSessionTickets').raw === true && { session_tickets: false }),
  };
}
