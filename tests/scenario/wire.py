# SPDX-License-Identifier: Apache-2.0
"""A wire between two programs that can be cut, black-holed or slowed, by what was said on it.

    wire = stage.add(Wire(redis.port))
    router = stage.router(f"registry.url=redis://127.0.0.1:{wire.port}")
    wire.black_hole(lambda said: b"SUBSCRIBE" in said)
"""
import asyncio
import contextlib
import threading

UNDER_WAY_MAX = 1024  # pieces of up to 64 KiB that a slow wire holds, each way; past it they wait where they come from


class Link:
    def __init__(self):
        self.said = b""  # the first bytes from the client
        self.frozen = False
        self.thawed = asyncio.Event()
        self.writers = []


class Wire:
    def __init__(self, port, host="127.0.0.1", delay_s=0.0):
        self.to, self.delay_s, self.links, self.refusing = (host, port), delay_s, set(), False
        self.loop = asyncio.new_event_loop()
        ready = threading.Event()

        async def listen():
            self.server = await asyncio.start_server(self._carry, "127.0.0.1", 0, backlog=1024)
            self.port = self.server.sockets[0].getsockname()[1]
            ready.set()

        def run():
            asyncio.set_event_loop(self.loop)
            self.loop.run_until_complete(listen())
            self.loop.run_forever()
        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        assert ready.wait(10)

    async def _carry(self, reader, writer):
        link = Link()
        link.writers.append(writer)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            if self.refusing:
                writer.transport.abort()
                return
            far_reader, far_writer = await asyncio.open_connection(*self.to)
            link.writers.append(far_writer)
            self.links.add(link)
            await asyncio.gather(self._pump(link, reader, far_writer, True), self._pump(link, far_reader, writer, False))
        self.links.discard(link)
        for end in link.writers:
            end.close()

    async def _pump(self, link, reader, writer, from_client):
        """What is read, and its end, is due delay_s later, each piece on its own: none waits for the delay of the one before."""
        under_way = asyncio.Queue(UNDER_WAY_MAX if self.delay_s else 1)

        async def take():
            data = None
            while data != b"":
                try:
                    data = await reader.read(65536)
                except OSError:
                    data = b""
                if from_client and len(link.said) < 65536:
                    link.said += data
                await under_way.put((self.loop.time() + self.delay_s, data))

        async def deliver():
            data = None
            while data != b"":
                due_s, data = await under_way.get()
                await asyncio.sleep(due_s - self.loop.time())
                while link.frozen:
                    await link.thawed.wait()
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(take())
                both.create_task(deliver())
        except* OSError:  # nobody is there to take it
            pass

    def _call(self, work):
        done = threading.Event()

        def run():
            work()
            done.set()
        self.loop.call_soon_threadsafe(run)
        assert done.wait(10)

    def black_hole(self, which=lambda said: True):
        """Nothing arrives any more in either direction, and no end says so. How many links that hit."""
        hit = []

        def work():
            for link in self.links:
                if which(link.said):
                    link.frozen = True
                    link.thawed.clear()
                    hit.append(link)
        self._call(work)
        return len(hit)

    def heal(self):
        def work():
            self.refusing = False
            for link in self.links:
                link.frozen = False
                link.thawed.set()
        self._call(work)

    def cut(self, which=lambda said: True, refuse=False):
        """Resets; with `refuse`, new connections too until heal()."""
        def work():
            self.refusing = refuse
            for link in list(self.links):
                if which(link.said):
                    for writer in link.writers:
                        writer.transport.abort()
        self._call(work)

    def close(self):
        def work():
            self.server.close()
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
        self._call(work)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
