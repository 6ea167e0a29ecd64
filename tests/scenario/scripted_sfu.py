# SPDX-License-Identifier: Apache-2.0
"""An SFU that keeps each request it was sent, and answers with the very bytes that it is told to.

It reads as strictly as a server may (RFC 9112): what is not framed beyond doubt is a fault, and no request. So what it counts
is what any server behind usher would count.
"""
import asyncio
import base64
import contextlib
import fcntl
import hashlib
import re
import struct
import termios
import threading

CLOSE, RESET, STAY = "close", "reset", "stay"  # what becomes of the connection after an answer
LINE = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (/[\x21-\x7e]*) HTTP/1\.1")
FIELD = re.compile(rb"([A-Za-z0-9!#$%&'*+.^_`|~-]+): ?([\x20-\x7e\x80-\xff\t]*)")


class Seen:
    """One request, whole."""

    def __init__(self, method, target, fields, body):
        self.method, self.target, self.fields, self.body = method, target, fields, body

    def all(self, name):
        return [value for key, value in self.fields if key == name]

    def __repr__(self):
        return f"<{self.method} {self.target} {self.body[:40]!r}>"


class Fault(Exception):
    pass


def accept_key(seen):
    key = seen.all("sec-websocket-key")[0]
    return base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()


class ScriptedSFU:
    """`script`: called with each request; gives (bytes, CLOSE | RESET | STAY), and maybe what it says once those have arrived.

    With `tls` (a context) RESET ends the stream without a close_notify."""

    OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nseen"

    def __init__(self, tls=None):
        self.requests, self.faults, self.turns = [], [], 0
        self.script = lambda seen: (self.OK, STAY)
        self.loop, ready = asyncio.new_event_loop(), threading.Event()

        def run():
            asyncio.set_event_loop(self.loop)
            self.server = self.loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20, ssl=tls))
            self.port = self.server.sockets[0].getsockname()[1]
            ready.set()
            self.loop.run_forever()
        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        assert ready.wait(10)
        self.url = f"{'wss' if tls else 'ws'}://127.0.0.1:{self.port}/sfu"

    async def _serve(self, reader, writer):
        with contextlib.suppress(OSError, asyncio.CancelledError):
            with contextlib.suppress(asyncio.IncompleteReadError, Fault):
                while await self._turn(reader, writer) == STAY:
                    pass
            writer.close()

    async def _turn(self, reader, writer):
        seen = await self._read(reader)
        self.requests.append(seen)
        answer, after, *later = self.script(seen)
        writer.write(answer)
        await writer.drain()
        if later and later[0] is not None:
            await self._taken(writer)
            writer.write(later[0])
            await self._taken(writer)
        if after == RESET:
            writer.transport.abort()
        self.turns += 1
        return after

    async def _taken(self, writer):
        """Until the far side has acknowledged all: what comes then comes apart from it."""
        left = struct.pack("i", 1)
        while struct.unpack("i", left)[0]:
            await asyncio.sleep(0.001)
            left = fcntl.ioctl(writer.get_extra_info("socket").fileno(), termios.TIOCOUTQ, left)
        await asyncio.sleep(0.01)  # read, too: it has a loop of its own and nothing else to do

    def _fault(self, what, text):
        self.faults.append((what, text))
        raise Fault(what)

    async def _read(self, reader):
        head = await reader.readuntil(b"\r\n\r\n")
        line, *rows = head[:-4].split(b"\r\n")
        if not (start := LINE.fullmatch(line)):
            self._fault("request line", line)
        fields = []
        for row in rows:
            if not (field := FIELD.fullmatch(row)):
                self._fault("header", row)
            fields.append((field[1].decode().lower(), field[2].decode("latin-1")))
        seen = Seen(start[1].decode(), start[2].decode(), fields, b"")
        seen.body = await self._read_body(reader, seen)
        return seen

    async def _read_body(self, reader, seen):
        lengths, codings = seen.all("content-length"), seen.all("transfer-encoding")
        if len(lengths) + len(codings) > 1 or codings not in ([], ["chunked"]) or not all(n.isdigit() for n in lengths):
            self._fault("framing", (lengths, codings))
        if lengths:
            return await reader.readexactly(int(lengths[0]))
        body = b""
        while codings:
            size = (await reader.readuntil(b"\r\n"))[:-2]
            if not re.fullmatch(rb"[0-9a-fA-F]{1,8}", size):
                self._fault("chunk", size)
            chunk = await reader.readexactly(int(size, 16) + 2)
            if chunk[-2:] != b"\r\n":
                self._fault("end of chunk", chunk)
            if len(chunk) == 2:
                break
            body += chunk[:-2]
        return body

    def close(self):
        async def work():
            self.server.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
        asyncio.run_coroutine_threadsafe(work(), self.loop).result(5)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
