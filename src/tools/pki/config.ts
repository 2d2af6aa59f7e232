/** `penstock pki config`: a configuration that uses everything in a directory. */
import { existsSync } from 'node:fs';
import { stringify } from 'yaml';
import { parseEndpoint } from '../../net/written-address.ts';
import { readCertificate } from '../../x509/certificate-names.ts';
import { pinOf } from '../../x509/pin.ts';
import { configName, ruleFor } from './advice.ts';
import { caFiles, fault } from './directory.ts';
import { type Issuing, isExpired, readAll, revokedIn } from './holdings.ts';
import type { Held } from './inventory.ts';
import type { SubjectAltName } from './subject-alt-name.ts';

export type PkiConfigOptions = { readonly bind?: string; readonly upstream?: string };

/**
 * One listener that presents every server certificate and admits every client, in front of one upstream.
 * Leaves out revoked and expired ones. Throws ERR_CONFIG if there is nothing to present.
 */
export function configForPki(directory: string, issuing: Issuing, options: PkiConfigOptions): string {
  const isRevoked = revokedIn(directory, issuing);
  const good = readAll(directory).filter(
    (one) => !isExpired(one.certificate) && !isRevoked(one) && existsSync(one.files.key),
  );
  const servers = good.filter(({ usage }) => usage !== 'client');
  if (servers.length === 0) {
    const hint = `make one: penstock pki issue ${directory} NAME`;
    throw fault(`there is no valid certificate for a server in ${directory}`, hint);
  }
  const { authorities, clientAuth, remarks } = clientsOf(directory, good);
  const certificates = servers.map(({ name, files }) => [configName(name), files] as const);
  const tls = { certificates: certificates.map(([name]) => name), ...clientAuth };
  const bind = addressOf(options.bind ?? '127.0.0.1:8443', '--bind');
  const endpoint = addressOf(options.upstream ?? '127.0.0.1:8080', '--upstream');
  const admin = stringify({ admin: { bind: '127.0.0.1:9901' } });
  const config = {
    certificates: Object.fromEntries(certificates.map(([name, { cert, key }]) => [name, { cert, key }])),
    ...authorities,
    listeners: { main: { bind, routes: [{ tls, upstream: 'app' }] } },
    upstreams: { app: { endpoints: [endpoint] } },
  };
  return `# made of the certificates in ${directory}\n${remarks}${aboutAdmin}${admin}${stringify(config)}`;
}

const aboutAdmin = '# for `penstock top` and other commands, metrics and a live page: on this machine only\n';

type Clients = { readonly authorities: object; readonly clientAuth: object; readonly remarks: string };

/**
 * By the CA if it has issued a client certificate, otherwise by pins; any client if the directory has none.
 */
function clientsOf(directory: string, good: readonly Held[]): Clients {
  const known = good.filter(({ usage, signedBy }) => usage !== 'server' && signedBy === 'ca');
  const pinned = good
    .filter(({ usage, signedBy }) => usage === 'client' && signedBy === 'itself')
    .map(({ name, certificate }) => ({ name, pin: pinOf(certificate) }));
  if (known.length === 0) {
    const client_auth = { mode: 'require', pins: pinned.map(({ pin }) => pin) };
    return { authorities: {}, clientAuth: pinned.length === 0 ? {} : { client_auth }, remarks: '' };
  }
  const { cert: ca, crl } = caFiles(directory);
  const allow = known.map((one) => ruleFor(one.name, namesOf(one)));
  return {
    authorities: { authorities: { dev: { ca, ...(existsSync(crl) ? { crl } : {}) } } },
    clientAuth: { client_auth: { mode: 'require', authority: 'dev', allow } },
    remarks: pinned
      .map(({ name, pin }) => `# not let in, as pins exclude an authority: ${name}, ${pin}\n`)
      .join(''),
  };
}

function namesOf({ certificate }: Held): SubjectAltName[] {
  const { uris = [], dns = [], emails = [] } = readCertificate(certificate.raw) ?? {};
  const ofKind = (kind: SubjectAltName['kind'], values: readonly string[]) =>
    values.map((value) => ({ kind, value }));
  return [...ofKind('uri', uris), ...ofKind('dns', dns), ...ofKind('email', emails)];
}

function addressOf(text: string, flag: string): string {
  if (parseEndpoint(text) !== undefined) return text;
  throw fault(`${flag} ${text} is no address`, 'expected host:port or unix:/path');
}
