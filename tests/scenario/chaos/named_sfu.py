# SPDX-License-Identifier: Apache-2.0
"""A name server and the SFU that it names, in one process: named_sfu.py ADDRESS. Queries get no answer before SIGUSR1."""
import http.server
import pathlib
import signal
import socket
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from dns import answer_to  # noqa: E402

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
            names.sendto(answer_to(query, [address]), peer)


if __name__ == "__main__":
    main(sys.argv[1])
