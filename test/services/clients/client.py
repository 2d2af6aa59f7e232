"""Python's ssl. Words and output: client.h"""
import socket
import ssl
import struct
import sys

asked = {"connections": "1", "bytes": "100", "do": "echo"}
asked.update(word.split("=", 1) for word in sys.argv[1:])
payload = asked["name"].encode().ljust(int(asked["bytes"]), b".")
context = ssl.create_default_context(cafile=asked["ca"])
version = ssl.TLSVersion.TLSv1_3 if asked["version"] == "1.3" else ssl.TLSVersion.TLSv1_2
context.minimum_version = context.maximum_version = version
if "cert" in asked:
    context.load_cert_chain(asked["cert"], asked["key"])


def converse(session):
    raw = socket.create_connection(("127.0.0.1", int(asked["port"])))
    with context.wrap_socket(raw, server_hostname=asked["name"], session=session) as client:
        print("connected", client.version(), "resumed" if client.session_reused else "full", flush=True)
        client.sendall(payload)
        if asked["do"] == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            print("reset")
            return None
        answer = b""
        while len(answer) < len(payload):
            piece = client.recv(65536)
            if not piece:
                raise EOFError("closed")
            answer += piece
        assert answer == payload
        print("echoed", len(answer))
        return client.session


kept = None
for _ in range(int(asked["connections"])):
    try:
        kept = converse(kept)
    except (OSError, EOFError) as error:
        print("failed", error)
