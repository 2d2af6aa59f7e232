/** nginx's stream module with one worker. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  ciphers12,
  ciphers13,
  type Front,
  fronts,
  groupsOf,
  type Prepared,
  type Site,
  serverName,
  upstreamName,
} from './fronts.ts';

/** Writes its configuration. `modules` is the directory of its dynamic modules, for builds without stream in the binary. */
export function prepareNginx(
  binary: string,
  postQuantum: boolean,
  modules: string | undefined,
  site: Site,
): Prepared {
  const served = fronts.filter((front) => !front.starttls && (postQuantum || !front.postQuantum));
  const file = join(site.directory, 'nginx.conf');
  const logFile = join(site.directory, 'nginx-access.log');
  const output = join(site.directory, 'nginx-error.log');
  const text = [
    head(site, modules, output),
    stream(logFile),
    ...served.map((front) => server(front, site)),
    '}\n',
  ];
  writeFileSync(file, text.join('\n'));
  return {
    launches: [{ command: [binary, '-e', output, '-p', site.directory, '-c', file], output }],
    served,
    logFile,
    logs: 'a JSON line a connection, not buffered, with SNI, TLS version, cipher, resumption and client subject',
  };
}

function head(site: Site, modules: string | undefined, errorLog: string): string {
  const module = join(modules ?? '', 'ngx_stream_module.so');
  return `${modules !== undefined && existsSync(module) ? `load_module ${module};` : ''}
daemon off;
${process.getuid?.() === 0 ? 'user root;' : ''}
pid ${join(site.directory, 'nginx.pid')};
worker_processes 1;
worker_rlimit_nofile 19000;
error_log ${errorLog} warn;
events { worker_connections 19000; }`;
}

function stream(logFile: string): string {
  const fields = {
    time: '$time_iso8601',
    client: '$remote_addr:$remote_port',
    listener: '$server_port',
    sni: '$ssl_server_name',
    tls: '$ssl_protocol',
    cipher: '$ssl_cipher',
    resumed: '$ssl_session_reused',
    subject: '$ssl_client_s_dn',
    upstream: '$upstream_addr',
    in: '$bytes_received',
    out: '$bytes_sent',
    duration: '$session_time',
    connect: '$upstream_connect_time',
    status: '$status',
  };
  return `stream {
  log_format connection escape=json '${JSON.stringify(fields)}';
  access_log ${logFile} connection;
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_ciphers ${ciphers12.join(':')};
  ssl_conf_command Ciphersuites ${ciphers13.join(':')};
  ssl_prefer_server_ciphers on;
  ssl_session_tickets on;
  proxy_connect_timeout 3s;
  proxy_timeout 1h;`;
}

function server(front: Front, site: Site): string {
  const target = `${site.upstreamAddress}:${site.upstreamPorts[front.upstream]}`;
  if (front.mode === 'passthrough') {
    return `  upstream ${front.name} { server ${target}; }
  map $ssl_preread_server_name $by_sni { ${serverName} ${front.name}; }
  server { listen ${listenOn(front, site)}; ssl_preread on; proxy_pass $by_sni; }`;
  }
  return `  server {
    listen ${listenOn(front, site)}${front.mode === 'terminate' ? ' ssl' : ''};
${[...terminate(front, site), ...rewrap(front, site)].map((line) => `    ${line};\n`).join('')}    proxy_pass ${target};
  }`;
}

function listenOn(front: Front, site: Site): string {
  return `${site.address}:${site.ports[front.name]}`;
}

function terminate(front: Front, { files }: Site): string[] {
  if (front.mode !== 'terminate') return [];
  const pair = files[front.key];
  const own = [`ssl_certificate ${pair.cert}`, `ssl_certificate_key ${pair.key}`];
  const auth = front.clientAuth ? [`ssl_client_certificate ${files.ca}`, 'ssl_verify_client on'] : [];
  return [...own, `ssl_ecdh_curve ${groupsOf(front).join(':')}`, ...auth];
}

function rewrap(front: Front, { files }: Site): string[] {
  if (front.upstream !== 'mutual_tls') return [];
  return [
    'proxy_ssl on',
    'proxy_ssl_protocols TLSv1.2 TLSv1.3',
    `proxy_ssl_certificate ${files.client.cert}`,
    `proxy_ssl_certificate_key ${files.client.key}`,
    `proxy_ssl_trusted_certificate ${files.ca}`,
    'proxy_ssl_verify on',
    'proxy_ssl_server_name on',
    `proxy_ssl_name ${upstreamName}`,
  ];
}
