/** HAProxy with one thread, logging to a file by way of its standard output. */
import { writeFileSync } from 'node:fs';
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

/** Writes its configuration. `postQuantum` tells whether its TLS library knows such groups. */
export function prepareHaproxy(binary: string, postQuantum: boolean, site: Site): Prepared {
  const served = fronts.filter(
    ({ name, postQuantum: isPostQuantum, starttls }) =>
      (postQuantum || !isPostQuantum) && (starttls === undefined || name === 'postgres'),
  );
  const file = join(site.directory, 'haproxy.cfg');
  writeFileSync(file, [head(), ...served.map((front) => section(front, site))].join('\n'));
  const output = join(site.directory, 'haproxy.log');
  return {
    launches: [{ command: [binary, '-db', '-f', file], output }],
    served,
    logFile: output,
    plainPostgres: true,
    logs: 'a line a connection in the manner of `tcplog`, with SNI, TLS version, cipher, resumption and client subject',
  };
}

// The equal of penstock's access log. `-db` keeps it in the foreground, one process without a master.
const logFormat =
  '%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %U %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq ' +
  '%{+Q}[ssl_fc_sni] %sslv %sslc %[ssl_fc_is_resumed] %{+Q}[ssl_c_s_dn]';

function head(): string {
  return `global
  nbthread 1
  maxconn 9000
  log stdout format raw local0
  ssl-default-bind-options ssl-min-ver TLSv1.2
  ssl-default-bind-ciphers ${ciphers12.join(':')}
  ssl-default-bind-ciphersuites ${ciphers13.join(':')}
defaults
  mode tcp
  log global
  log-format "${logFormat}"
  maxconn 9000
  timeout connect 3s
  timeout client 1h
  timeout server 1h
`;
}

function section(front: Front, site: Site): string {
  const target = `${site.upstreamAddress}:${site.upstreamPorts[front.upstream]}`;
  const { ca, client } = site.files;
  const towards =
    front.upstream === 'mutual_tls'
      ? `${target} ssl verify required ca-file ${ca} verifyhost ${upstreamName} sni str(${upstreamName}) crt ${client.pem}`
      : target;
  return `frontend ${front.name}
  bind ${site.address}:${site.ports[front.name]}${tlsOf(front, site)}
${front.mode === 'passthrough' ? bySni : `  default_backend ${front.name}_upstream`}
backend ${front.name}_upstream
  server one ${towards}
`;
}

const bySni = `  tcp-request inspect-delay 5s
  tcp-request content accept if { req.ssl_hello_type 1 }
  use_backend passthrough_upstream if { req.ssl_sni -i ${serverName} }`;

function tlsOf(front: Front, { files }: Site): string {
  if (front.mode !== 'terminate' || front.starttls) return '';
  const auth = front.clientAuth ? ` verify required ca-file ${files.ca}` : '';
  return ` ssl crt ${files[front.key].pem} curves ${groupsOf(front).join(':')}${auth}`;
}
