# SPDX-License-Identifier: Apache-2.0
"""As much of a name server as a test needs: A records, as the test says at the moment (RFC 1035, 4.1)."""
import socket
import struct
import threading


def question(query):
    """The name that is asked for, and the type."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1:at + 1 + length].decode())
        at += 1 + length
    kind, = struct.unpack("!H", query[at + 1:at + 3])
    return ".".join(labels), kind


def answer_to(query, addresses):
    """The addresses for a question of type A, no record for any other. Time to live: none."""
    end = query.index(b"\0", 12) + 5
    found = addresses if question(query)[1] == 1 else []
    records = b"".join(struct.pack("!HHHIH", 0xC00C, 1, 1, 0, 4) + socket.inet_aton(address) for address in found)
    return query[:2] + struct.pack("!HHHHH", 0x8180, 1, len(found), 0, 0) + query[12:end] + records


class Names:
    """A name server in this process: zone[name] = [address, ...]; asked counts the questions for addresses."""

    def __init__(self, address):
        self.zone, self.asked = {}, []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            query, peer = self.socket.recvfrom(512)
            name, kind = question(query)
            if kind == 1:
                self.asked.append(name)
            self.socket.sendto(answer_to(query, self.zone.get(name, [])), peer)
