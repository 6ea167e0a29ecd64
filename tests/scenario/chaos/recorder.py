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
        answer = kept.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise ValueError(answer.status)
        return text

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
    """Tries, over a new connection each time, to get in for one of these rooms: at a gate, or at a router by `path`."""

    def __init__(self, address, rooms, every_s=0.05, path=None, start=True):
        super().__init__(daemon=True)
        self.address, self.rooms, self.every_s, self.path = address, list(rooms.items()), every_s, path
        self.entries, self.ended = [], threading.Event()
        if start:
            self.start()

    def ask(self, room, epoch):
        """(status, why not)"""
        headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                   "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "janus-protocol"}
        if not self.path:
            headers.update({"X-Usher-Room": room, "X-Usher-Epoch": str(epoch)})
        with contextlib.closing(http.client.HTTPConnection(self.address, timeout=40)) as link:
            link.request("GET", self.path.format(room) if self.path else "/signal", headers=headers)
            answer = link.getresponse()
            if answer.status == 101:
                return 101, "-"
            text = answer.read()
            with contextlib.suppress(ValueError, KeyError, TypeError):
                return answer.status, answer.getheader("X-Usher-Refused") or json.loads(text)["code"]
            return answer.status, "-"

    def knock(self, room, epoch):
        start = time.monotonic()
        try:
            status, why = self.ask(room, epoch)
        except (OSError, http.client.HTTPException) as error:
            status, why = 0, type(error).__name__
        self.entries.append(Entry(start, start, time.monotonic(), self.address, room, status, "-", epoch, "-", why))

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
