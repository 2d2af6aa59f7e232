/** The settings of a server, with those that it inherits, and what is known of each. */
import type { Notes } from '../notes.ts';
import type { Directive } from './syntax.ts';

export type Settings = {
  /** The last with this name; its own, else that of the stream block. */
  readonly last: (name: string) => Directive | undefined;
  /** All with this name: nginx inherits a list only if the server has none of its own. */
  readonly every: (name: string) => readonly Directive[];
  readonly isOn: (name: string) => boolean;
};

export function settingsOf(server: Directive, stream: readonly Directive[]): Settings {
  const named = (from: readonly Directive[], names: readonly string[]) =>
    from.filter(({ name, block }) => names.includes(name) && block === undefined);
  const every = (...names: readonly string[]) => {
    const own = named(server.block ?? [], names);
    return own.length > 0 ? own : named(stream, names);
  };
  const last = (name: string) => every(name).at(-1);
  return {
    last,
    // `allow` and `deny` are one list.
    every: (name) => (name === 'access' ? every('allow', 'deny') : every(name)),
    isOn: (name) => last(name)?.words[0] === 'on',
  };
}

const carried = new Set(
  [
    'server upstream map geo set listen proxy_pass ssl_preread allow deny set_real_ip_from include',
    'ssl_certificate ssl_certificate_key ssl_client_certificate ssl_trusted_certificate ssl_crl ssl_verify_client',
    'ssl_protocols ssl_ciphers ssl_ecdh_curve ssl_session_tickets ssl_handshake_timeout ssl_password_file ssl_alpn',
    'preread_timeout proxy_timeout proxy_connect_timeout proxy_protocol proxy_next_upstream proxy_next_upstream_tries',
    'proxy_ssl proxy_ssl_verify proxy_ssl_name proxy_ssl_server_name proxy_ssl_trusted_certificate proxy_ssl_crl',
    'proxy_ssl_certificate proxy_ssl_certificate_key proxy_ssl_protocols proxy_ssl_ciphers limit_conn_zone split_clients',
  ].flatMap((names) => names.split(' ')),
);

/** Without a counterpart, and without an effect that would be missed. */
const idle =
  /^(access_log|error_log|log_format|open_log_file_cache|limit_conn_log_level|limit_conn_dry_run|tcp_nodelay|resolver.*|map_hash_.*|variables_hash_.*|preread_buffer_size|proxy_buffer_size|proxy_half_close|proxy_socket_keepalive|proxy_requests|proxy_responses|ssl_prefer_server_ciphers|ssl_session_cache|ssl_session_timeout|ssl_dhparam|ssl_buffer_size|ssl_early_data|proxy_ssl_session_reuse|proxy_ssl_password_file|ssl_stapling.*|zone|status_zone)$/;

/** What has an effect that the result lacks, but lets nobody in. */
const missed: ReadonlyMap<string, string> = new Map([
  ['limit_conn', 'see limits.connections_per_ip'],
  ['proxy_bind', 'the system chooses the address that is dialled from'],
  ['proxy_upload_rate', 'penstock limits no rate of bytes'],
  ['proxy_download_rate', 'penstock limits no rate of bytes'],
  ['proxy_next_upstream_timeout', 'timeouts.connect bounds each attempt'],
  ['ssl_session_ticket_key', 'see `session_tickets.keys`'],
  ['ssl_verify_depth', 'chains of client certificates may have any length'],
  ['proxy_ssl_verify_depth', 'chains of servers may have any length'],
  ['ssl_conf_command', 'see min_version, ciphers and groups of `tls`'],
  ['proxy_ssl_conf_command', 'see min_version, ciphers and groups of `tls`'],
  ['health_check', 'see `health_check` of upstreams'],
  ['ssl_ocsp', 'client certificates are checked by `crl`'],
]);

/** Reports each directive of a server without a counterpart. Returns whether one may decide who gets in. */
export function tellStrange(server: Directive, stream: readonly Directive[], notes: Notes): boolean {
  let isStrange = false;
  const inherited = stream.filter(({ name }) => name !== 'server' && name !== 'upstream');
  for (const directive of [...inherited, ...(server.block ?? [])]) {
    const { name, text, block } = directive;
    const isRead = carried.has(name) && name !== 'include';
    if (isRead && (block === undefined || ['map', 'geo', 'split_clients'].includes(name))) continue;
    const why = missed.get(name);
    if (idle.test(name)) notes.leftOut(directive, text, 'it means nothing to penstock');
    else if (why !== undefined) notes.notCarried(directive, text, why);
    else {
      isStrange = true;
      const message =
        'penstock does not know it, and it may decide who gets in: clients it may apply to are refused';
      notes.denied(directive, text, message, 'if it does not, remove it');
    }
  }
  return isStrange;
}
