# SPDX-License-Identifier: Apache-2.0
"""The whole of it with the real thing: two Janus, a Redis, two routers, and a WebSocket client that is none of ours.

One stage for all: starting it takes longer than using it. The long poll's thirty seconds pass while the other tests run.
"""
import asyncio
import concurrent.futures
import time

import pytest

from harness import Stage, call, fetch
from janus_participants import JanusClient, JanusError
from janus_server import start_janus
from test_gate import BUSY
from test_one_owner import owner

ROOMS = 50


class Fleet:
    def __init__(self, stage):
        redis = stage.redis()
        self.routers = [stage.router(f"registry.url={redis.url}", "breaker.failures=1", BUSY) for _ in range(2)]
        self.janus = {}
        for name in ("sfu-1", "sfu-2"):
            self.janus[name], _ = start_janus(stage, name)
            stage.agent(name, self.routers, *self.janus[name].settings(), adapter="janus")
        for router in self.routers:
            router.wait_placeable("sfu-1", "sfu-2")
        self.joined = [self.routers[i % 2].join(f"room-{i}") for i in range(ROOMS)]
        self.polls = [self.poll(router, f"room-{i}") for i, router in enumerate(self.routers)]

    def poll(self, router, room):
        """Janus' long poll, on its way: a future of (status, body, seconds)."""
        base = f"{router.url}/v1/rooms/{room}/signal"
        session = call("POST", base, {"janus": "create", "transaction": "t"}).json()["data"]["id"]

        def wait():
            started = time.monotonic()
            answer = call("GET", f"{base}/{session}?maxev=1", timeout=50)
            return answer.status, answer.json(), time.monotonic() - started
        return concurrent.futures.ThreadPoolExecutor(1).submit(wait)

    def pin(self, room):
        return self.joined[room].json()["hints"]["janus"]["pin"]

    def client(self, router, room):
        return JanusClient(f"ws://{self.routers[router].url[7:]}/v1/rooms/room-{room}/signal")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    stage = Stage(tmp_path_factory.mktemp("janus"))
    try:
        yield Fleet(stage)
    finally:
        stage.close()


def test_janus_rooms_have_one_node_and_epoch_whichever_router_is_asked(fleet):
    owners = [owner(answer) for answer in fleet.joined]
    assert {node for node, _ in owners} == {"sfu-1", "sfu-2"}
    for i, expected in enumerate(owners):
        for router in fleet.routers:
            again = router.join(f"room-{i}")
            assert owner(again) == expected and not again.json()["created"]
            assert again.json()["hints"] == fleet.joined[i].json()["hints"]
    # And that is what the two Janus hold: each room once, at its epoch.
    for name, janus in fleet.janus.items():
        assert janus.rooms() == {f"room-{i}": f"usher epoch={epoch}" for i, (node, epoch) in enumerate(owners) if node == name}


def test_janus_participants_who_came_through_different_routers_see_each_other(fleet):
    async def meet(room):
        async with fleet.client(0, room) as ann, fleet.client(1, room) as bob:
            await ann.attach()
            await bob.attach()
            assert (await ann.join(f"room-{room}", "ann", fleet.pin(room)))["videoroom"] == "joined"
            assert (await bob.join(f"room-{room}", "bob", fleet.pin(room)))["room"] == f"room-{room}"
            seen = [sorted(p["display"] for p in await who.list_participants(f"room-{room}")) for who in (ann, bob)]
            await ann.keepalive()
            await bob.leave()
            left = await ann.list_participants(f"room-{room}")
            return seen, [p["display"] for p in left]

    async def run():
        return await asyncio.gather(*(meet(room) for room in range(ROOMS)))
    for seen, left in asyncio.run(run()):
        assert seen == [["ann", "bob"], ["ann", "bob"]]
        assert left == ["ann"]


def test_janus_refuses_who_does_not_have_the_pin_of_the_join(fleet):
    other = next(i for i in range(1, ROOMS) if owner(fleet.joined[i])[0] == owner(fleet.joined[0])[0])

    async def run():
        async with fleet.client(0, 0) as mallory:
            await mallory.attach()
            with pytest.raises(JanusError):
                await mallory.join(f"room-{other}", "mallory", fleet.pin(0))
    asyncio.run(run())


def test_janus_http_api_works_through_the_same_path(fleet):
    base = f"{fleet.routers[1].url}/v1/rooms/room-7/signal"
    assert call("GET", base + "/info").json()["janus"] == "server_info"
    session = call("POST", base, {"janus": "create", "transaction": "1"}).json()["data"]["id"]
    # The second half through the other router.
    base = f"{fleet.routers[0].url}/v1/rooms/room-7/signal/{session}"
    handle = call("POST", base, {"janus": "attach", "plugin": "janus.plugin.videoroom", "transaction": "2"}).json()["data"]["id"]
    body = {"request": "join", "ptype": "publisher", "room": "room-7", "display": "eve", "pin": fleet.pin(7)}
    assert call("POST", f"{base}/{handle}", {"janus": "message", "body": body, "transaction": "3"}).json()["janus"] == "ack"
    event = call("GET", f"{base}?maxev=1", timeout=20).json()
    assert event["plugindata"]["data"]["videoroom"] == "joined", event
    assert call("POST", base, {"janus": "destroy", "transaction": "4"}).json()["janus"] == "success"


def test_janus_participants_are_counted(fleet):
    async def run():
        async with fleet.client(0, 9) as ann:
            await ann.attach()
            await ann.join("room-9", "ann", fleet.pin(9))
            end = time.monotonic() + 10
            while time.monotonic() < end:
                listed = await fetch("GET", f"{fleet.routers[1].url}/v1/rooms/room-9")
                if listed.json()["participants"] == 1:
                    return True
                await asyncio.sleep(0.05)
        return False
    assert asyncio.run(run())


def test_janus_long_poll_of_30_seconds_never_counts_as_a_failure(fleet):
    """With breaker.failures=1 a single one would have opened the breaker."""
    for poll in fleet.polls:
        status, body, took = poll.result(60)
        assert status == 200 and body["janus"] == "keepalive", body
        assert took > 25, "this was no long poll"
    for router in fleet.routers:
        for name in fleet.janus:
            signal = [b for b in router.node(name)["breakers"] if b["class"] == "signal"]
            assert signal and all(b["state"] == "closed" and b["failures"] == 0 for b in signal), signal
