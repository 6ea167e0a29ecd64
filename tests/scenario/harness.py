# SPDX-License-Identifier: Apache-2.0
"""Starts the real programs on free ports and stops exactly those.

Nothing here sleeps for a fixed time: what must happen is waited for with a deadline (until()), and what a process says of
itself (its address, its state) is read from its log.
"""
import asyncio
import collections
import contextlib
import json
import os
import pathlib
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import threading
import time

from wire import Wire
from http1 import call, fetch, read_answer, Answer, Client  # noqa: F401  (handed on to the tests)

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("USHER_BUILD", ROOT / "build"))
DEADLINE = float(os.environ.get("USHER_TEST_DEADLINE", "20"))
WRAP = shlex.split(os.environ.get("USHER_WRAP", ""))  # before our programs: "valgrind -q --leak-check=full"


def sanitized():
    program = (BUILD / "router" / "usherd").read_bytes()
    return b"__asan_init" in program or b"__tsan_init" in program


def until(what, condition, deadline=DEADLINE):
    """Polls until condition() is truthy and returns it; fails by name."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not in {deadline} s: {what}")
        time.sleep(0.01)


PORTS = range(16000, 32000)  # below what the kernel gives to those who ask for any port, so nobody is given ours
_held = collections.deque(maxlen=256)


def free_port():
    """A port that stays ours until somebody who was told its number listens on it.

    Asking the kernel for any port and letting go of it loses it now and then to a neighbour who asks in the same millisecond.
    So a socket stays bound to it that never listens: a server, which sets SO_REUSEADDR, may bind and listen beside it, and
    nobody who looks for a free port may."""
    while True:
        s = socket.socket()
        try:
            s.bind(("127.0.0.1", random.choice(PORTS)))
        except OSError:
            s.close()
            continue
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # only now: the bind above had to be alone
        _held.append(s)
        return s.getsockname()[1]


class Process:
    def __init__(self, name, argv, directory, env=None):
        self.name = name
        self.log = pathlib.Path(directory) / f"{name}.log"
        self.out = open(self.log, "ab")
        ours = pathlib.Path(argv[0]).is_relative_to(BUILD)
        self.child = subprocess.Popen([*(WRAP if ours else ()), *(str(a) for a in argv)], stdout=self.out, stderr=self.out, stdin=subprocess.DEVNULL,
                                      env={**os.environ, **(env or {})})

    def events(self, name):
        """The log's lines (JSON) of one event."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                row = json.loads(line)
                if isinstance(row, dict) and row.get("event") == name:
                    found.append(row)
        return found

    def event(self, name, deadline=DEADLINE):
        def look():
            if self.child.poll() is not None and not self.events(name):
                raise AssertionError(f"{self.name} ended with {self.child.returncode}:\n{self.log.read_text()[-3000:]}")
            return self.events(name)
        return until(f"{self.name} logs {name}", look, deadline)[-1]

    def signal(self, number):
        self.child.send_signal(number)

    def kill(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGCONT)
            self.child.kill()
        self.child.wait()
        self.out.close()

    def stop(self, deadline=DEADLINE):
        """SIGTERM, then its exit code. A sanitizer's report is a failure."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGCONT)
            self.child.terminate()
        try:
            code = self.child.wait(deadline)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise AssertionError(f"{self.name} did not stop:\n{self.log.read_text()[-3000:]}")
        finally:
            self.out.close()
        return code

    def sanitizer_report(self):
        text = self.log.read_text(errors="replace")
        marks = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "WARNING: ThreadSanitizer", "runtime error:")
        at = min((text.find(m) for m in marks if m in text), default=-1)
        if at < 0 and WRAP:
            at = next((m.start() for m in re.finditer(r"^==\d+== ", text, re.MULTILINE)), -1)
        return text[at:at + 4000] if at >= 0 else None


# Another server of the same protocol, Valkey say: USHER_TEST_REDIS=valkey-server.
REDIS_SERVER = shutil.which(os.environ.get("USHER_TEST_REDIS", "redis-server"))


class Redis(Process):
    def __init__(self, directory, port=None, words=()):
        self.port = port or free_port()
        super().__init__(f"redis-{self.port}", [REDIS_SERVER, *words, "--port", self.port, "--save", "", "--appendonly",
                                                "no", "--bind", "127.0.0.1", "--dir", directory], directory)
        self.url = f"redis://127.0.0.1:{self.port}"
        until("redis answers", lambda: self.command("PING")[:7] in (b"+PONG\r\n", b"-NOAUTH"))

    def command(self, *words):
        """One command by hand: the raw reply, b"" when there is none."""
        with contextlib.suppress(OSError):
            with socket.create_connection(("127.0.0.1", self.port), 2) as s:
                text = b"*%d\r\n" % len(words)
                for word in words:
                    word = word.encode() if isinstance(word, str) else word
                    text += b"$%d\r\n%s\r\n" % (len(word), word)
                s.sendall(text)
                s.settimeout(2)
                return s.recv(1 << 20)
        return b""

    def client(self):
        import redis
        return redis.Redis(port=self.port)


def bearer(token):
    return {"Authorization": f"Bearer {token}"} if token else {}


class Router(Process):
    count = 0
    token = None

    def __init__(self, directory, *sets, build=BUILD, env=None, token=None, tls=None):
        """tls: a Leaf (authority.py) that the listeners speak TLS with."""
        Router.count += 1
        self.token = token
        if tls:
            sets = (f"tls.cert={tls.cert}", f"tls.key={tls.key}", *sets)
        calm = ["overload.target_ms=0"]  # on where it is the subject: neighbours on the machine are no overload
        sets = ["server.listen=127.0.0.1:0", "log.format=json", "server.workers=2", "server.lame_duck_ms=0", *calm, *sets]
        argv = [build / "router" / "usherd"] + [word for s in sets for word in ("--set", s)]
        super().__init__(f"usherd-{Router.count}", argv, directory, env)
        try:
            self.url = ("https://" if tls else "http://") + self.event("started")["listen"]
        except AssertionError:
            self.kill()  # nobody else knows of it yet
            raise

    def call(self, method, path, body=None, headers=None, **more):
        return call(method, self.url + path, body, {**bearer(self.token), **(headers or {})}, **more)

    def get(self, path, **more):
        return self.call("GET", path, **more)

    def post(self, path, body=None, **more):
        return self.call("POST", path, body, **more)

    def put(self, path, body=None, **more):
        return self.call("PUT", path, body, **more)

    def delete(self, path, **more):
        return self.call("DELETE", path, **more)

    def join(self, room, body=None, **more):
        return self.post(f"/v1/rooms/{room}/join", body, **more)

    def node(self, name):
        answer = self.get(f"/v1/nodes/{name}")
        return answer.json() if answer.status == 200 else None

    def wait_placeable(self, *names):
        for name in names:
            until(f"{name} is placeable", lambda: (self.node(name) or {}).get("placeable"))

    def metric(self, line):
        for row in self.get("/metrics").body.decode().splitlines():
            if row.startswith(line + " "):
                return float(row.rsplit(" ", 1)[1])
        return 0.0


class FakeNode:
    """A node in this process: registers, heartbeats when told to, and answers control calls as it is told to.

    mode of its control side: ok, 500, 404, 503, hang, reset, garbage. It keeps what it was asked to open and evict.
    """

    def __init__(self, name, routers, signal_url=None, control=True, heartbeat=True, token=None, **info):
        self.name, self.routers, self.info, self.token, self.requests = name, list(routers), info, token, []
        self.grants = {}  # by room: what came with its open, told in lists
        self.mode, self.rooms, self.opens, self.evicted, self.calls = "ok", {}, [], [], 0
        self.load, self.state, self.seq, self.registration = {"cpu": 0.1}, "ready", 0, None
        self.incarnation = f"{name}.{os.getpid()}.{time.monotonic_ns()}"
        self.charged, self.report_rooms, self.answers = 0, False, []
        self.calling = threading.RLock()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.ready = threading.Event()
        self.thread.start()
        assert self.ready.wait(10)
        self.control_url = f"http://127.0.0.1:{self.port}" if control else None
        self.signal_url = signal_url or f"ws://127.0.0.1:{self.port}/signal"
        self.beating = None
        self.register()
        if heartbeat:
            self.beat()
            self.start_beating()

    # -- its own HTTP side ---------------------------------------------------------------------------------------
    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.server = self.loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024))
        self.port = self.server.sockets[0].getsockname()[1]
        self.ready.set()
        self.loop.run_forever()

    async def _serve(self, reader, writer):
        with contextlib.closing(writer), contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                line = (await reader.readuntil(b"\r\n")).decode()
                method, target, _ = line.split(" ")
                headers = {}
                while (row := (await reader.readuntil(b"\r\n")).decode().rstrip()):
                    key, value = row.split(":", 1)
                    headers[key.lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                if not await self._answer(method, target, headers, body, writer):
                    break

    def vanish(self):
        """Nobody listens any more and open connections are cut; appear() ends it."""
        async def work():
            self.server.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
        asyncio.run_coroutine_threadsafe(work(), self.loop).result(5)

    def appear(self):
        async def work():
            self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=1024)
        asyncio.run_coroutine_threadsafe(work(), self.loop).result(5)

    async def _answer(self, method, target, headers, body, writer):
        self.calls += 1
        self.requests.append((method, target, headers))
        if self.mode == "hang":
            await asyncio.sleep(3600)
        if self.mode == "reset":
            writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.transport.abort()
            return False
        if self.mode == "garbage":
            writer.write(b"\x16\x03\x01garbage garbage\r\n\r\n")
            await writer.drain()
            return False
        status, answer = 200, {}
        if self.mode.isdigit():
            status = int(self.mode)
        elif "/rooms/" in target:
            status, answer = self._control(method, target, headers, body)
        text = json.dumps(answer).encode()
        extra = "Retry-After: 7\r\n" if self.mode == "503full" else ""
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{extra}Content-Length: {len(text)}\r\n\r\n".encode() + text)
        await writer.drain()
        return True

    def _control(self, method, target, headers, body):
        room, _, query = target.split("/rooms/", 1)[1].partition("?")
        if method == "PUT":
            epoch = json.loads(body)["epoch"]
            assert headers["x-usher-epoch"] == str(epoch)
            self.opens.append((room, epoch))
            if self.rooms.get(room, 0) > epoch:
                return 409, {}
            self.rooms[room] = epoch
            if "x-usher-grant" in headers:
                self.grants[room] = headers["x-usher-grant"].split(",")[0]
            return 200, {"hints": {"opened_by": self.name}}
        self.evicted.append((room, int(query.split("=")[1])))
        self.rooms.pop(room, None)
        return 204, {}

    # -- the node's calls ----------------------------------------------------------------------------------------
    def register(self, **more):
        with self.calling:
            return self._register(**more)

    def _register(self, **more):
        body = {"incarnation": self.incarnation, "signal_url": self.signal_url, "fences": "none", **self.info, **more}
        if self.control_url:
            body.update(control_url=self.control_url)
        answer = call("PUT", f"{self.routers[0].url}/v1/nodes/{self.name}", body, bearer(self.token))
        if answer.status in (200, 201):
            self.registration, self.seq = answer.json()["registration"], 0
        return answer

    def beat(self, router=0, **more):
        """One at a time: of two under way the later could overtake the earlier, which then counts for nothing."""
        with self.calling:
            return self._beat(router, **more)

    def _beat(self, router, **more):
        self.seq += 1
        body = {"incarnation": self.incarnation, "registration": self.registration, "seq": self.seq, "state": self.state,
                "load": self.load, "seen": self.charged, **more}
        if self.report_rooms:
            body["rooms"] = [{"room": room, "epoch": epoch, "participants": 0, **({"grant": self.grants[room]} if room in self.grants else {})}
                             for room, epoch in self.rooms.items()]
        answer = call("POST", f"{self.routers[router].url}/v1/nodes/{self.name}/heartbeat", body, bearer(self.token))
        if answer.status == 200:
            self.charged = answer.json()["charged"]
        self.answers.append(answer)
        return answer

    def start_beating(self, every=0.5):
        self.stop_beating()
        stop = threading.Event()

        def work():
            while not stop.wait(every):
                with contextlib.suppress(OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
                    self.beat()
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        self.beating = (stop, thread)

    def stop_beating(self):
        if self.beating:
            self.beating[0].set()
            self.beating[1].join()
        self.beating = None

    def close(self):
        self.stop_beating()
        self.vanish()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)


class Stage:
    """What one test has started; all of it is stopped at the end, whatever happened."""

    def __init__(self, directory):
        self.directory, self.things = directory, []

    def add(self, thing):
        self.things.append(thing)
        return thing

    def redis(self, **how):
        return self.add(Redis(self.directory, **how))

    def router(self, *sets, **how):
        return self.add(Router(self.directory, *sets, **how))

    def node(self, name, *routers, **how):
        return self.add(FakeNode(name, routers, **how))

    def wire(self, port, **how):
        return self.add(Wire(port, **how))

    def process(self, name, argv, **how):
        return self.add(Process(name, argv, self.directory, **how))

    def agent(self, name, routers, *sets, adapter="echo", **how):
        urls = ",".join(r.url for r in routers)
        # Measured, the load would be this machine's, and a busy one takes no rooms.
        sets = [f"agent.node={name}", f"agent.routers={urls}", f"agent.adapter={adapter}", "agent.listen=127.0.0.1:0",
                "agent.control_listen=127.0.0.1:0", "agent.echo_load=0.1", "log.format=json", *sets]
        argv = [BUILD / "client" / "agent" / "usher-agent"] + [word for s in sets for word in ("--set", s)]
        return self.process(f"agent-{name}-{len(self.things)}", argv, **how)

    def close(self):
        reports = []
        for thing in reversed(self.things):
            if isinstance(thing, (FakeNode, Wire)):
                thing.close()
        for thing in reversed(self.things):
            if isinstance(thing, Process):
                if thing.child.poll() is None:
                    thing.kill() if isinstance(thing, Redis) else thing.signal(signal.SIGTERM)
        for thing in reversed(self.things):
            if isinstance(thing, Process):
                try:
                    thing.child.wait(15)
                except subprocess.TimeoutExpired:
                    thing.kill()
                    reports.append(f"{thing.name} did not stop")
                if report := thing.sanitizer_report():
                    reports.append(f"{thing.name}:\n{report}")
        assert not reports, "\n".join(reports)


def together(*coroutines):
    """Runs them at once and returns their results in order."""
    async def run():
        return await asyncio.gather(*coroutines)
    return asyncio.run(run())
