/** How a server terminates TLS. */
import { addNamed } from '../draft.ts';
import type { Notes } from '../notes.ts';
import type { Parts } from './import.ts';
import type { Settings } from './settings.ts';
import type { Directive } from './syntax.ts';
import { tlsSettings } from './tls.ts';

export type Terminated = { readonly certificates: readonly string[]; readonly [option: string]: unknown };

/** `refused` if clients must be, since it cannot be said how they are checked. */
export function terminatedTls(settings: Settings, server: Directive, parts: Parts): Terminated | 'refused' {
  const { draft, notes, surroundings } = parts;
  const certificates = settings.every('ssl_certificate');
  const keys = settings.every('ssl_certificate_key');
  const [first] = certificates;
  if (first === undefined) {
    notes.denied(server, 'listen … ssl', 'it has no ssl_certificate: all clients are refused');
    return 'refused';
  }
  const passphrase = settings.last('ssl_password_file')?.words[0];
  const pairs = certificates.map(({ words }, index) => ({
    cert: surroundings.pathFor(words[0] ?? ''),
    key: surroundings.pathFor(keys[index]?.words[0] ?? words[0] ?? ''),
    ...(passphrase !== undefined && { key_passphrase_file: surroundings.pathFor(passphrase) }),
  }));
  const odd = [...certificates, ...keys].find(({ words }) =>
    /[$]|^(data|engine|store):/.test(words[0] ?? ''),
  );
  if (odd) {
    notes.denied(odd, odd.text, 'which certificate clients see is not known in advance: all are refused');
    return 'refused';
  }
  const auth = clientAuth(settings, parts);
  if (auth === 'refused') return auth;
  const [only] = pairs;
  const value = pairs.length === 1 && only ? only : { pairs };
  const known = [...draft.certificates].find(
    ([, there]) => JSON.stringify(there) === JSON.stringify(value),
  )?.[0];
  const name = known ?? addNamed(draft.certificates, baseName(first.words[0] ?? ''), value);
  return {
    certificates: [name],
    ...tlsSettings(settings, 'ssl_', notes),
    ...(settings.last('ssl_session_tickets')?.words[0] === 'off' && { session_tickets: false }),
    ...auth,
  };
}

/** `orders` of `/etc/ssl/orders.pem`. */
export function baseName(path: string): string {
  return (path.split('/').at(-1) ?? path).replace(/\.(pem|crt|cert|cer)$/, '');
}

function clientAuth(settings: Settings, { draft, notes, surroundings }: Parts): object | 'refused' {
  const verify = settings.last('ssl_verify_client');
  const mode = verify?.words[0] ?? 'off';
  if (verify === undefined || mode === 'off') return {};
  const ca = ['ssl_client_certificate', 'ssl_trusted_certificate'].flatMap(
    (name) => settings.last(name)?.words[0] ?? [],
  );
  if (!['on', 'optional'].includes(mode) || ca.length === 0) {
    notes.denied(
      verify,
      verify.text,
      'penstock has no such check of client certificates: all clients are refused',
    );
    return 'refused';
  }
  tellDepth(settings, verify, notes);
  const crl = settings.last('ssl_crl')?.words[0];
  const paths = ca.map(surroundings.pathFor);
  const value = {
    ca: paths.length === 1 ? paths[0] : paths,
    ...(crl !== undefined && { crl: surroundings.pathFor(crl) }),
  };
  const known = [...draft.authorities].find(
    ([, there]) => JSON.stringify(there) === JSON.stringify(value),
  )?.[0];
  const authority = known ?? addNamed(draft.authorities, 'clients', value);
  return { client_auth: { mode: mode === 'on' ? 'require' : 'request', authority } };
}

/** nginx takes chains with one intermediate, unless it says otherwise. */
function tellDepth(settings: Settings, verify: Directive, notes: Notes): void {
  if (settings.last('ssl_verify_depth')) return; // reported as it is
  const message =
    'nginx takes client certificates with at most one intermediate (ssl_verify_depth), penstock with more';
  notes.look(verify, verify.text, message, 'see that these authorities issue none to others');
}
