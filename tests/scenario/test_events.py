# SPDX-License-Identifier: Apache-2.0
"""GET /v1/events: what happens, to whoever follows, and to whoever comes back."""
import asyncio
import json
import signal

from harness import until


class Follower:
    """Reads the stream until closed; `events` holds (id, type, data)."""

    def __init__(self, router, last_id=None):
        self.router, self.last_id, self.events = router, last_id, []

    async def __aenter__(self):
        host, port = self.router.url[7:].split(":")
        self.reader, self.writer = await asyncio.open_connection(host, int(port))
        extra = f"Last-Event-ID: {self.last_id}\r\n" if self.last_id else ""
        self.writer.write(f"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n{extra}\r\n".encode())
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
        assert b" 200 " in head and b"text/event-stream" in head, head
        self.task = asyncio.create_task(self._read())
        return self

    async def _read(self):
        text = b""
        while size := int((await self.reader.readuntil(b"\r\n")), 16):
            text += (await self.reader.readexactly(size + 2))[:-2]
            while b"\n\n" in text:
                block, text = text.split(b"\n\n", 1)
                fields = dict(line.split(": ", 1) for line in block.decode().splitlines() if ": " in line and not line.startswith(":"))
                if "event" in fields:
                    self.events.append((fields["id"], fields["event"], json.loads(fields["data"])))

    async def saw(self, kind, deadline=10, **want):
        end = asyncio.get_running_loop().time() + deadline
        while True:
            for event in self.events:
                if event[1] == kind and all(event[2].get(key) == value for key, value in want.items()):
                    return event
            assert asyncio.get_running_loop().time() < end, f"no {kind} {want} among {self.events}"
            await asyncio.sleep(0.01)

    async def __aexit__(self, *how):
        self.task.cancel()
        self.writer.close()


def test_nodes_and_breakers_are_told_and_the_missed_is_repeated(stage):
    router = stage.router("nodes.lease_ms=1000", "nodes.heartbeat_ms=500", "nodes.unfenced_ms=1500", "server.workers=2",
                          "breaker.failures=1", "sfu.call_timeout_ms=300", "server.park_ms=0")
    node = stage.node("n1", router)
    router.wait_placeable("n1")

    async def run():
        async with Follower(router) as follower, Follower(router) as other:
            first = await follower.saw("node_joined", node="n1")
            node.mode = "500"
            await asyncio.to_thread(router.join, "fails")
            await follower.saw("breaker_open", node="n1", detail="control")
            await other.saw("breaker_open", node="n1")
            await asyncio.to_thread(node.stop_beating)
            await follower.saw("node_late", node="n1")
            await follower.saw("node_lost", node="n1")
            await other.saw("node_lost", node="n1")
            ids = [event[0] for event in follower.events]
            assert ids == [event[0] for event in other.events] and len(set(ids)) == len(ids)
        async with Follower(router, last_id=first[0]) as again:
            await again.saw("node_lost")
            assert again.events[0][0] == ids[ids.index(first[0]) + 1], "more or less than what was missed"
        process = first[0].rsplit("-", 1)[0]
        # Whatever it may be: what is kept is told, nothing else happens.
        for odd in ("somebody-else-7", "x", f"{process}-", f"{process}-18446744073709551616", f"{process}-1x", "9" * 2000):
            async with Follower(router, last_id=odd) as foreign:
                await foreign.saw("node_joined")
    asyncio.run(run())
    assert router.metric('usher_events_total{type="node_lost"}') == 1
    assert router.post("/v1/events").code() == "method_not_allowed"


def test_followers_do_not_hold_up_a_stop(stage):
    router = stage.router("server.drain_ms=60000")

    async def run():
        async with Follower(router) as follower:
            router.signal(signal.SIGTERM)
            await asyncio.wait_for(follower.task, 5)
    asyncio.run(run())
    assert router.child.wait(5) == 0


def test_nodes_that_no_router_reaches_while_they_heartbeat_are_told_and_drained(stage):
    redis = stage.redis()
    sets = ("nodes.unreachable_ms=1000", "nodes.unreachable_drain=true", "breaker.failures=1", "breaker.open_ms=5000",
            "sfu.call_timeout_ms=300", "server.park_ms=0", "nodes.heartbeat_ms=500")
    a, b = (stage.router(f"registry.url={redis.url}", *sets) for _ in range(2))
    nodes = [stage.node(name, a) for name in ("n1", "n2")]
    a.wait_placeable("n1", "n2"), b.wait_placeable("n1", "n2")

    async def run():
        async with Follower(a) as follower:
            for node in nodes:
                node.mode = "500"
            await asyncio.to_thread(a.join, "one")  # tries both
            # One router still reaches them, as far as it knows: nothing is told.
            await follower.saw("breaker_open", node="n1")
            await asyncio.to_thread(b.join, "two")
            await follower.saw("node_unreachable", node="n1")
            await follower.saw("node_unreachable", node="n2")
    asyncio.run(run())
    until("both are drained", lambda: all(a.node(name)["wish"] == "draining" for name in ("n1", "n2")))
    # It is a wish like any other: who undoes it is not asked again.
    assert a.delete("/v1/nodes/n1/drain").status in (200, 204)
    until("the other router knows", lambda: b.node("n2")["wish"] == "draining")


def test_routers_of_one_store_that_work_by_different_rules_are_told_once(stage):
    redis = stage.redis()
    sets = [f"registry.url={redis.url}", "nodes.heartbeat_ms=200"]
    a, same = (stage.router(*sets, f"server.park_ms={park}") for park in (0, 100))

    def rows():
        return {row["url"]: row for row in a.get("/v1/routers").json()["routers"]}

    def told():
        return [row["detail"] for row in a.events("config_differs")]

    def at(router):
        return f"{rows()[router.url]['id']} ({router.url})"
    until("they know each other", lambda: len(rows()) == 2)
    other = stage.router(*sets, "nodes.lease_ms=8000")
    until("it is told", told)
    assert told() == [f"nodes.lease_ms is 4000 here and 8000 at {at(other)}"]
    assert rows()[other.url]["config_differs"] == [{"setting": "nodes.lease_ms", "here": "4000", "there": "8000"}]
    assert len(until("the other one tells it of both", lambda: len(other.events("config_differs")) == 2 and other.events("config_differs"))) == 2

    # The next one is read in a later turn: what was told is not told again.
    third = stage.router(*sets, "nodes.lease_ms=8000", "nodes.grace_ms=700")
    until("the third one is told", lambda: len(told()) >= 3)
    assert sorted(told()[1:]) == [f"nodes.grace_ms is 500 here and 700 at {at(third)}",
                                  f"nodes.lease_ms is 4000 here and 8000 at {at(third)}"]
    assert rows()[same.url]["config_differs"] == [] and rows()[a.url]["config_differs"] == []
    until("it is counted", lambda: a.metric('usher_events_total{type="config_differs"}') == 3)
