/** The demo's configuration, written as a person would, since people will read it. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { isExecutable, packageDirectory } from '../../process/own-files.ts';
import { pinOf } from '../pki/issue.ts';
import type { DemoPki } from './pki.ts';
import type { Upstreams } from './upstreams.ts';

/** Names the JSON Schema for editors, which the single executable lacks. */
function modeline(): string {
  if (isExecutable) return '';
  const schema = pathToFileURL(join(packageDirectory(), 'config/penstock.schema.json'));
  return `# yaml-language-server: $schema=${schema}\n`;
}

/** The port of each listener. */
export type Listeners = Readonly<
  Record<'terminate' | 'mutual_tls' | 'pinned' | 'passthrough' | 'rewrap' | 'postgres' | 'mysql', number>
>;

/** penstock.yaml, for these ports and this PKI. */
export function demoConfig(listeners: Listeners, upstreams: Upstreams, pki: DemoPki): string {
  return `${modeline()}# Written anew by every \`penstock demo\`; copy it elsewhere before you change it.
# The upstreams are the demo's own and end with it.

log: { destination: access.log }
shutdown: { grace: 2s }

certificates:                       # what penstock presents
  echo:     { cert: echo.crt, key: echo.key }
  vault:    { cert: vault.crt, key: vault.key }
  database: { cert: database.crt, key: database.key }
  penstock: { cert: penstock.crt, key: penstock.key }

authorities:                        # whom it trusts
  clients:  { ca: ca.crt }
  internal: { ca: internal-ca.crt }

${listenersPart(listeners, pki)}${upstreams.mysql ? mysqlListener(listeners.mysql) : ''}
${upstreamsPart(upstreams)}`;
}

function listenersPart(listeners: Listeners, pki: DemoPki): string {
  return `listeners:
  terminate:                        # TLS ends here
    bind: 127.0.0.1:${listeners.terminate}
    routes:
      - sni: echo.demo.test
        tls: { certificates: [echo] }
        upstream: echo

  mutual_tls:                       # and the client shows a certificate of our CA
    bind: 127.0.0.1:${listeners.mutual_tls}
    routes:
      - sni: echo.demo.test
        tls:
          certificates: [echo]
          client_auth:
            mode: require
            authority: clients
            allow: [{ cn: alice }]
        upstream: echo

  pinned:                           # or one that no CA has signed, known by its key
    bind: 127.0.0.1:${listeners.pinned}
    routes:
      - sni: echo.demo.test
        tls:
          certificates: [echo]
          client_auth:
            mode: require
            pins: ["${pinOf(pki.sensor.cert)}"]
        upstream: echo

  passthrough:                      # the client's own TLS reaches the upstream
    bind: 127.0.0.1:${listeners.passthrough}
    routes:
      - sni: secure.demo.test
        tls: passthrough
        upstream: secure

  rewrap:                           # TLS in, mutual TLS out
    bind: 127.0.0.1:${listeners.rewrap}
    routes:
      - sni: vault.demo.test
        tls: { certificates: [vault] }
        upstream: vault

  postgres:                         # PostgreSQL asks for TLS in its own way
    bind: 127.0.0.1:${listeners.postgres}
    starttls: postgres
    routes:
      - tls: { certificates: [database] }
        upstream: database
`;
}

function mysqlListener(port: number): string {
  return `
  mysql:                            # and MySQL in another: penstock greets in the server's place
    bind: 127.0.0.1:${port}
    starttls: mysql
    routes:
      - tls: { certificates: [database] }
        upstream: mysql
`;
}

function upstreamsPart(upstreams: Upstreams): string {
  const mysql = upstreams.mysql ? `  mysql:\n    endpoints: ["unix:${upstreams.mysql.socket}"]\n` : '';
  return `upstreams:
  echo:
    endpoints: [127.0.0.1:${upstreams.echo}]
    send_proxy_protocol: { version: v2, tlvs: [authority, ssl, unique_id, crc32c] }
  secure:
    endpoints: [127.0.0.1:${upstreams.secure}]
  vault:
    endpoints: [127.0.0.1:${upstreams.vault}]
    tls:
      server_name: vault.internal
      authority: internal
      certificate: penstock         # mutual TLS
  database:
    endpoints: [127.0.0.1:${upstreams.database}]
${mysql}`;
}
