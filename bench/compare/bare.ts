/**
 * The least that Node can do: `node bare.ts SITE`, one process that terminates or connects and pipes. No routes, limits, time-outs,
 * logs, nor care for what fails. What penstock costs beyond it is penstock's; the rest is Node's and OpenSSL's.
 */
import { readFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { createSecureContext, createServer as createTlsServer, connect as tlsConnect } from 'node:tls';
import {
  bareFronts,
  ciphers12,
  ciphers13,
  clientGroups,
  type Front,
  groupsOf,
  type Site,
  upstreamName,
} from './fronts.ts';

const site = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as Site;
const ca = readFileSync(site.files.ca);
const client = { ca, cert: readFileSync(site.files.client.cert), key: readFileSync(site.files.client.key) };
const secureContext = createSecureContext({ ...client, ecdhCurve: clientGroups.join(':') });

for (const front of bareFronts) {
  const options = { noDelay: true, allowHalfOpen: true, pauseOnConnect: front.mode !== 'terminate' };
  const relay = (socket: Socket) => pipeBothWays(socket, dial(front));
  const server =
    front.mode === 'terminate'
      ? createTlsServer({ ...options, ...tls(front) }, relay)
      : createServer(options, relay);
  server.listen({ host: site.address, port: site.ports[front.name], backlog: 4096 });
}

function tls(front: Front): object {
  const { cert, key } = site.files[front.key];
  return {
    cert: readFileSync(cert),
    key: readFileSync(key),
    ciphers: [...ciphers13, ...ciphers12].join(':'),
    ecdhCurve: groupsOf(front).join(':'),
    ...(front.clientAuth ? { requestCert: true, rejectUnauthorized: true, ca } : {}),
  };
}

function dial({ upstream }: Front): Socket {
  const target = { host: site.upstreamAddress, port: site.upstreamPorts[upstream] };
  if (upstream !== 'mutual_tls') return connect({ ...target, noDelay: true, allowHalfOpen: true });
  return tlsConnect({ ...target, secureContext, servername: upstreamName });
}

function pipeBothWays(one: Socket, other: Socket): void {
  one.on('error', () => other.destroy());
  other.on('error', () => one.destroy());
  one.pipe(other);
  other.pipe(one);
}
