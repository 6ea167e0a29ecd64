# SPDX-License-Identifier: Apache-2.0
"""Signaling through the tunnel and the proxy, and the gate at the other end."""
import asyncio
import hashlib
import os
import signal

import pytest
import websockets

from harness import call, fetch, until
from test_one_owner import owner


@pytest.fixture
def pair(stage):
    """A router and an echo SFU behind its agent's gate."""
    router = stage.router("tunnel.idle_ms=60000")
    agent = stage.agent("n1", [router])
    router.wait_placeable("n1")
    return router, agent


def gate_of(router, name):
    return router.node(name)["signal_url"]


async def receive_close(ws, timeout=10):
    with pytest.raises(websockets.ConnectionClosed) as closed:
        while True:
            await asyncio.wait_for(ws.recv(), timeout)
    return closed.value.code, closed.value.reason


def signal_url(router, room, rest=""):
    return f"ws://{router.url[7:]}/v1/rooms/{room}/signal{rest}"


def test_messages_of_all_kinds_cross_unchanged(pair):
    router, _ = pair

    async def run():
        async with websockets.connect(signal_url(router, "r"), subprotocols=["janus-protocol"], max_size=None, compression=None) as ws:
            for message in ["text", "ümläut 🎉", b"", b"\0\xff" * 100, "x" * 70000, os.urandom(1 << 20)]:
                await ws.send(message)
                assert await ws.recv() == message
            await ws.send([b"a", b"b" * 1000, b"c"])  # fragments
            parts = await ws.recv()
            assert parts == b"a" + b"b" * 1000 + b"c"
            await asyncio.wait_for(await ws.ping(b"beat"), 5)
            await ws.close(4321, "so long")
            return ws.close_code, ws.close_reason
    assert asyncio.run(run()) == (4321, "so long")


def memory_kb(process, line="VmRSS"):
    with open(f"/proc/{process.child.pid}/status") as status:
        return next(int(row.split()[1]) for row in status if row.startswith(line))


def test_100_mb_each_way_at_once(pair):
    router, agent = pair
    size, count = 1 << 20, 100
    before = [memory_kb(process) for process in (router, agent)]

    async def run():
        up, down = hashlib.sha256(), hashlib.sha256()
        async with websockets.connect(signal_url(router, "big"), max_size=None, compression=None, ping_interval=None) as ws:
            async def send():
                for i in range(count):
                    block = bytes([i]) * size
                    up.update(block)
                    await ws.send(block)
            task = asyncio.create_task(send())
            for _ in range(count):
                down.update(await asyncio.wait_for(ws.recv(), 30))
            await task
        return up.digest() == down.digest()
    assert asyncio.run(run())
    grown = [memory_kb(process, "VmHWM") - kb for process, kb in zip((router, agent), before)]
    assert max(grown) < 24 << 10, f"200 MB passed through {grown} KB more of memory"


def test_a_slow_reader_stops_the_sender_and_costs_no_memory(pair):
    router, agent = pair

    async def run():
        before = memory_kb(router), memory_kb(agent)
        sockets = [await websockets.connect(signal_url(router, f"slow-{i}"), max_size=None, compression=None, ping_interval=None,
                                            max_queue=1, read_limit=4096) for i in range(10)]
        sent = [0] * len(sockets)

        async def flood(i):
            while True:
                await sockets[i].send(b"x" * 65536)
                sent[i] += 1
        tasks = [asyncio.create_task(flood(i)) for i in range(len(sockets))]
        # What the kernel's buffers take on the whole way depends on the machine: some ten megabytes each.
        last, quiet = None, 0
        for _ in range(40):
            await asyncio.wait(tasks, timeout=0.5)
            quiet, last = (quiet + 1 if sent == last else 0), list(sent)
            if quiet == 2:
                break
        assert quiet == 2, f"nobody was stopped although nobody reads: {sum(sent) // 16} MB"
        grown = [memory_kb(process) - kb for process, kb in zip((router, agent), before)]
        for task in tasks:
            task.cancel()
        for ws in sockets:
            ws.transport.abort()
        return grown, sum(sent)
    grown, sent = asyncio.run(run())
    # Ten tunnels with two full buffers of 64 KiB each are little; the rest is malloc's, and a sanitizer's that keeps what was freed.
    assert max(grown) < 24 << 10 and max(grown) * 4 < sent * 64, (grown, sent)


def test_http_is_proxied_with_path_query_and_headers(pair):
    router, _ = pair
    answer = call("POST", router.url + "/v1/rooms/r%20m/signal/a%2Fb/c?x=1&ticket=secret&y=%20", b"body",
                  headers={"Content-Type": "text/plain", "X-Usher-Room": "forged", "X-Usher-Epoch": "1", "Cookie": "c=1",
                           "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
    assert answer.status == 200, answer
    seen = answer.json()
    assert seen["method"] == "POST" and seen["body"] == "body"
    assert seen["path"].endswith("/a%2Fb/c?x=1&y=%20"), seen
    headers = {name.lower(): value for name, value in seen["headers"].items()}
    assert not any(name.startswith("x-usher-room") and value == "forged" for name, value in headers.items())
    assert "secret" not in answer.body.decode()
    assert headers["x-forwarded-for"] == "127.0.0.1"


@pytest.mark.parametrize("size", [0, 1, 65536, 20_000_000])
def test_bodies_cross_whole(pair, size):
    router, _ = pair
    assert router.join("upload").status == 200
    body = os.urandom(size)
    answer = call("PUT", router.url + "/v1/rooms/upload/signal/_sha256", body, headers={"Content-Type": "application/octet-stream"}, timeout=30)
    assert answer.status == 200 and answer.json()["sha256"] == hashlib.sha256(body).hexdigest()


# -- the gate ---------------------------------------------------------------------------------------------------------------
def through_gate(gate, room, epoch, path=""):
    return call("GET", gate.replace("ws://", "http://") + path, headers={"X-Usher-Room": room, "X-Usher-Epoch": str(epoch)})


def test_the_gate_lets_in_only_the_right_epoch(pair):
    router, _ = pair
    _, epoch = owner(router.join("r"))
    gate = gate_of(router, "n1")
    assert through_gate(gate, "r", epoch).status == 200
    assert through_gate(gate, "r", epoch - 1).status == 409
    assert through_gate(gate, "r", epoch + 1).status == 409
    assert through_gate(gate, "other", epoch).status in (404, 409)
    assert call("GET", gate.replace("ws://", "http://")).status in (400, 403, 404, 409)


def test_an_agent_without_its_router_closes_the_gate_when_the_lease_ends(stage):
    router = stage.router("nodes.lease_ms=1500", "nodes.heartbeat_ms=300")
    stage.agent("n1", [router])
    router.wait_placeable("n1")
    _, epoch = owner(router.join("r"))
    gate = gate_of(router, "n1")
    assert through_gate(gate, "r", epoch).status == 200
    router.kill()
    until("the gate refuses", lambda: through_gate(gate, "r", epoch).status == 503, 5)


def test_a_stopped_agent_admits_nobody(pair):
    router, agent = pair
    _, epoch = owner(router.join("r"))
    gate = gate_of(router, "n1")
    agent.signal(signal.SIGSTOP)
    with pytest.raises((asyncio.TimeoutError, OSError)):
        call("GET", gate.replace("ws://", "http://"), headers={"X-Usher-Room": "r", "X-Usher-Epoch": str(epoch)}, timeout=1)
    agent.signal(signal.SIGCONT)
    until("joinable again", lambda: through_gate(gate, "r", epoch).status == 200)
    agent.kill()
    with pytest.raises(OSError):
        through_gate(gate, "r", epoch)


def test_a_room_closed_by_an_operator_closes_its_tunnels(pair):
    router, _ = pair
    _, epoch = owner(router.join("r"))

    async def run():
        async with websockets.connect(signal_url(router, "r")) as ws:
            await ws.send("x")
            await ws.recv()
            answer = await fetch("DELETE", f"{router.url}/v1/rooms/r?epoch={epoch}")
            assert answer.status == 204, answer
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await asyncio.wait_for(ws.recv(), 5)
            return closed.value.code, closed.value.reason
    code, reason = asyncio.run(run())
    assert (code, reason.split(";")[0]) in ((1000, "room_closed"), (1012, "room_moved")), (code, reason)


def test_tunnels_of_an_older_epoch_are_closed_at_every_router_each_with_another_wait(stage):
    """By nodes that close nothing themselves, at the router that did not do the moving."""
    redis = stage.redis()
    router, other = (stage.router(f"registry.url={redis.url}") for _ in range(2))

    async def hold(ws):
        await ws.wait_closed()

    async def run():
        async with websockets.serve(hold, "127.0.0.1", 0) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            for name in ("n1", "n2"):
                await asyncio.to_thread(stage.node, name, router, other, signal_url=url)
            for one in (router, other):
                await asyncio.to_thread(one.wait_placeable, "n1", "n2")
            tunnels = [await websockets.connect(signal_url(other, "r")) for _ in range(8)]
            node, epoch = owner(await asyncio.to_thread(router.join, "r"))
            answer = await asyncio.to_thread(router.post, "/v1/rooms/r/move", {"node": "n2" if node == "n1" else "n1", "epoch": epoch})
            assert answer.status == 202, answer
            closed = [await receive_close(ws) for ws in tunnels]
        assert {(code, reason.split("=")[0]) for code, reason in closed} == {(1012, "room_moved;retry")}
        waits = {int(reason.split("=")[1]) for _, reason in closed}
        assert len(waits) > 4 and max(waits) <= 2000, waits
    asyncio.run(run())


def test_a_dead_node_is_502_and_the_browser_origin_is_checked(pair):
    router, agent = pair
    assert router.join("r").status == 200
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    assert router.get("/v1/rooms/r/signal", headers={**upgrade, "Origin": "https://evil.example"}).code() == "forbidden"
    agent.kill()
    assert router.get("/v1/rooms/r/signal", headers=upgrade).code() == "node_unavailable"
