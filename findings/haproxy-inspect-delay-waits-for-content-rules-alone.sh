#!/usr/bin/env bash
# Guess: with `tcp-request inspect-delay 5s`, use_backend rules about req.ssl_sni wait for the ClientHello, for up to that time.
# Seen: they don't. Only `tcp-request content` rules wait: a frontend without one, or with only such that ask for something else (src),
# chooses the backend from what has arrived by then, for a client that is a little slow from nothing, so that its name is not found and
# it gets to the default backend. A single content rule about the hello, whatever it says, makes the choice wait for the name, too.
# Versions: Debian 12's haproxy 2.6.12-1+deb12u4, python3 3.11.2. 29 November 2026.
# Source: tcp_inspect_request in src/tcp_rules.c (waits while a rule's sample may still change), process_switching_rules in src/stream.c
# (evaluates with SMP_OPT_FINAL).
set -euo pipefail
folder=$(mktemp -d)
trap 'kill $(cat "$folder"/*.pid 2>/dev/null) 2>/dev/null || true; rm -rf "$folder"' EXIT
command -v haproxy >/dev/null || apt-get install -y -q --no-install-recommends haproxy
cd "$folder"
cat > try.py <<'END_OF_TRY'
import socket, ssl, subprocess, sys, threading, time

def backend(name):
    """Says its name to whoever sends something."""
    server = socket.create_server(('127.0.0.1', 0))
    def serve():
        while True:
            client, _ = server.accept()
            client.settimeout(5)
            client.recv(4096)
            client.sendall(name)
            client.close()
    threading.Thread(target=serve, daemon=True).start()
    return server.getsockname()[1]

def free():
    with socket.create_server(('127.0.0.1', 0)) as server:
        return server.getsockname()[1]

named, other = backend(b'named'), backend(b'other')
cases = {
    'no content rule': '',
    'a content rule about the address': 'tcp-request content accept if { src 127.0.0.1 }',
    'a content rule about the hello': 'tcp-request content accept if { req.ssl_hello_type 1 }',
    'one that never applies': 'tcp-request content reject if { req.ssl_sni no.invalid }',
}
ports = {case: free() for case in cases}
frontends = ''.join(f'''
frontend f{index}
  bind 127.0.0.1:{ports[case]}
  tcp-request inspect-delay 5s
  {rule}
  use_backend named if {{ req.ssl_sni a.example }}
  default_backend other
''' for index, (case, rule) in enumerate(cases.items()))
with open('haproxy.cfg', 'w') as file:
    file.write(f'''defaults
  mode tcp
  timeout connect 5s
  timeout client 10s
  timeout server 10s
{frontends}
backend named
  server s 127.0.0.1:{named}
backend other
  server s 127.0.0.1:{other}
''')
haproxy = subprocess.Popen(['haproxy', '-db', '-f', 'haproxy.cfg'])
with open('haproxy.pid', 'w') as file:
    file.write(str(haproxy.pid))

incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
hello = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname='a.example')
try:
    hello.do_handshake()
except ssl.SSLWantReadError:
    pass
hello = outgoing.read()

def ask(port):
    for _ in range(100):
        try:
            client = socket.create_connection(('127.0.0.1', port), timeout=8)
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
    # A client on the other side of the world; well within the delay.
    time.sleep(0.5)
    client.sendall(hello)
    return client.recv(100).decode()

seen = {case: ask(port) for case, port in ports.items()}
for case, name in seen.items():
    print(f'{case}: {name}')
haproxy.terminate()
haproxy.wait(10)
expected = ['other', 'other', 'named', 'named']
sys.exit(0 if list(seen.values()) == expected else f'this has changed: expected {expected}')
END_OF_TRY
timeout 60 python3 try.py 2>/dev/null
