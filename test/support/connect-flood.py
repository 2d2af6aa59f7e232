#!/usr/bin/env python3
"""Connects to a port of this machine so many times a second, and resets each connection after HOLD milliseconds:
`connect-flood.py PORT RATE SECONDS HOLD`. Prints as JSON how many connects it tried, how many the kernel answered, and in how
many seconds. Bounded: loopback only, 20 s, 4,000 sockets that wait for an answer and 4,000 that have one."""
import collections
import json
import socket
import struct
import sys
import time

port, rate, seconds = int(sys.argv[1]), float(sys.argv[2]), min(20.0, float(sys.argv[3]))
hold = float(sys.argv[4]) / 1000
reset = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: close() sends RST
waiting, held = collections.deque(), collections.deque()
tried = answered = 0


def is_answered(sock):
    try:
        sock.getpeername()
        return True
    except OSError:
        return False


def end(sock):
    global answered
    answered += is_answered(sock)
    sock.close()


start = time.monotonic()
while (now := time.monotonic() - start) < seconds:
    # In small numbers, or those to be ended would wait.
    due = min(int(now * rate) - tried, 200)
    for _ in range(due):
        tried += 1
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        try:
            sock.connect(("127.0.0.1", port))
        except BlockingIOError:
            pass
        except OSError:
            sock.close()
            continue
        # Over loopback the handshake is done by now, unless the listener's queue is full.
        (held if is_answered(sock) else waiting).append((now, sock))
    while held and (held[0][0] <= now - hold or len(held) > 4000):
        end(held.popleft()[1])
    while waiting and (waiting[0][0] < now - 1 or len(waiting) > 4000):
        end(waiting.popleft()[1])
    if due <= 0:
        time.sleep(0.0005)
elapsed = time.monotonic() - start
for _, sock in [*held, *waiting]:
    end(sock)
print(json.dumps({"tried": tried, "answered": answered, "seconds": elapsed}))
