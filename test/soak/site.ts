/** The configuration of a soak: every mode of listeners and upstreams, with health checks and ejections. */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { allowedUri, type Credentials } from './credentials.ts';

/** Ports of endpoints by label. */
export type Ports = Readonly<Record<string, number>>;

export type Variant = {
  /** Adds a listener, routes and an upstream, and changes limits: what a reload has to bring about. */
  readonly extended: boolean;
  /** Names an upstream that there is not. */
  readonly faulty: boolean;
};

export const listeners = ['tls', 'plain', 'proxied', 'postgres'] as const;
export type ListenerName = (typeof listeners)[number];

/** The files beside the configuration. */
export async function siteFiles(credentials: Credentials): Promise<Record<string, string>> {
  const { ca, clients, own, proxyClient, revoked } = credentials;
  const first = own[0];
  return {
    'own-ec.crt': first?.ec.chain ?? '',
    'own-ec.key': first?.ec.key ?? '',
    'own-rsa.crt': first?.rsa.chain ?? '',
    'own-rsa.key': first?.rsa.key ?? '',
    'proxy.crt': proxyClient.chain,
    'proxy.key': proxyClient.key,
    'ca.crt': ca.cert,
    'clients.crt': clients.cert,
    'clients.crl': await clients.crl([revoked.serial]),
  };
}

export function siteConfig(ports: Ports, credentials: Credentials, variant: Variant): object {
  return {
    workers: 2,
    admin: { bind: '127.0.0.1:0' },
    shutdown: { grace: '20s', upgrade_grace: '1h' },
    certificates: {
      own: {
        pairs: [
          { cert: 'own-ec.crt', key: 'own-ec.key' },
          { cert: 'own-rsa.crt', key: 'own-rsa.key' },
        ],
      },
      'proxy-client': { cert: 'proxy.crt', key: 'proxy.key' },
    },
    authorities: { ours: { ca: 'ca.crt' }, clients: { ca: 'clients.crt', crl: 'clients.crl' } },
    listeners: {
      ...listenerSections(credentials, variant),
      ...(variant.extended && { extra: { bind: '127.0.0.1:0', routes: [{ tls: 'off', upstream: 'app' }] } }),
    },
    upstreams: upstreamSections(ports, variant),
  };
}

function listenerSections({ pinned }: Credentials, { extended, faulty }: Variant): object {
  // Wide enough for a machine that is busy with other things.
  const timeouts = { client_hello: '15s', handshake: '25s', idle: '10m', half_close: '2m' };
  const common = { bind: '127.0.0.1:0', timeouts };
  const own = { certificates: ['own'] };
  const authority = { mode: 'require', authority: 'clients', allow: [{ uri: allowedUri }] };
  return {
    tls: {
      ...common,
      limits: { connections: extended ? 4000 : 5000, handshakes: 200 },
      routes: [
        { sni: 'ec.soak.example', tls: own, upstream: faulty ? 'nowhere' : 'app' },
        { sni: 'rsa.soak.example', tls: { ...own, max_version: '1.2' }, upstream: 'app' },
        { sni: 'pki.soak.example', tls: { ...own, client_auth: authority }, upstream: 'app' },
        {
          sni: 'pins.soak.example',
          tls: { ...own, client_auth: { mode: 'require', pins: [pinned.pin] } },
          upstream: 'app',
        },
        { sni: 'mutual.soak.example', tls: { ...own, client_auth: authority }, upstream: 'mutual' },
        { sni: 'mortal.soak.example', tls: own, upstream: 'mortal' },
        { sni: 'pass.soak.example', tls: 'passthrough', upstream: 'pass' },
        { sni: 'denied.soak.example', deny: true },
        ...(extended ? [{ sni: 'extra.soak.example', tls: own, upstream: 'app' }] : []),
      ],
    },
    plain: { ...common, routes: [{ tls: 'off', upstream: 'proxy' }] },
    proxied: {
      ...common,
      accept_proxy_protocol: { from: ['127.0.0.0/8'] },
      routes: [
        { sni: 'proxied.soak.example', tls: own, upstream: 'proxy' },
        { tls: 'off', upstream: 'proxy' },
      ],
    },
    postgres: {
      ...common,
      starttls: 'postgres',
      routes: [{ sni: 'pg.soak.example', tls: own, upstream: 'postgres' }],
    },
  };
}

function upstreamSections(ports: Ports, { extended }: Variant): object {
  const at = (...labels: string[]) => labels.map((label) => `127.0.0.1:${ports[label]}`);
  const health = (type: string) => ({
    type,
    interval: '1s',
    timeout: '3s',
    healthy_after: 2,
    unhealthy_after: 3,
  });
  const mutual = { server_name: 'endpoint.soak.example', authority: 'ours', certificate: 'proxy-client' };
  // On a busy machine, late is neither lost nor dead.
  const timeouts = { connect: '15s' };
  const alone = { all_down: 'try_anyway', timeouts };
  return {
    app: { endpoints: at('one', 'two'), health_check: health('tcp'), balance: 'least_connections', timeouts },
    mortal: {
      endpoints: at('steady', 'mortal'),
      health_check: health('tcp'),
      outlier: { failures: 3, eject_for: '5s' },
      retries: 2,
      timeouts,
    },
    pass: { endpoints: at('pass'), health_check: health('tls'), ...alone },
    mutual: { endpoints: at('mutual'), tls: mutual, health_check: health('tls'), ...alone },
    proxy: {
      endpoints: at('proxy'),
      send_proxy_protocol: {
        version: 'v2',
        tlvs: ['authority', 'alpn', 'ssl', 'unique_id', 'crc32c'],
      },
      timeouts,
    },
    postgres: {
      endpoints: at('postgres'),
      tls: { ...mutual, starttls: 'postgres' },
      health_check: health('postgres'),
      ...alone,
    },
    ...(extended ? { spare: { endpoints: at('one'), health_check: health('tcp') } } : {}),
  };
}

/** Replaces the configuration by renaming, so that none is read half-written. */
export function writeConfig(directory: string, config: object): void {
  replaceFile(join(directory, 'penstock.yaml'), stringify(config));
}

/** Replaces the pairs that the proxy presents; for a moment certificates and keys do not fit. */
export function writePairs(directory: string, { ec, rsa }: Credentials['own'][number]): void {
  for (const [name, { chain, key }] of Object.entries({ ec, rsa })) {
    replaceFile(join(directory, `own-${name}.key`), key);
    replaceFile(join(directory, `own-${name}.crt`), chain);
  }
}

/** A certificate as a full disk or a careless script leaves it. */
export function writeHalfCertificate(directory: string, { ec }: Credentials['own'][number]): void {
  writeFileSync(join(directory, 'own-ec.crt'), ec.chain.slice(0, ec.chain.length / 2), { mode: 0o600 });
}

function replaceFile(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}
