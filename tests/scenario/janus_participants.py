# SPDX-License-Identifier: Apache-2.0
"""Participants of a Janus videoroom, as scenario tests see them: over a tunnel (or straight to Janus), without media.

One JanusClient is one WebSocket and one Janus session. Everything Janus sends on its own ("room destroyed", "somebody
joined") lands in `events`; wait_event() waits for one. Replies are matched by transaction, so events may come between.
Needs Debian's python3-websockets (10.4 or newer).

    client = await JanusClient("ws://127.0.0.1:8080/v1/rooms/standup/signal").open()
    await client.attach()
    await client.join("standup", display="ann", pin=hints["janus"].get("pin"))
"""
import asyncio
import itertools
import json

import websockets

VIDEOROOM = "janus.plugin.videoroom"


class JanusError(Exception):
    """Janus or its plugin refused: `code` is its error code (426 no such room, 433 wrong pin, ...)."""

    def __init__(self, code, reason):
        super().__init__(f"{code}: {reason}")
        self.code = code


class JanusClient:
    def __init__(self, ws_url, headers=None, timeout=10):
        self.url, self.headers, self.timeout = ws_url, headers or {}, timeout
        self.events = []      # what nobody asked for, in order
        self.closed = None    # (code, reason) once the socket is closed
        self.session = self.handle = self.participant = None
        self._numbers, self._replies = itertools.count(1), {}
        self._changed = asyncio.Event()

    async def open(self):
        """Connects and creates the session."""
        self._ws = await websockets.connect(self.url, subprotocols=["janus-protocol"], extra_headers=self.headers,
                                            open_timeout=self.timeout, close_timeout=2, ping_interval=None)
        self._reader = asyncio.ensure_future(self._read())
        self.session = (await self._ask({"janus": "create"}))["data"]["id"]
        return self

    async def attach(self, plugin=VIDEOROOM):
        self.handle = (await self._ask({"janus": "attach", "plugin": plugin}))["data"]["id"]
        return self.handle

    async def join(self, room, display, pin=None):
        """Joins as a publisher without media. Returns Janus's "joined" event."""
        body = {"request": "join", "ptype": "publisher", "room": room, "display": display}
        if pin:
            body["pin"] = pin
        joined = await self._message(body, until=lambda m: m["janus"] == "event")
        self.participant = joined["id"]
        return joined

    async def list_participants(self, room):
        return (await self._message({"request": "listparticipants", "room": room}))["participants"]

    async def leave(self):
        await self._message({"request": "leave"}, until=lambda m: m["janus"] == "event")

    async def keepalive(self):
        await self._ask({"janus": "keepalive"})

    async def wait_event(self, wanted, timeout=None):
        """The first event whose plugin data `wanted` accepts: a function, or the value of "videoroom"."""
        accept = wanted if callable(wanted) else lambda data: data.get("videoroom") == wanted
        return await asyncio.wait_for(self._await(lambda: self._take(accept)), timeout or self.timeout)

    async def wait_closed(self, timeout=None):
        """Until the far side closed; gives (code, reason)."""
        return await asyncio.wait_for(self._await(lambda: self.closed), timeout or self.timeout)

    async def close(self):
        await self._ws.close()
        await self._reader

    async def __aenter__(self):
        return await self.open()

    async def __aexit__(self, *_):
        await self.close()

    async def _message(self, body, until=lambda m: m["janus"] in ("success", "event")):
        reply = await self._ask({"janus": "message", "handle_id": self.handle, "body": body}, until)
        data = reply["plugindata"]["data"]
        if "error_code" in data:
            raise JanusError(data["error_code"], data.get("error", ""))
        return data

    async def _ask(self, message, until=lambda m: True):
        number = f"t{next(self._numbers)}"
        if self.session:
            message["session_id"] = self.session
        reply = asyncio.get_running_loop().create_future()
        self._replies[number] = (reply, until)
        await self._ws.send(json.dumps({**message, "transaction": number}))
        answer = await asyncio.wait_for(reply, self.timeout)
        if answer["janus"] == "error":
            raise JanusError(answer["error"]["code"], answer["error"]["reason"])
        return answer

    async def _read(self):
        try:
            async for text in self._ws:
                self._sort(json.loads(text))
        except websockets.ConnectionClosed:
            pass
        self.closed = (self._ws.close_code, self._ws.close_reason)
        for reply, _ in self._replies.values():
            if not reply.done():
                reply.set_exception(ConnectionError(f"closed: {self.closed}"))
        self._changed.set()

    def _sort(self, message):
        reply, until = self._replies.get(message.get("transaction"), (None, None))
        if reply is not None and (message["janus"] == "error" or until(message)):
            del self._replies[message["transaction"]]
            if not reply.done():
                reply.set_result(message)
        elif message["janus"] not in ("ack", "keepalive"):
            self.events.append(message)
            self._changed.set()

    def _take(self, accept):
        for i, message in enumerate(self.events):
            if accept(message.get("plugindata", {}).get("data", {})):
                return self.events.pop(i)["plugindata"]["data"]
        return None

    async def _await(self, look):
        while (found := look()) is None:
            self._changed.clear()
            await self._changed.wait()
        return found
