# SPDX-License-Identifier: Apache-2.0
"""usher behind the HAProxy and the nginx of deploy/: what works, who is believed to have asked, what a stop costs, and that nothing
can be smuggled through the two of them."""
import asyncio
import contextlib
import json
import signal
import ssl
import threading

import pytest
import websockets

from authority import Authority
from fronts import HAProxy, Nginx
from harness import DEADLINE, until
from http1 import head, read_answer
from scripted_sfu import CLOSE, STAY, ScriptedSFU
from test_malformed import END, HELLO, HIDDEN, PATH, TABLE, get, line, post

FRONTS = {"haproxy": HAProxy, "nginx": Nginx}
HOST = "rooms.example.com"
BEHIND = ["server.trusted_proxies=127.0.0.1/32", f"server.public_url=https://{HOST}"]


class Behind:
    """A front of this kind, two routers that share a Redis, an SFU."""

    def __init__(self, stage, kind, directory, *sets):
        redis = stage.redis()
        self.routers = [stage.router(f"registry.url={redis.url}", *BEHIND, *sets) for _ in range(2)]
        self.sfu = stage.add(ScriptedSFU())
        self.node = stage.node("n1", *self.routers, signal_url=self.sfu.url, control=False)
        for router in self.routers:
            router.wait_placeable("n1")
        ca = Authority(directory, "ca")
        self.front = stage.add(FRONTS[kind](directory, self.routers, ca.issue("front", names=(HOST, "127.0.0.1")), ca))
        assert self.ask("POST", "/v1/rooms/r/join").status == 200

    async def request(self, method, path, body=None, headers=None, source="127.0.0.1"):
        reader, writer = await self.front.connect(source)
        writer.write(head(method, path, HOST, {"Connection": "close", **(headers or {})}, None if body is None else len(body)) + (body or b""))
        try:
            return await asyncio.wait_for(read_answer(reader, method == "HEAD"), DEADLINE)
        finally:
            writer.close()

    def ask(self, *what, **how):
        return asyncio.run(self.request(*what, **how))


@pytest.fixture(scope="module", params=FRONTS)
def behind(request, shared_stage, tmp_path_factory):
    return Behind(shared_stage, request.param, tmp_path_factory.mktemp(request.param))


# -- what works -------------------------------------------------------------------------------------------------------------------
def test_join_route_and_signal(behind):
    joined = behind.ask("POST", "/v1/rooms/a%2Fb/join", json.dumps({"participant": "ann"}).encode(), {"Content-Type": "application/json"})
    assert joined.status == 200 and joined.json()["room"] == "a/b"
    assert joined.json()["signal"]["url"].startswith(f"wss://{HOST}/v1/rooms/a%2Fb/signal")
    assert behind.ask("GET", "/v1/rooms/a%2Fb/route").headers["x-usher-node"] == "n1"
    behind.sfu.requests.clear()
    assert behind.ask("POST", "/v1/rooms/a%2Fb/signal/x%2Fy?q=1", b"hello").body == b"seen"
    seen, = behind.sfu.requests
    assert (seen.method, seen.target, seen.body) == ("POST", "/sfu/x%2Fy?q=1", b"hello")
    assert behind.ask("GET", "/v1/rooms/unplaced/route").code() == "not_found"


def test_plain_http_is_sent_to_https(behind):
    async def run():
        reader, writer = await asyncio.open_connection("127.0.0.1", behind.front.plain)
        writer.write(head("GET", "/v1/rooms/r/route", HOST, {}, None))
        answer = await read_answer(reader)
        writer.close()
        return answer
    answer = asyncio.run(run())
    assert answer.status == 308 and answer.headers["location"] == f"https://{HOST}/v1/rooms/r/route"


class Paced(ScriptedSFU):
    """Says the second half of its answer when it is told to."""

    def __init__(self):
        super().__init__()
        self.go = threading.Event()

    async def _turn(self, reader, writer):
        self.requests.append(await self._read(reader))
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await writer.drain()
        await asyncio.get_running_loop().run_in_executor(None, self.go.wait, DEADLINE)
        writer.write(b"6\r\nsecond\r\n0\r\n\r\n")
        return CLOSE


def test_streams_are_not_held_back(behind, stage):
    sfu = stage.add(Paced())
    for router in behind.routers[:1]:
        node = stage.node("paced", router, signal_url=sfu.url, control=False, pool="paced")
    for router in behind.routers:
        router.wait_placeable("paced")
    assert behind.ask("POST", "/v1/rooms/paced/join", b'{"pool":"paced"}', {"Content-Type": "application/json"}).status == 200

    async def run():
        reader, writer = await behind.front.connect()
        writer.write(head("GET", "/v1/rooms/paced/signal/events", HOST, {}, None))
        await asyncio.wait_for(reader.readuntil(b"first"), DEADLINE)  # while the SFU has not said the rest
        sfu.go.set()
        await asyncio.wait_for(reader.readuntil(b"second"), DEADLINE)
        writer.close()
    asyncio.run(run())
    assert node.seq


def test_large_bodies_cross_whole(behind):
    body = bytes(range(256)) * 8000
    for router in behind.routers:  # one that has to look the room up first would collect the body, and may not
        assert router.get("/v1/rooms/r/route", headers={"Host": HOST}).status == 200
    behind.sfu.script = lambda seen: (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(seen.body) + seen.body, STAY)
    try:
        answer = behind.ask("POST", "/v1/rooms/r/signal/x", body)
        assert (answer.status, answer.body[:200]) == (200, body[:200]) and answer.body == body
    finally:
        behind.sfu.script = lambda seen: (ScriptedSFU.OK, STAY)


def test_wss_tunnels(behind, stage):
    stage.agent("echo", behind.routers, "agent.pool=echo")
    for router in behind.routers:
        router.wait_placeable("echo")
    assert behind.ask("POST", "/v1/rooms/echo/join", b'{"pool":"echo"}', {"Content-Type": "application/json"}).status == 200
    context = ssl.create_default_context(cafile=behind.front.directory / "ca.ca.pem")
    context.check_hostname = False

    async def run():
        async with websockets.connect(f"wss://{HOST}/v1/rooms/echo/signal", host="127.0.0.1", port=behind.front.port, ssl=context, compression=None,
                                      max_size=None, subprotocols=["janus-protocol"], origin=f"https://{HOST}") as ws:
            for message in ["text", b"\0\xff", "x" * 70000, b"y" * (1 << 20)]:
                await ws.send(message)
                assert await asyncio.wait_for(ws.recv(), DEADLINE) == message
            await ws.close(4321, "so long")
            return ws.close_code
    assert asyncio.run(run()) == 4321


# -- who asked --------------------------------------------------------------------------------------------------------------------
SPOOFED = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.example", "Forwarded": "for=6.6.6.6",
           "X-Real-IP": "6.6.6.6", "X_Forwarded_For": "6.6.6.6"}


def test_what_a_client_says_of_itself_is_not_believed(behind):
    behind.sfu.requests.clear()
    assert behind.ask("GET", "/v1/rooms/r/signal/x", headers=SPOOFED, source="127.0.0.2").status == 200
    seen, = behind.sfu.requests
    assert seen.all("x-forwarded-for") == ["127.0.0.2, 127.0.0.1"]
    assert seen.all("x-forwarded-proto") == ["https"] and seen.all("x-forwarded-host") == [HOST]
    assert not any("6.6.6.6" in value or "evil" in value for _, value in seen.fields)


@pytest.mark.parametrize("kind", FRONTS)
def test_limits_are_those_of_the_true_client(stage, tmp_path, kind):
    behind = Behind(stage, kind, tmp_path, "limits.address_rate=1")

    async def flood(source, headers):
        return [(await behind.request("GET", "/v1/rooms/r/route", headers=headers, source=source)).status for _ in range(12)]
    # Two routers let two seconds' worth through each; a name that changes with each request helps nobody.
    first = asyncio.run(flood("127.0.0.2", SPOOFED))
    assert 429 in first and set(first) == {200, 429}
    assert asyncio.run(flood("127.0.0.3", {}))[0] == 200


# -- a router stops ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", FRONTS)
def test_router_that_stops_loses_no_request(stage, tmp_path, kind):
    behind = Behind(stage, kind, tmp_path, "server.lame_duck_ms=3000", "server.drain_ms=100")
    answers, over = [], threading.Event()

    async def client(i):
        """One kept connection, joins and routes in turn."""
        reader = writer = None
        turn = 0
        while not over.is_set():
            if writer is None:
                reader, writer = await behind.front.connect()
            turn += 1
            what = ("POST", f"/v1/rooms/stop-{i}/join") if turn % 2 else ("GET", "/v1/rooms/r/route")
            writer.write(head(*what, HOST, {}, 0 if turn % 2 else None))
            try:
                answer = await asyncio.wait_for(read_answer(reader), DEADLINE)
            except asyncio.IncompleteReadError as cut:
                answers.append((what, f"cut after {cut.partial!r}"))
                writer = None
                continue
            answers.append((what, answer.status))
            if answer.headers.get("connection", "").lower() == "close":
                writer.close()
                writer = None
            await asyncio.sleep(0.002)
        if writer:
            writer.close()

    async def run():
        clients = [asyncio.create_task(client(i)) for i in range(8)]
        in_thread = asyncio.get_running_loop().run_in_executor
        await in_thread(None, until, "some answers", lambda: len(answers) > 200)
        behind.routers[0].signal(signal.SIGTERM)
        await in_thread(None, behind.routers[0].child.wait, DEADLINE)
        some = len(answers)
        await in_thread(None, until, "some more", lambda: len(answers) > some + 200)
        over.set()
        await asyncio.gather(*clients)
    asyncio.run(run())
    assert {answer for answer in answers if answer[1] != 200} == set()
    assert behind.routers[0].child.returncode == 0


# -- smuggling --------------------------------------------------------------------------------------------------------------------
MARKER = b"/v1/rooms/r/signal/marker"
# Further ways to say a framing that two programs may read as two.
TWISTED = [
    ("a length in the coding's line", post(b"Transfer-Encoding: chunked, identity", b"Content-Length: 5", body=END + HIDDEN)),
    ("two codings by case", post(b"Transfer-Encoding: chunked", b"transfer-encoding: x", b"Content-Length: 5", body=END + HIDDEN)),
    ("a coding behind a bare LF in a value", post(b"Content-Length: 5", b"X: a\nTransfer-Encoding: chunked", body=END + HIDDEN)),
    ("a coding with a form feed", post(b"Transfer-Encoding: \x0cchunked", b"Content-Length: 5", body=END + HIDDEN)),
    ("a coding with NUL", post(b"Transfer-Encoding: \0chunked", b"Content-Length: 5", body=END + HIDDEN)),
    ("a coding in a name with an underscore", post(b"Transfer_Encoding: chunked", b"Content-Length: 5", body=END + HIDDEN)),
    ("a length hidden by Connection", post(b"Content-Length: %d" % len(HIDDEN), b"Connection: Content-Length", body=HIDDEN)),
    ("HTTP/1.0 kept, with chunks", get(b"Connection: keep-alive", b"Transfer-Encoding: chunked", method=b"POST", version=b"HTTP/1.0") + END + HIDDEN),
    ("HTTP/1.0 kept, with a length", get(b"Connection: keep-alive", b"Content-Length: 5", method=b"POST", version=b"HTTP/1.0") + b"hello" + HIDDEN),
    ("a GET with a length and chunks", get(b"Content-Length: 5", b"Transfer-Encoding: chunked") + END + HIDDEN),
    ("chunks whose size overflows to 0", post(b"Transfer-Encoding: chunked", body=b"100000000\r\n" + HIDDEN)),
    ("a chunk extension with a bare CR", post(b"Transfer-Encoding: chunked", body=b"5;a\rb\r\nhello\r\n" + END + HIDDEN)),
    ("a last chunk of many zeros", post(b"Transfer-Encoding: chunked", body=HELLO + b"0000000000\r\n\r\n" + HIDDEN)),
    ("trailers with a bare LF", post(b"Transfer-Encoding: chunked", body=HELLO + b"0\r\nX: y\n\n" + HIDDEN)),
    ("h2c with a body that is a request", get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
                                              b"Content-Length: %d" % len(HIDDEN)) + HIDDEN),
    ("an Upgrade of WebSocket that fails, a request behind it", get(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 777") + HIDDEN),
    ("absolute form with another Host", b"GET http://evil.example" + PATH + b" HTTP/1.1\r\nHost: localhost\r\n\r\n" + HIDDEN),
    ("two Hosts", line(b"GET " + PATH + b" HTTP/1.1", b"Host: evil.example") + HIDDEN),
    ("an HTTP/0.9 line behind a good one", get() + b"GET " + PATH + b"\r\n"),
]
ROWS = [(row[0], row[1]) for row in TABLE] + [(f"twist: {name}", text) for name, text in TWISTED]


def names_itself(seen):
    text = f"{seen.method} {seen.target}".encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text, STAY


async def read_some(reader, count):
    """Up to so many answers, with what closed the connection: [(status, body)], closed."""
    found = []
    with contextlib.suppress(asyncio.TimeoutError):
        while len(found) < count:
            try:
                answer = await asyncio.wait_for(read_answer(reader), 0.5 if not found else 0.3)
            except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
                return found, True
            found.append((answer.status, answer.body))
    return found, False


async def smuggle(front, request):
    reader, writer = await front.connect()
    writer.write(request)
    first, closed = await read_some(reader, 4)
    if not closed:
        writer.write(line(b"GET " + MARKER + b" HTTP/1.1"))
        more, closed = await read_some(reader, 4)
        first += more
    writer.close()
    return first


# What these hold are two requests by the letter (RFC 9112), or by a leniency that both fronts and nobody behind them are asked for.
TWO = {"follow: two at once are two", "follow: a body, then another", "follow: chunks, then another", "follow: Upgrade refused, a request behind it",
       "coding: a blank behind", "coding: folded before the value", "twist: a coding in a name with an underscore",
       "twist: HTTP/1.0 kept, with a length", "twist: a last chunk of many zeros", "twist: trailers with a bare LF"}
# nginx still speaks HTTP/0.9: one request, answered without a head, and the connection closes.
HEADLESS = {"line: no version": 1, "twist: an HTTP/0.9 line behind a good one": 2}


@pytest.mark.parametrize("name,request_bytes", ROWS, ids=[row[0] for row in ROWS])
def test_nothing_is_smuggled(behind, name, request_bytes):
    """Each request that the SFU saw is one that this client was answered, in that order: none was hidden in another, and the marker
    behind it got its own answer or none."""
    request_bytes = request_bytes.replace(b"Host: localhost", b"Host: " + HOST.encode())
    behind.sfu.requests.clear()
    behind.sfu.script = names_itself
    answers = asyncio.run(smuggle(behind.front, request_bytes))
    assert behind.ask("GET", "/v1/rooms/r/signal/fence").status == 200
    seen = [f"{r.method} {r.target}".encode() for r in behind.sfu.requests if r.target != "/sfu/fence"]
    assert behind.sfu.faults == []
    if name in HEADLESS and isinstance(behind.front, Nginx):
        assert len(seen) == HEADLESS[name]
        return
    assert [body for status, body in answers if status == 200 and b" /sfu/" in body] == [text for text in seen if not text.startswith(b"HEAD")]
    assert len([text for text in seen if text != b"GET /sfu/marker"]) <= (2 if name in TWO else 1)
    assert name in TWO or name.startswith("twist") or b"GET /sfu/hidden" not in seen
