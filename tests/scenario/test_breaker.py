# SPDX-License-Identifier: Apache-2.0
"""SFUs that fail: the breaker opens, says so at once, tries once, and closes; nobody else notices."""
import asyncio
import statistics
import time

import pytest

from harness import FakeNode, fetch, until
from test_one_owner import many_joins, owner

FAST = ("breaker.open_ms=300", "breaker.max_open_ms=600", "sfu.call_timeout_ms=300", "sfu.connect_timeout_ms=300", "server.park_ms=0",
        "breaker.max_ejected=1")


def breaker(router, name, kind):
    return next(b for b in router.node(name)["breakers"] if b["class"] == kind)


def control(router, name):
    return breaker(router, name, "control")


@pytest.mark.parametrize("mode", ["500", "hang", "reset", "garbage", "gone"])
def test_a_failing_node_is_held_back_and_comes_back(stage, mode):
    router = stage.router("server.workers=4", *FAST[2:], "breaker.open_ms=1000", "breaker.max_open_ms=2000")
    node = stage.node("n1", router)
    router.wait_placeable("n1")
    assert router.join("before").status == 200
    if mode == "gone":
        node.vanish()
    node.mode = mode
    answers = [router.join(f"fails-{i}") for i in range(5)]
    assert all(a.code() == "node_unavailable" for a in answers), answers
    until("the breaker is open", lambda: control(router, "n1")["state"] != "closed")
    calls, started = node.calls, time.monotonic()
    held = router.join("held")
    assert held.code() == "breaker_open" and "retry-after" in held.headers, held
    assert time.monotonic() - started < 0.25, "held back, but not at once"
    assert owner(router.join("before"))[0] == "n1"
    node.mode = "ok"
    if mode == "gone":
        node.appear()
    until("it is joinable again", lambda: router.join("after").status == 200)
    until("the breaker is closed", lambda: control(router, "n1")["state"] == "closed")
    assert node.calls >= calls


def test_colyseus_673_a_hundred_404s_change_nothing(stage):
    router = stage.router(*FAST)
    node = stage.node("n1", router)
    router.wait_placeable("n1")
    node.mode = "404"
    asyncio.run(many_joins([router], lambda i: f"room-{i}", 100, 20))
    assert control(router, "n1")["state"] == "closed"
    assert control(router, "n1")["failures"] == 0


def test_a_full_node_gets_no_new_rooms_and_keeps_its_breaker_closed(stage):
    router = stage.router(*FAST)
    node = stage.node("n1", router)
    router.wait_placeable("n1")
    node.mode = "429"
    router.join("one")
    until("full", lambda: "full" in router.node("n1")["why_not"])
    assert control(router, "n1")["state"] == "closed"


def test_one_broken_rooms_500s_do_not_take_the_node(stage):
    router = stage.router(*FAST, "probe.interval_ms=60000")
    node = stage.node("n1", router)
    router.wait_placeable("n1")
    assert router.join("good").status == 200 and router.join("broken").status == 200
    node.mode = "500"
    for _ in range(20):
        assert router.get("/v1/rooms/broken/signal").status == 500
    node.mode = "ok"
    assert router.get("/v1/rooms/good/signal").status == 200
    signal = next(b for b in router.node("n1")["breakers"] if b["class"] == "signal")
    assert signal["state"] == "closed"


@pytest.mark.undisturbed
def test_other_nodes_do_not_notice(stage):
    router = stage.router(*FAST, "limits.connections_per_address=5000")
    good, bad = stage.node("good", router), stage.node("bad", router)
    router.wait_placeable("good", "bad")
    answers = [router.join(f"room-{i}") for i in range(20)]
    rooms = {name: [a.json()["room"] for a in answers if owner(a)[0] == name] for name in ("good", "bad")}
    assert rooms["good"] and rooms["bad"]

    async def time_one(room):
        started = time.perf_counter()
        answer = await fetch("GET", f"{router.url}/v1/rooms/{room}/signal")
        assert answer.status == 200
        return time.perf_counter() - started

    async def measure(disturb):
        reached = bad.calls + 50 * disturb
        noise = [asyncio.create_task(fetch("GET", f"{router.url}/v1/rooms/{rooms['bad'][0]}/signal", timeout=30)) for _ in range(50 * disturb)]
        while bad.calls < reached:
            await asyncio.sleep(0.01)
        times = []
        for i in range(300):
            times.append(await time_one(rooms["good"][i % len(rooms["good"])]))
        for task in noise:
            task.cancel()
        return sorted(times)[int(len(times) * 0.99)]
    # In turns, the quieter half of each: this machine's own noise is not the router's.
    calm, troubled = [], []
    for _ in range(3):
        bad.mode = "ok"
        calm.append(asyncio.run(measure(False)))
        bad.mode = "hang"
        troubled.append(asyncio.run(measure(True)))
    assert min(troubled) <= 1.5 * statistics.median(calm), (calm, troubled)


def test_an_open_breaker_moves_no_placed_room(stage):
    router = stage.router(*FAST)
    bad = stage.node("bad", router)
    router.wait_placeable("bad")
    placed = owner(router.join("r"))
    stage.node("good", router)
    router.wait_placeable("good")
    bad.mode = "reset"

    def held_back():
        router.get("/v1/rooms/r/signal")
        return breaker(router, "bad", "signal")["state"] == "open"
    until("its requests are held back", held_back)
    answers = [router.join("r") for _ in range(20)]
    assert all(a.code() == "breaker_open" and "retry-after" in a.headers or owner(a) == placed for a in answers), answers
    bad.mode = "ok"
    until("it is reached again", lambda: router.get("/v1/rooms/r/signal").status == 200)
    assert owner(until("its breaker is closed", lambda: (a := router.join("r")).status == 200 and a)) == placed


class Checked(FakeNode):
    async def _answer(self, method, target, headers, body, writer):
        if target != "/health":
            return await super()._answer(method, target, headers, body, writer)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        return True

    def register(self, **more):
        return super().register(health_url=f"http://127.0.0.1:{self.port}/health", **more)


def test_a_breaker_that_opens_does_not_wait_for_the_next_check(stage):
    router = stage.router("breaker.open_ms=300000", "breaker.max_open_ms=300000", "probe.interval_ms=600000", "server.park_ms=0",
                          "breaker.max_ejected=1")
    node = stage.add(Checked("n1", [router]))
    router.wait_placeable("n1")
    node.mode = "reset"

    def held_back():
        return router.join("r").code() == "breaker_open"
    until("it is held back", held_back)
    until("its good health was seen", lambda: control(router, "n1")["state"] == "half-open")


def test_a_long_poll_never_counts(stage):
    router = stage.router(*FAST, "sfu.response_timeout_ms=1500")
    node = stage.node("n1", router)
    router.wait_placeable("n1")
    assert router.join("polled").status == 200
    node.mode = "hang"

    async def polls():
        return await asyncio.gather(*(fetch("GET", f"{router.url}/v1/rooms/polled/signal") for _ in range(10)))
    answers = asyncio.run(polls())
    assert all(a.status in (502, 504) for a in answers), answers
    signal = next(b for b in router.node("n1")["breakers"] if b["class"] == "signal")
    assert signal["state"] == "closed" and signal["failures"] == 0
