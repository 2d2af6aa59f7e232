"""A client of Python's ssl: `client.py CA CERT KEY`, then attempts of four words each; see refused-clients-name-the-alert.services.ts."""
import socket
import ssl
import sys

context = ssl.create_default_context(cafile=sys.argv[1])
context.load_cert_chain(sys.argv[2], sys.argv[3])
context.minimum_version = ssl.TLSVersion.TLSv1_3


def attempt(port, name, mode, session):
    with socket.create_connection(("127.0.0.1", port), 10) as tcp:
        with context.wrap_socket(tcp, server_hostname=name, session=session) as tls:
            if mode == "speaks":
                tls.sendall(b"ping")
            answer = tls.recv(4)
            if not answer:
                raise EOFError("a clean end")
            return answer.decode(), tls.session


rest = sys.argv[4:]
while rest:
    port, name, mode, count = rest[:4]
    rest = rest[4:]
    session = None
    for _ in range(int(count)):
        try:
            answer, session = attempt(int(port), name, mode, session)
            print(name, "got", answer)
        except (OSError, EOFError) as error:
            print(name, "failed", error)
