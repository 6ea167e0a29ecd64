# SPDX-License-Identifier: Apache-2.0
"""Leaving: nobody who was let in is lost."""
import asyncio
import signal

import pytest

from harness import Client, until
from test_tunnel import gate_of


async def load(router, rooms, results, stop):
    client = Client(router.url)
    i = 0
    while not stop.is_set():
        try:
            answer = await client.request("GET", f"/v1/rooms/{rooms[i % len(rooms)]}/route")
            results.append(answer.status)
        except ConnectionRefusedError:
            break  # it no longer listens: a balancer would have gone elsewhere by now
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            # A request sent on a kept connection just as it closed is the client's to repeat (RFC 9112, 9.3.1).
            if client.writer is not None and i > 0:
                client.close()
                continue
            results.append(error)
        i += 1
    client.close()


@pytest.mark.parametrize("workers", [1, 4])
def test_term_under_load_loses_nothing(stage, workers):
    import websockets
    router = stage.router(f"server.workers={workers}", "server.lame_duck_ms=2500", "server.drain_ms=2000")
    stage.agent("n1", [router])
    until("placeable", lambda: (router.node("n1") or {}).get("placeable"))
    rooms = [f"room-{i}" for i in range(20)]
    for room in rooms:
        assert router.join(room).status == 200

    async def run():
        results, stop, closes = [], asyncio.Event(), []
        tasks = [asyncio.create_task(load(router, rooms, results, stop)) for _ in range(16)]
        tunnels = [await websockets.connect(f"ws://{router.url[7:]}/v1/rooms/{room}/signal") for room in rooms]
        for tunnel in tunnels:
            await tunnel.send("hello")
            assert await tunnel.recv() == "hello"
        router.signal(signal.SIGTERM)
        ready = None
        for _ in range(200):
            from harness import fetch
            ready = await fetch("GET", router.url + "/readyz")
            if ready.status == 503:
                break
        assert ready.status == 503 and ready.code() == "shutting_down"
        await tunnels[0].send("still served")
        assert await tunnels[0].recv() == "still served"
        for tunnel in tunnels:
            try:
                await asyncio.wait_for(tunnel.recv(), 10)
            except websockets.ConnectionClosed as closed:
                closes.append((closed.code, closed.reason))
        await asyncio.gather(*tasks)
        return results, closes
    results, closes = asyncio.run(run())
    assert set(results) == {200}, [r for r in results if r != 200][:5]
    assert len(closes) == 20 and all(code == 1012 and reason.startswith("router_restart;retry=") for code, reason in closes), closes
    assert router.child.wait(10) == 0


def test_int_twice_hurries(stage):
    router = stage.router("server.lame_duck_ms=60000")
    router.signal(signal.SIGINT)
    router.event("stopping")
    router.signal(signal.SIGINT)
    assert router.child.wait(10) == 0
