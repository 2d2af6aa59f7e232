/** stunnel: a thread a connection. It passes nothing through, and cannot re-wrap in one service. */
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
  upstreamName,
} from './fronts.ts';

/** Writes its configuration. */
export function prepareStunnel(binary: string, postQuantum: boolean, site: Site): Prepared {
  const served = fronts.filter(
    (front) =>
      (front.mode === 'terminate' || front.mode === 'originate') &&
      front.upstream !== 'mutual_tls' &&
      front.starttls !== 'mssql' &&
      (postQuantum || !front.postQuantum),
  );
  const file = join(site.directory, 'stunnel.conf');
  const logFile = join(site.directory, 'stunnel.log');
  writeFileSync(file, [head(logFile), ...served.map((front) => service(front, site))].join('\n'));
  return {
    launches: [{ command: [binary, file], output: join(site.directory, 'stunnel.out') }],
    served,
    logFile,
    logs: 'at level 5 (notice): accept, connect and close, a line each; no TLS fields',
    threadsEnd: true,
  };
}

function head(logFile: string): string {
  return `foreground = quiet
syslog = no
debug = 5
output = ${logFile}
pid =
socket = a:SO_REUSEADDR=1
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
sslVersionMin = TLSv1.2
ciphers = ${ciphers12.join(':')}
ciphersuites = ${ciphers13.join(':')}
options = CIPHER_SERVER_PREFERENCE
`;
}

function service(front: Front, site: Site): string {
  const { ca } = site.files;
  const { cert, key } = site.files[front.key];
  const auth = front.clientAuth ? `CAfile = ${ca}\nverifyChain = yes\nrequireCert = yes\n` : '';
  const own =
    front.mode === 'originate'
      ? `client = yes\nCAfile = ${ca}\nverifyChain = yes\ncheckHost = ${upstreamName}\nsni = ${upstreamName}`
      : `cert = ${cert}\nkey = ${key}`;
  return `[${front.name}]
accept = ${site.address}:${site.ports[front.name]}
connect = ${site.upstreamAddress}:${site.upstreamPorts[front.upstream]}
${front.starttls ? `protocol = ${front.starttls === 'postgres' ? 'pgsql' : front.starttls}\n` : ''}${own}
curves = ${groupsOf(front).join(':')}
${auth}`;
}
