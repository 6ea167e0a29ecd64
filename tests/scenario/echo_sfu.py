# SPDX-License-Identifier: Apache-2.0
"""An SFU's signaling without an SFU: WebSockets and bodies come back as they were sent. HTTP: a body comes back once it is whole,
GET /bytes/N gives N bytes, GET /never answers only when asked to (let_go)."""
import asyncio
import contextlib
import threading

import websockets


def pattern(size):
    return (bytes(range(251)) * (size // 251 + 1))[:size]


class EchoSfu:
    def __init__(self, tls=None):
        self.loop, ready = asyncio.new_event_loop(), threading.Event()
        self.tls, self.waiting, self.gone, self.headers = tls, 0, 0, {}

        async def listen():
            self.let_go = asyncio.Event()
            self.ws = await websockets.serve(self._echo, "127.0.0.1", 0, ssl=tls, max_size=None, compression=None, ping_interval=None)
            self.http = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
            ready.set()

        def run():
            asyncio.set_event_loop(self.loop)
            self.loop.run_until_complete(listen())
            self.loop.run_forever()
        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        assert ready.wait(10)
        self.signal_url = f"{'wss' if tls else 'ws'}://127.0.0.1:{self.ws.sockets[0].getsockname()[1]}/"
        self.http_url = f"http://127.0.0.1:{self.http.sockets[0].getsockname()[1]}/"

    async def _echo(self, ws):
        with contextlib.suppress(websockets.ConnectionClosed):
            async for message in ws:
                await ws.send(message)

    async def _serve(self, reader, writer):
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                method, target, _ = (await reader.readuntil(b"\r\n")).decode().split(" ")
                headers = {}
                while (row := (await reader.readuntil(b"\r\n")).decode().rstrip()):
                    name, value = row.split(":", 1)
                    headers[name.lower()] = value.strip()
                self.headers = headers
                await self._answer(method, target, headers, reader, writer)

    async def _answer(self, method, target, headers, reader, writer):
        path = target.split("?")[0]
        length = int(headers.get("content-length", 0))
        if path.endswith("/never"):
            self.waiting += 1
            go = asyncio.ensure_future(self.let_go.wait())
            left = asyncio.ensure_future(reader.read(1))
            await asyncio.wait([go, left], return_when=asyncio.FIRST_COMPLETED)
            if not go.done():
                self.gone += 1
            go.cancel()
        body = await reader.readexactly(length)
        if "/bytes/" in path:
            body = pattern(int(path.rsplit("/", 1)[1]))
        length = len(body)
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nContent-Type: application/octet-stream\r\n\r\n".encode())
        if method != "HEAD":
            writer.write(body)
        await writer.drain()

    def answer_all(self):
        self.loop.call_soon_threadsafe(self.let_go.set)

    def close(self):
        async def end():
            self.ws.close()
            self.http.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
        asyncio.run_coroutine_threadsafe(end(), self.loop).result(5)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
