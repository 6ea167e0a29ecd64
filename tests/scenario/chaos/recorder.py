# SPDX-License-Identifier: Apache-2.0
"""Asks every node itself, ten times a second, which rooms it accepts joins for; and knocks at gates."""
import contextlib
import http.client
import json
import threading
import time

from checker import Entry, Sample

EVERY_S = 0.1


class NodeWatch(threading.Thread):
    """One node. A node that is stopped answers late: that answer is waited for, as it is the first that it gives awake."""

    def __init__(self, name, address):
        super().__init__(daemon=True)
        self.name_of, self.address, self.samples, self.ended = name, address, [], threading.Event()

    def ask(self, kept):
        kept.request("GET", "/rooms")
        return kept.getresponse().read()

    def run(self):
        kept, last_text, last = None, None, None
        while not self.ended.is_set():
            sent = time.monotonic()
            try:
                kept = kept or http.client.HTTPConnection(self.address, timeout=60)
                text = self.ask(kept)
                if text != last_text:
                    said = json.loads(text)
                    last_text, last = text, ({r["room"]: r.get("epoch") for r in said["rooms"]}, said["fenced"])
                self.samples.append(Sample(sent, time.monotonic(), *last))
            except (OSError, ValueError, http.client.HTTPException):
                with contextlib.suppress(OSError, AttributeError):
                    kept.close()
                kept = None
                self.samples.append(Sample(sent, time.monotonic(), None))
            self.ended.wait(max(0.0, EVERY_S - (time.monotonic() - sent)))


class Recorder:
    def __init__(self, controls):
        self.watches = {name: NodeWatch(name, address) for name, address in controls.items()}
        for watch in self.watches.values():
            watch.start()

    def stop(self):
        for watch in self.watches.values():
            watch.ended.set()
        for watch in self.watches.values():
            watch.join(3)  # one that waits for a stopped node is left behind
        return {name: list(watch.samples) for name, watch in self.watches.items()}


class Knocker(threading.Thread):
    """Tries, over a new connection each time, to get in at one gate for one of these rooms."""

    def __init__(self, gate, rooms, every_s=0.05):
        super().__init__(daemon=True)
        self.gate, self.rooms, self.every_s, self.entries, self.ended = gate, list(rooms.items()), every_s, [], threading.Event()
        self.start()

    def knock(self, room, epoch):
        start = time.monotonic()
        status, refused = 0, "-"
        try:
            link = http.client.HTTPConnection(self.gate, timeout=40)
            with contextlib.closing(link):
                link.request("GET", "/signal", headers={
                    "X-Usher-Room": room, "X-Usher-Epoch": str(epoch), "Connection": "Upgrade", "Upgrade": "websocket",
                    "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
                    "Sec-WebSocket-Protocol": "janus-protocol"})
                answer = link.getresponse()
                status, refused = answer.status, answer.getheader("X-Usher-Refused") or "-"
        except (OSError, http.client.HTTPException) as why:
            refused = type(why).__name__
        self.entries.append(Entry(start, start, time.monotonic(), self.gate, room, status, "-", epoch, "-", refused))

    def run(self):
        turn = 0
        while not self.ended.is_set():
            self.knock(*self.rooms[turn % len(self.rooms)])
            turn += 1
            self.ended.wait(self.every_s)

    def stop(self):
        self.ended.set()
        self.join(3)
        return list(self.entries)
