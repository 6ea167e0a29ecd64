# SPDX-License-Identifier: Apache-2.0
"""A name server and the SFU that it names, in one process: named_sfu.py ADDRESS. Queries get no answer before SIGUSR1."""
import http.server
import signal
import socket
import struct
import sys
import threading

SIGNAL_PORT, CONTROL_PORT = 7000, 7001


class Sfu(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_PUT = do_DELETE = answer

    def log_message(self, *ignored):
        pass


def answer_to(query, address):
    """The address for a question of type A, no record for any other (RFC 1035, 4.1)."""
    end = query.index(b"\0", 12) + 5
    kind, = struct.unpack("!H", query[end - 4:end - 2])
    record = struct.pack("!HHHIH", 0xC00C, 1, 1, 1, 4) + socket.inet_aton(address) if kind == 1 else b""
    return query[:2] + struct.pack("!HHHHH", 0x8180, 1, bool(record), 0, 0) + query[12:end] + record


def main(address):
    answers = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *ignored: answers.set())
    for port in (SIGNAL_PORT, CONTROL_PORT):
        threading.Thread(target=http.server.ThreadingHTTPServer((address, port), Sfu).serve_forever, daemon=True).start()
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind((address, 53))
    print("ready", flush=True)
    while True:
        query, peer = names.recvfrom(512)
        if answers.is_set():
            names.sendto(answer_to(query, address), peer)


main(sys.argv[1])
