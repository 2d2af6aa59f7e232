/** Fills in what depends on context: defaults that follow from other keys, and paths relative to the file. */
import { resolve } from 'node:path';
import { protocolOf } from '../../protocols/table.ts';
import type { Path } from '../finding.ts';
import { isLogFile } from '../log-destination.ts';
import type { Config } from '../schema/schema.ts';

/**
 * With `starttls`, the ALPN of that protocol's clients is the default, and no newer version of TLS is spoken
 * than the protocol can carry.
 */
export function applyContext(config: Config): void {
  for (const { starttls, routes } of Object.values(config.listeners)) {
    const { alpn = [], carrier } = protocolOf(starttls) ?? {};
    for (const { tls } of routes) {
      if (typeof tls !== 'object') continue;
      if (alpn.length > 0) tls.alpn ??= [...alpn];
      if (carrier) tls.max_version = carrier.maxVersion;
    }
  }
  for (const { tls } of Object.values(config.upstreams)) {
    const { carrier } = protocolOf(tls?.starttls) ?? {};
    if (tls && carrier) tls.max_version = carrier.maxVersion;
  }
}

/**
 * In a cluster listeners and routes may be etcd's, so the file need not have any. Until etcd has a route for
 * a listener, it refuses.
 */
export function leaveRoomForCluster(raw: unknown): void {
  if (!isMapping(raw) || raw['cluster'] === undefined) return;
  raw['listeners'] ??= {};
  if (!isMapping(raw['listeners'])) return;
  for (const listener of Object.values(raw['listeners'])) {
    if (isMapping(listener)) listener['routes'] ??= [{ name: 'cluster', deny: 'held' }];
  }
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Makes every path in the configuration absolute, in place. `directoryOf` says where the file lies that has
 * what is at a path of the configuration.
 */
export function resolvePaths(config: Config, directoryOf: (path: Path) => string): void {
  const within =
    (path: Path) =>
    (file: string): string =>
      resolve(directoryOf(path), file);
  const absolute = within([]);
  const address = (text: string, from = absolute) =>
    text.startsWith('unix:') ? `unix:${from(text.slice(5))}` : text;
  const { destination } = config.log;
  if (isLogFile(destination)) config.log.destination = absolute(destination);
  else if (destination.startsWith('syslog:')) {
    config.log.destination = `syslog:${absolute(destination.slice('syslog:'.length))}`;
  }
  config.log.tls_keys &&= absolute(config.log.tls_keys);
  config.session_tickets.keys &&= absolute(config.session_tickets.keys);
  if (config.cluster) {
    const { cluster } = config;
    cluster.seal = absolute(cluster.seal);
    cluster.snapshot &&= absolute(cluster.snapshot);
    cluster.etcd.password_file &&= absolute(cluster.etcd.password_file);
    cluster.etcd.keyring &&= absolute(cluster.etcd.keyring);
    for (const [name, file] of Object.entries(cluster.modules)) cluster.modules[name] = absolute(file);
  }
  const addressesOf = (sockets: { address: string }[], from = absolute) => {
    for (const socket of sockets) socket.address = address(socket.address, from);
  };
  if (config.admin) {
    config.admin.bind = address(config.admin.bind);
    addressesOf(config.admin.sockets);
  }
  if (config.admin_api) {
    const api = config.admin_api;
    api.bind = address(api.bind);
    api.store &&= absolute(api.store);
    api.seal &&= absolute(api.seal);
    for (const key of api.keys) key.file = absolute(key.file);
  }
  for (const [name, { pairs }] of Object.entries(config.certificates)) {
    const from = within(['certificates', name]);
    for (const pair of pairs) {
      pair.cert = from(pair.cert);
      pair.key = from(pair.key);
      pair.key_passphrase_file &&= from(pair.key_passphrase_file);
      pair.ocsp &&= from(pair.ocsp);
    }
  }
  for (const [name, authority] of Object.entries(config.authorities)) {
    const from = within(['authorities', name]);
    authority.ca = authority.ca.map(from);
    authority.crl &&= authority.crl.map(from);
  }
  for (const listener of Object.values(config.listeners)) {
    listener.bind = listener.bind.map((text) => address(text));
    addressesOf(listener.sockets);
    for (const { tls } of listener.routes) {
      if (typeof tls === 'object' && tls.client_auth?.authorize !== undefined) {
        tls.client_auth.authorize = absolute(tls.client_auth.authorize);
      }
    }
  }
  for (const [name, { endpoints, health_check }] of Object.entries(config.upstreams)) {
    const from = within(['upstreams', name]);
    addressesOf(endpoints, from);
    if (health_check?.address !== undefined) health_check.address = address(health_check.address, from);
  }
}
