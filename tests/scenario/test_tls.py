# SPDX-License-Identifier: Apache-2.0
"""HTTPS and WSS on the listeners: everything that holds without TLS, with it."""
import asyncio
import contextlib
import os
import signal
import socket
import ssl
import struct
import subprocess
import time

import pytest
import websockets

import http1
from authority import CLIENT_AUTH, DAY, SERVER_AUTH, Authority, write
from echo_sfu import EchoSfu, pattern
from harness import BUILD, Client, bearer, call, fetch, until
from test_access import House, ticket_of
from test_stop import load
from test_tunnel import memory_kb


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"), "ca", trusted=True)


@pytest.fixture(scope="module")
def ours(ca):
    return ca.issue("router", ["127.0.0.1", "localhost"])


@pytest.fixture
def sfu():
    sfu = EchoSfu()
    yield sfu
    sfu.close()


@pytest.fixture
def pair(stage, sfu, ours):
    """A router that speaks TLS, and a node that echoes."""
    router = stage.router(tls=ours)
    stage.node("n1", router, signal_url=sfu.signal_url, http_url=sfu.http_url, control=False)
    router.wait_placeable("n1")
    return router


def wss(router, room, rest=""):
    return f"wss://{router.url[8:]}/v1/rooms/{room}/signal{rest}"


def connect(router, room="r", **how):
    how = {"max_size": None, "compression": None, "ping_interval": None, **how}
    return websockets.connect(wss(router, room), ssl=how.pop("ssl", http1.TRUST), **how)


def address(router):
    host, port = router.url.rsplit("//", 1)[1].rsplit(":", 1)
    return host, int(port)


def handshake(router, context=None, sock=None):
    sock = sock or socket.create_connection(address(router), 10)
    return (context or http1.TRUST).wrap_socket(sock, server_hostname="127.0.0.1", suppress_ragged_eofs=False)


def ask(tls, text):
    tls.sendall(text.encode() if isinstance(text, str) else text)


def answer_head(tls):
    data = b""
    while b"\r\n\r\n" not in data:
        more = tls.recv(4096)
        assert more, data
        data += more
    return data


GET = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


# -- everything once ---------------------------------------------------------------------------------------------------
def test_join_route_and_heartbeat_over_https(pair):
    answer = pair.join("standup")
    assert answer.status in (200, 201), answer
    assert answer.json()["signal"]["url"].startswith(f"wss://{pair.url[8:]}/v1/rooms/standup/signal")
    route = pair.get("/v1/rooms/standup/route").json()
    assert route["node"] == "n1"
    assert pair.node("n1")["state"] == "ready"
    assert [r["url"] for r in pair.get("/v1/routers").json()["routers"]] == [pair.url]
    assert pair.metric('usher_tls_handshakes_total{outcome="done"}') > 3


def test_messages_of_all_kinds_cross_a_wss_tunnel(pair):
    async def run():
        async with connect(pair, subprotocols=["janus-protocol"]) as ws:
            for message in ["text", "ümläut 🎉", b"", b"\0\xff" * 100, "x" * 70000, os.urandom(1 << 20)]:
                await ws.send(message)
                assert await asyncio.wait_for(ws.recv(), 10) == message
            await asyncio.wait_for(await ws.ping(b"beat"), 5)
            await ws.close(4321, "so long")
            return ws.close_code, ws.close_reason
    assert asyncio.run(run()) == (4321, "so long")
    until("the tunnel is gone", lambda: not pair.metric("usher_tunnels"))


@pytest.mark.parametrize("tls", [False, True])
def test_a_tunnel_to_a_node_with_tls_and_one_without(stage, ca, ours, tls):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(ours.cert, ours.key)
    sfu = EchoSfu(server if tls else None)
    router = stage.router("limits.frame_bytes=4000000", "limits.message_bytes=4000000", tls=ours, env={"SSL_CERT_FILE": str(ca.file)})
    stage.node("n1", router, signal_url=sfu.signal_url, control=False)
    router.wait_placeable("n1")

    async def run():
        async with connect(router) as ws:
            for size in (1, 16384, 16385, 3_000_000):
                message = os.urandom(size)
                await ws.send(message)
                assert await asyncio.wait_for(ws.recv(), 20) == message
    asyncio.run(run())
    sfu.close()


def test_50_mb_each_way_at_once_in_bounded_memory(stage, sfu, ours):
    keeps_little = ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "quarantine_size_mb=1"]))
    router = stage.router(tls=ours, env={"ASAN_OPTIONS": keeps_little})  # OpenSSL gives its buffers back after each record
    stage.node("n1", router, signal_url=sfu.signal_url, control=False)
    router.wait_placeable("n1")
    size, count = 1 << 20, 50
    before = memory_kb(router)

    async def run():
        async with connect(router) as ws:
            async def send():
                for i in range(count):
                    await ws.send(bytes([i]) * size)
            task = asyncio.create_task(send())
            for i in range(count):
                assert await asyncio.wait_for(ws.recv(), 30) == bytes([i]) * size
            await task
    asyncio.run(run())
    grown = memory_kb(router, "VmHWM") - before
    assert grown < 24 << 10, f"100 MB passed through {grown} KB more of memory"


# -- HTTP: bodies, connections ------------------------------------------------------------------------------------------
SIZE = 10_000_000


def test_ten_megabytes_up_and_down_past_slow_ends(pair):
    """Streamed up and down in bits: whoever is faster waits, and every byte comes."""
    assert pair.join("big").status == 200
    body = os.urandom(SIZE)

    async def run():
        reader, writer = await asyncio.open_connection(*address(pair), ssl=http1.TRUST, limit=4096)
        writer.write(http1.head("PUT", "/v1/rooms/big/signal/echo", "localhost", {"Content-Type": "application/octet-stream"}, SIZE))

        async def send():
            for at in range(0, SIZE, 50_000):
                writer.write(body[at:at + 50_000])
                await writer.drain()
        task = asyncio.create_task(send())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        got = bytearray()
        while len(got) < SIZE:
            piece = await asyncio.wait_for(reader.read(30_000), 10)
            assert piece, len(got)
            got += piece
        await task
        writer.close()
        return bytes(got)
    assert asyncio.run(run()) == body


def test_an_answer_waits_for_a_client_that_does_not_read(pair):
    """TLS is stopped in the middle of a record, again and again, and goes on where it was; others are served meanwhile."""
    assert pair.join("down").status == 200
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(address(pair))
    with handshake(pair, sock=sock) as tls:
        ask(tls, f"GET /v1/rooms/down/signal/bytes/{SIZE} HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for _ in range(20):
            assert pair.get("/livez").status == 200
        data = answer_head(tls)
        got = [data.split(b"\r\n\r\n", 1)[1]]
        while sum(map(len, got)) < SIZE:
            got.append(tls.recv(16384))
            assert got[-1]
        assert b"".join(got) == pattern(SIZE)


def test_requests_follow_each_other_on_one_connection(pair):
    with handshake(pair) as tls:
        stream = tls.makefile("rb")

        def answers(n):
            for _ in range(n):
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += stream.readline()
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                yield head, length
        for _ in range(3):
            ask(tls, GET)
            (head, length), = answers(1)
            assert head.startswith(b"HTTP/1.1 200 ") and len(stream.read(length)) == length
        ask(tls, GET * 20)  # pipelined: answered in order, all of them
        for head, length in answers(20):
            assert head.startswith(b"HTTP/1.1 200 ") and len(stream.read(length)) == length
        ask(tls, "HEAD /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" + GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"))
        (head, length), = answers(1)
        assert head.startswith(b"HTTP/1.1 200 ") and length > 0
        (head, length), = answers(1)  # HEAD brought no body
        assert b"Connection: close" in head and len(stream.read(length)) == length
        assert stream.read() == b""  # and an end that was said: an unexpected one would raise


@pytest.mark.parametrize("size", [1, 16384])
def test_records_of_any_size(pair, size):
    assert pair.join("records").status == 200
    body = pattern(size * 200)
    with handshake(pair) as tls:
        text = http1.head("PUT", "/v1/rooms/records/signal/echo", "localhost", {"Content-Type": "a/b"}, len(body)) + body
        for at in range(0, len(text), size):
            tls.sendall(text[at:at + size])  # each is a record
        data = answer_head(tls)
        while len(data.split(b"\r\n\r\n", 1)[1]) < len(body):
            data += tls.recv(65536)
        assert data.split(b"\r\n\r\n", 1)[1] == body


def test_who_speaks_http_is_told(pair):
    for method in ("GET", "OPTIONS", "POST"):
        with socket.create_connection(address(pair), 10) as sock:
            sock.sendall(f"{method} / HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            data = b""
            while more := sock.recv(4096):
                data += more
            assert data.startswith(b"HTTP/1.1 400 ") and b"https://" in data, data
            assert int(data.split(b"Content-Length: ")[1].split(b"\r\n")[0]) == len(data.split(b"\r\n\r\n", 1)[1])
    until("they are counted", lambda: pair.metric('usher_tls_handshakes_total{outcome="plain"}') == 3)


def test_what_participants_are_told_is_https(stage, sfu, ours):
    router = stage.router(tls=ours)
    stage.node("n1", router, signal_url=sfu.signal_url, http_url=sfu.http_url, control=False)
    router.wait_placeable("n1")
    assert router.join("r").status == 200
    assert router.get("/v1/rooms/r/signal/bytes/1").status == 200
    assert sfu.headers["x-forwarded-proto"] == "https", sfu.headers


# -- ends ---------------------------------------------------------------------------------------------------------------
async def closed_with(ws, timeout=10):
    with pytest.raises(websockets.ConnectionClosed) as closed:
        while True:
            await asyncio.wait_for(ws.recv(), timeout)
    return closed.value.code, closed.value.reason


def test_closes_reach_a_wss_client(pair):
    async def run():
        async with connect(pair) as ws:
            await ws.send("x")
            await ws.recv()
            rooms = await fetch("GET", pair.url + "/v1/rooms/r")
            answer = await fetch("DELETE", f"{pair.url}/v1/rooms/r?epoch={rooms.json()['epoch']}")
            assert answer.status == 204, answer
            code, reason = await closed_with(ws)
            assert (code, reason) == (1000, "room_closed")
        async with connect(pair, "s") as ws:
            await ws.send("x")
            await ws.recv()
            pair.signal(signal.SIGTERM)
            return await closed_with(ws)
    code, reason = asyncio.run(run())
    assert code == 1012 and reason.startswith("router_restart;retry="), (code, reason)
    assert pair.child.wait(15) == 0


def open_tunnel(router, context=None):
    """By hand: a TLS socket after its 101."""
    tls = handshake(router, context)
    ask(tls, "GET /v1/rooms/half/signal HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
             "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    head = answer_head(tls)
    assert head.startswith(b"HTTP/1.1 101 "), head
    return tls


def masked(text):
    return bytes([0x82, 0x80 | len(text), 0, 0, 0, 0]) + text


class HalfDeaf:
    """A raw WebSocket far side: answers the handshake, and sends what it is told to once it has read our end."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self.listener.getsockname()[1]}/"

    def accept(self):
        import base64
        import hashlib
        sock, _ = self.listener.accept()
        sock.settimeout(10)
        data = b""
        while b"\r\n\r\n" not in data:
            data += sock.recv(4096)
        key = data.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        sock.sendall(b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        return sock


def both_ends(stage, ours):
    """A tunnel by hand: its router, the client's TLS socket, the node's socket."""
    far = HalfDeaf()
    router = stage.router(tls=ours)
    stage.node("n1", router, signal_url=far.url, control=False)
    router.wait_placeable("n1")

    async def run():
        accepted = asyncio.create_task(asyncio.to_thread(far.accept))
        return await asyncio.to_thread(open_tunnel, router), await accepted
    return router, *asyncio.run(run())


def test_half_an_end_is_passed_on_both_ways(stage, ours):
    """close_notify of the client is a FIN at the node, whose last words still come; a FIN of the node is a close_notify."""
    router, tls, node = both_ends(stage, ours)
    ask(tls, masked(b"last words"))
    tls.settimeout(0.2)
    with contextlib.suppress(ssl.SSLError, socket.timeout, OSError):
        tls.unwrap()  # says its end, and would wait for ours
    got = b""
    while more := node.recv(4096):
        got += more
    assert got.endswith(b"last words")  # and then its FIN
    node.sendall(b"\x82\x03bye")
    node.shutdown(socket.SHUT_WR)
    until("the tunnel is gone", lambda: not router.metric("usher_tunnels"))
    tls.close()


def test_a_node_that_ends_is_an_end_that_was_said(stage, ours):
    _, tls, node = both_ends(stage, ours)
    tls.settimeout(10)
    node.sendall(b"\x82\x03bye")
    node.shutdown(socket.SHUT_WR)
    got = b""
    while more := tls.recv(4096):  # an end without close_notify raises SSLEOFError
        got += more
    assert got == b"\x82\x03bye"
    tls.sendall(masked(b"still here"))  # the other half is open
    assert node.recv(4096).endswith(b"still here")
    tls.close()
    node.close()


@pytest.mark.parametrize("how", ["close_notify", "fin", "reset"])
def test_a_client_that_leaves_while_it_waits_frees_everything(pair, sfu, how):
    assert pair.join("never").status == 200
    tls = handshake(pair)
    ask(tls, "GET /v1/rooms/never/signal/never HTTP/1.1\r\nHost: localhost\r\n\r\n")
    until("the node is asked", lambda: sfu.waiting == 1)
    until("it is counted", lambda: pair.metric("usher_connections") >= 1)
    if how == "close_notify":
        tls.settimeout(0.1)
        with contextlib.suppress(OSError):
            tls.unwrap()
    elif how == "reset":
        tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(tls.detach())
    else:
        os.close(tls.detach())
    until("the node is left, too", lambda: sfu.gone == 1, 5)
    until("the connection is gone", lambda: not pair.metric("usher_connections"), 5)


# -- time -----------------------------------------------------------------------------------------------------------------
def test_who_is_slow_is_cut_after_ten_seconds(pair):
    """A silent one, one whose handshake drips, one whose request drips inside TLS, one whose records drip: at once, 10 s in all."""
    hello = client_hello(pair)

    async def drip(text, writer):
        with contextlib.suppress(OSError):
            for byte in text:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.25)

    async def cut(text, tls=None, first=None):
        begun = time.monotonic()
        reader, writer = await asyncio.open_connection(*address(pair), ssl=tls)
        if first:
            writer.write(first)
        task = asyncio.create_task(drip(text, writer))
        answer = b""
        with contextlib.suppress(OSError):
            answer = await asyncio.wait_for(reader.read(), 20)
        task.cancel()
        return time.monotonic() - begun, answer

    async def run():
        return await asyncio.gather(cut(b""), cut(hello), cut(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"a" * 1000, http1.TRUST),
                                    cut(b"", http1.TRUST))
    took = asyncio.run(run())
    assert all(9.5 < seconds < 13 for seconds, _ in took), took
    assert took[2][1].startswith(b"HTTP/1.1 408 "), took[2]
    assert not took[0][1] and not took[1][1] and not took[3][1]
    assert pair.metric('usher_tls_handshakes_total{outcome="late"}') == 2
    until("none is left", lambda: pair.metric("usher_connections") <= 2)


# -- what is refused ------------------------------------------------------------------------------------------------------
def client_hello(router):
    """The bytes that a client begins with."""
    near, far = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        http1.TRUST.wrap_bio(near, far, server_hostname="127.0.0.1").do_handshake()
    return far.read()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_versions_are_refused(pair, ca):
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        old.minimum_version = old.maximum_version = version
        with pytest.raises(ssl.SSLError, match="(?i)protocol.version|unsupported"):
            handshake(pair, old)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        good = ssl.create_default_context(cafile=ca.file)
        good.minimum_version = good.maximum_version = version
        with handshake(pair, good) as tls:
            ask(tls, GET)
            assert answer_head(tls).startswith(b"HTTP/1.1 200 ")
    with socket.create_connection(address(pair), 10) as sock:  # SSLv3
        sock.sendall(client_hello(pair).replace(b"\x16\x03\x01", b"\x16\x03\x00").replace(b"\x03\x03", b"\x03\x00", 1)[:60])
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(100)[:1] in (b"\x15", b"")


def test_renegotiation_is_refused(pair):
    """In TLS 1.2, by the client."""
    asked = subprocess.run(["openssl", "s_client", "-connect", ":".join(map(str, address(pair))), "-tls1_2"],
                           input=b"R\n", capture_output=True, timeout=20)
    assert b"RENEGOTIATING" in asked.stderr + asked.stdout, asked.stdout[-500:]
    assert b"no renegotiation" in asked.stderr.lower(), asked.stderr[-500:]
    assert b"Secure Renegotiation IS supported" in asked.stdout


def test_who_is_gone_at_once_is_forgotten(pair):
    """Before the first byte, by FIN and by reset: some before a worker has them, some in a handshake that never begins."""
    held = len(os.listdir(f"/proc/{pair.child.pid}/fd"))
    for n in range(20):
        sock = socket.create_connection(address(pair), 10)
        if n % 2:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    assert pair.get("/livez").status == 200, "whoever came later"
    until("none is left", lambda: not pair.metric("usher_connections") and len(os.listdir(f"/proc/{pair.child.pid}/fd")) <= held)


def test_an_address_has_its_share_of_connections(stage, ours):
    """Handshakes count from the first moment on; who has too many is told by an alert."""
    router = stage.router("limits.connections_per_address=8", tls=ours)
    silent = [socket.create_connection(address(router), 10) for _ in range(8)]
    until("all are held", lambda: refused(router))
    with pytest.raises(ssl.SSLError, match="(?i)internal.error"):
        handshake(router)
    for sock in silent:
        sock.close()
    until("there is room again", lambda: not refused(router))
    assert router.get("/livez").status == 200


def refused(router):
    try:
        with handshake(router) as tls:
            ask(tls, GET)
            answer_head(tls)
        return False
    except (ssl.SSLError, OSError, AssertionError):
        return True


def test_a_hello_that_is_too_long_or_none_costs_nothing(pair):
    """What its first nine bytes say would be allocated at once, for all of ten seconds."""
    for n, head in enumerate([b"\x16\x03\x01\x02\x00\x01\x02\x01\x44", b"\x16\x03\x01\x00\x01\x01\x16\x03\x01", b"\x16\x03\x01\x02\x00\x02\x00\x01\x44", b"\0" * 9]):
        with socket.create_connection(address(pair), 5) as sock:
            sock.sendall(head[:5])
            sock.sendall(head[5:])
            assert sock.recv(100) == b""
        until("it is counted", lambda: pair.metric('usher_tls_handshakes_total{outcome="failed"}') == n + 1)


def test_a_hello_in_small_pieces_is_taken(pair):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = http1.TRUST.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with socket.create_connection(address(pair), 10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def crumble():
            for byte in outgoing.read():
                sock.sendall(bytes([byte]))

        def until_done(act):
            while True:
                try:
                    return act()
                except ssl.SSLWantReadError:
                    crumble()
                    incoming.write(sock.recv(65536))
        until_done(tls.do_handshake)
        tls.write(GET.encode())
        crumble()
        assert until_done(lambda: tls.read(100)).startswith(b"HTTP/1.1 200")


def test_a_flood_of_handshakes_does_not_stop_the_others(stage, ours):
    """Clients that begin handshakes and break off, while one asks on a connection of its own."""
    router = stage.router("limits.connections_per_address=100000", tls=ours)  # all come from one address here
    hello = client_hello(router)

    async def flood(stop):
        while not stop.is_set():
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(*address(router))
                writer.write(hello)
                await writer.drain()
                writer.transport.abort()

    async def run():
        stop = asyncio.Event()
        tasks = [asyncio.create_task(flood(stop)) for _ in range(32)]
        client = Client(router.url)
        for _ in range(100):
            assert (await client.request("GET", "/livez")).status == 200
        stop.set()
        await asyncio.gather(*tasks)
        client.close()
    asyncio.run(run())
    assert router.metric('usher_tls_handshakes_total{outcome="failed"}') >= 1
    until("none is left", lambda: router.metric("usher_connections") <= 2)


# -- changing certificates --------------------------------------------------------------------------------------------------
def serial_of(router):
    with handshake(router) as tls:
        return int(tls.getpeercert()["serialNumber"], 16)


def test_a_reload_under_load_refuses_nobody(stage, sfu, ca, tmp_path):
    mine = ca.issue("reloaded", ["127.0.0.1", "localhost"], until=30 * DAY)
    router = stage.router(tls=mine)
    stage.node("n1", router, signal_url=sfu.signal_url, http_url=sfu.http_url, control=False)
    router.wait_placeable("n1")
    before = serial_of(router)
    assert abs(router.metric("usher_tls_certificate_expiry_seconds") - time.time() - 30 * 86400) < 100

    async def kept(stop, results):
        client = Client(router.url)
        while not stop.is_set():
            results.append((await client.request("GET", "/livez")).status)
        client.close()

    async def anew(stop, results):
        while not stop.is_set():
            results.append((await fetch("GET", router.url + "/livez")).status)

    async def run():
        stop, results = asyncio.Event(), []
        async with connect(router) as ws:
            tasks = [asyncio.create_task(work(stop, results)) for work in (kept, anew) * 4]
            for i in range(8):
                ca.issue("reloaded", ["127.0.0.1", "localhost"], until=(60 + i) * DAY)
                router.signal(signal.SIGHUP)
                while len(router.events("reloaded")) <= i:
                    await asyncio.sleep(0.01)
            await ws.send("as before")
            assert await ws.recv() == "as before"
            stop.set()
            await asyncio.gather(*tasks)
        return results
    results = asyncio.run(run())
    assert set(results) == {200} and len(results) > 20
    assert serial_of(router) != before
    assert abs(router.metric("usher_tls_certificate_expiry_seconds") - time.time() - 67 * 86400) < 100


def test_a_bad_new_file_keeps_the_old_in_force(stage, ca, tmp_path):
    mine = ca.issue("kept", ["127.0.0.1", "localhost"])
    router = stage.router(tls=mine)
    before = serial_of(router)
    other = ca.issue("other", ["127.0.0.1", "localhost"])
    for n, (content, said) in enumerate([(b"no PEM", "BEGIN CERTIFICATE"), (open(other.cert, "rb").read(), "is not the key of the certificate")]):
        write(mine.cert, content)
        router.signal(signal.SIGHUP)
        until("it is said", lambda: len(router.events("reload_failed")) == n + 1)
        why = router.events("reload_failed")[-1]["why"]
        assert said in why and (str(mine.cert) in why or str(mine.key) in why), why
        assert serial_of(router) == before
    ca.issue("kept", ["127.0.0.1", "localhost"])
    router.signal(signal.SIGHUP)
    router.event("reloaded")
    assert serial_of(router) != before


def test_a_reload_with_another_fault_changes_no_certificate(stage, tmp_path, ca):
    mine = ca.issue("whole", ["127.0.0.1"])
    house = House(stage, tmp_path, tls=mine)
    before = serial_of(house.router)
    ca.issue("whole", ["127.0.0.1"])
    house.rules.write_text("no JSON")
    house.router.signal(signal.SIGHUP)
    house.router.event("reload_failed")
    assert serial_of(house.router) == before
    house.rules.write_text(house.text())
    house.router.signal(signal.SIGHUP)
    house.router.event("reloaded")
    assert serial_of(house.router) != before


def test_a_near_end_is_said_once_a_day(stage, ca):
    router = stage.router("nodes.unfenced_ms=1500", "nodes.lease_ms=1000", "nodes.heartbeat_ms=300", tls=ca.issue("near", ["127.0.0.1"], until=10 * DAY))
    said = router.event("tls_certificate_ends")
    assert said["days_left"] in (9, 10) and said["file"].endswith("near.pem") and said["level"] == "warn"
    stage.node("n1", router, control=False).stop_beating()
    until("some seconds have passed: the node is lost", lambda: [e for e in router.events("node_state") if e["to"] == "lost"])
    assert len(router.events("tls_certificate_ends")) == 1
    far = stage.router(tls=ca.issue("far", ["127.0.0.1"], until=20 * DAY))
    assert far.get("/livez").status == 200 and not far.events("tls_certificate_ends")


# -- client certificates ------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def nodes_ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("nodes-ca"), "nodes")


@pytest.fixture
def house(stage, tmp_path, ours, nodes_ca):
    """Asks for credentials, and takes certificates of nodes."""
    return House(stage, tmp_path, f"tls.client_ca={nodes_ca.file}", tls=ours)


REGISTER = {"incarnation": "one", "signal_url": "ws://127.0.0.1:7000/"}


def as_node(house, context, name="n7", token=None):
    answer = call("PUT", f"{house.router.url}/v1/nodes/{name}", REGISTER, bearer(token), tls=context)
    return answer.status, answer.json().get("detail", "")


def test_a_node_shows_who_it_is_by_its_certificate(house, ca, nodes_ca, tmp_path):
    foreign = Authority(tmp_path, "foreign")
    ours = {name: authority.issue(f"c-{name}", **how).context(ca) for name, authority, how in [
        ("right", nodes_ca, {"names": ["n7"], "common": None}), ("by-subject", nodes_ca, {"names": [], "common": "n7"}), ("usage", nodes_ca, {"names": ["n7"], "usage": CLIENT_AUTH}),
        ("other", nodes_ca, {"names": ["n8"]}), ("expired", nodes_ca, {"names": ["n7"], "until": -DAY, "since": -3 * DAY}),
        ("foreign", foreign, {"names": ["n7"]}), ("server's", nodes_ca, {"names": ["n7"], "usage": SERVER_AUTH}),
        ("unnamed", nodes_ca, {"names": ["spiffe://x/n7"], "common": "n7"})]}
    for good in ("right", "by-subject", "usage"):
        assert as_node(house, ours[good])[0] in (200, 201), good
    for bad, status, said in (("other", 403, "another node"), ("expired", 401, "certificate has expired"), ("foreign", 401, "issuer"),
                              ("server's", 401, "purpose"), ("unnamed", 401, "names no node")):
        got, detail = as_node(house, ours[bad])
        assert got == status and said in detail, (bad, got, detail)
    assert as_node(house, http1.TRUST) == (401, "a credential is required: Authorization: Bearer …")
    assert as_node(house, ours["other"], "n8")[0] == 201


def test_a_certificate_opens_nothing_but_its_node(house, ca, nodes_ca):
    mine = nodes_ca.issue("c", ["n7"]).context(ca)
    url = house.router.url

    def ask(method, path, token=None, body=None):
        return call(method, url + path, body, bearer(token), tls=mine).status
    assert as_node(house, mine)[0] == 201
    assert ask("DELETE", "/v1/nodes/n7?incarnation=one") in (200, 204)
    for method, path in (("GET", "/v1/nodes"), ("GET", "/v1/nodes/n7"), ("PUT", "/v1/nodes/n7/cordon"), ("GET", "/metrics"), ("POST", "/v1/rooms/r/join"), ("DELETE", "/v1/rooms/r?force=true")):
        assert ask(method, path) == 403, path
    # Beside a credential it counts for nothing: neither does it help a wrong one nor does it bind a right one.
    assert ask("GET", "/v1/nodes", house.tokens["all"]) == 200
    assert as_node(house, mine, token="wrong")[0] == 401
    assert as_node(house, mine, token=house.tokens["node"])[0] == 403
    assert as_node(house, mine, "n1", token=house.tokens["node"])[0] in (200, 201, 409)


def test_after_a_reload_another_ca_counts_on_open_connections_too(stage, tmp_path, ours, ca):
    """At once, for their next request; who is believed still is served, and asked to come by a handshake of its own."""
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    file = str(tmp_path / "nodes.pem")
    write(file, open(old.file, "rb").read())
    house = House(stage, tmp_path, f"tls.client_ca={file}", tls=ours)
    mine = old.issue("mine", ["n7"]).context(ca)

    async def run(believed):
        client = Client(house.router.url, mine)
        assert (await client.request("PUT", "/v1/nodes/n7", REGISTER)).status in (200, 201)
        write(file, b"".join(open(one.file, "rb").read() for one in believed))
        reloads = len(house.router.events("reloaded"))
        house.router.signal(signal.SIGHUP)
        await asyncio.to_thread(until, "it has reloaded", lambda: len(house.router.events("reloaded")) > reloads)
        first = await client.request("PUT", "/v1/nodes/n7", REGISTER)
        second = await client.request("PUT", "/v1/nodes/n7", REGISTER)  # on a new one
        client.close()
        return first.status, first.headers["connection"].lower(), second.status
    assert asyncio.run(run((old, new))) == (200, "close", 200)
    assert asyncio.run(run((new,))) == (401, "close", 401)
    assert as_node(house, new.issue("mine", ["n7"]).context(ca))[0] in (200, 201)


def test_the_session_cookie_is_for_tls_alone(stage, tmp_path, ours, sfu):
    house = House(stage, tmp_path, tls=ours)
    stage.node("n1", house.router, token=house.tokens["node"], signal_url=sfu.signal_url, http_url=sfu.http_url, control=False)
    house.router.wait_placeable("n1")
    ticket = ticket_of(house, "r")
    answer = call("GET", f"{house.router.url}/v1/rooms/r/signal/bytes/1?ticket={ticket}")
    assert answer.status == 200 and answer.headers["set-cookie"].endswith("; Secure"), answer.headers


# -- settings -----------------------------------------------------------------------------------------------------------------
def check(*sets):
    words = [str(BUILD / "router" / "usherd"), "--check", *(word for s in sets for word in ("--set", s))]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    return done.returncode, done.stdout + done.stderr


def test_what_does_not_fit_is_refused_at_the_start_in_words(ca, tmp_path):
    good, other = ca.issue("good", ["127.0.0.1"]), ca.issue("other-key", ["127.0.0.1"])
    expired = ca.issue("expired", ["127.0.0.1"], until=-DAY, since=-3 * DAY)
    keys = (f"tls.cert={good.cert}", f"tls.key={good.key}")
    assert check(*keys)[0] == 0
    for sets, said in [
        ([keys[0]], "tls.key: required, as tls.cert is set"),
        ([keys[1]], "tls.cert: required, as tls.key is set"),
        ([f"tls.client_ca={ca.file}"], "tls.client_ca: has no effect without tls.cert"),
        ([*keys, f"tls.client_ca={ca.file}"], "tls.client_ca: has no effect with auth.mode none"),
        ([keys[0], f"tls.key={other.key}"], f"tls.key: {other.key} is not the key of the certificate in tls.cert"),
        ([f"tls.cert={expired.cert}", f"tls.key={expired.key}"], f"tls.cert: {expired.cert} has expired: it was valid until 20"),
        ([keys[0], f"tls.key={tmp_path}/none"], f"tls.key: {tmp_path}/none cannot be opened"),
        ([*keys, "tls.min_version=1.1"], "tls.min_version"),
    ]:
        code, text = check(*sets)
        assert code == 1 and said in text, text
    os.chmod(good.key, 0o640)
    assert "0600" in check(*keys)[1]
    os.chmod(good.key, 0o600)


def test_the_checklist_knows_tls(ca):
    good, near = ca.issue("long", ["127.0.0.1"]), ca.issue("short", ["127.0.0.1"], until=5 * DAY)

    def line(about, *sets):
        return next(row for row in check(*sets)[1].splitlines() if about in row)
    public = ("server.listen=0.0.0.0:0", "server.public_url=https://rooms.example.com", "auth.allow_insecure=true", "registry.allow_memory=true")
    assert line("tls.cert is set", *public).startswith("look")
    assert line("tls.cert is set", *public, f"tls.cert={good.cert}", f"tls.key={good.key}").startswith("good")
    assert line("tls.cert is set", *public, "server.trusted_proxies=10.0.0.0/8").startswith("good")
    assert line("14 days", f"tls.cert={good.cert}", f"tls.key={good.key}").startswith("good")
    assert line("14 days", f"tls.cert={near.cert}", f"tls.key={near.key}").startswith("look")


# -- the stop ---------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("workers", [1, 4])
def test_term_under_load_loses_nothing(stage, sfu, ours, workers):
    router = stage.router(f"server.workers={workers}", "server.lame_duck_ms=2500", "server.drain_ms=2000", tls=ours)
    stage.node("n1", router, signal_url=sfu.signal_url, http_url=sfu.http_url, control=False)
    router.wait_placeable("n1")
    rooms = [f"room-{i}" for i in range(20)]
    for room in rooms:
        assert router.join(room).status == 200

    async def run():
        results, stop, closes = [], asyncio.Event(), []
        tasks = [asyncio.create_task(load(router, rooms, results, stop)) for _ in range(16)]
        tunnels = [await connect(router, room) for room in rooms]
        router.signal(signal.SIGTERM)
        while (await fetch("GET", router.url + "/readyz")).status != 503:
            pass
        await tunnels[0].send("still served")
        assert await tunnels[0].recv() == "still served"
        for tunnel in tunnels:
            closes.append(await closed_with(tunnel))
        await asyncio.gather(*tasks)
        return results, closes
    results, closes = asyncio.run(run())
    assert set(results) == {200}, [r for r in results if r != 200][:5]
    assert len(closes) == 20 and all(code == 1012 and reason.startswith("router_restart;retry=") for code, reason in closes), closes
    assert router.child.wait(10) == 0


def test_a_large_answer_is_whole_though_the_router_stops(pair):
    """It waits in the front for a client that reads slowly, while libmicrohttpd has long closed."""
    assert pair.join("last").status == 200
    with handshake(pair) as tls:
        ask(tls, f"GET /v1/rooms/last/signal/bytes/{SIZE} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        data = answer_head(tls)
        pair.signal(signal.SIGTERM)
        pair.event("stop_accepting")
        got, at = [data.split(b"\r\n\r\n", 1)[1]], time.monotonic()
        while more := tls.recv(65536):
            got.append(more)
        assert b"".join(got) == pattern(SIZE), time.monotonic() - at
    assert pair.child.wait(15) == 0
