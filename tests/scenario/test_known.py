# SPDX-License-Identifier: Apache-2.0
"""Known is enough: while the store is away, what any router knows or any live node holds is routed, the same by every worker."""
import asyncio
import json

import pytest

from harness import call, until
from test_one_owner import owner


def fleet(stage, agents=2, routers=2, *sets):
    redis = stage.redis()
    started = [stage.router(f"registry.url={redis.url}", *sets) for _ in range(routers)]
    for i in range(agents):
        stage.agent(f"n{i}", started)
    for router in started:
        router.wait_placeable(*(f"n{i}" for i in range(agents)))
    return redis, started


def ask_every_worker(router, room, times=6):
    """New connections are dealt to the workers in turn."""
    return {owner(call("POST", f"{router.url}/v1/rooms/{room}/join")) for _ in range(times)}


def test_livekit_4663_a_long_outage_fails_no_known_room_and_restarts_nothing(stage):
    """Redis goes away for longer than a lease: known rooms are joined at every worker of every router, also at one that starts
    meanwhile; /livez says 200 throughout; on return nobody was lost and nothing has moved."""
    sets = ("nodes.lease_ms=2000", "nodes.heartbeat_ms=500", "registry.timeout_ms=300", "server.workers=2")
    redis, routers = fleet(stage, 2, 2, *sets)
    owners = {f"room-{i}": owner(routers[i % 2].join(f"room-{i}")) for i in range(20)}
    port = routers[1].url.rsplit(":", 1)[1]
    store = (redis.client().hgetall("usher:n:{n0}"), redis.client().hgetall("usher:n:{n1}"))
    dump = {key: redis.client().dump(key) for key in redis.client().keys("*")}
    redis.kill()
    until("the store is seen as down", lambda: all(r.metric("usher_store_up") == 0 for r in routers))
    routers[1].kill()
    fresh = stage.router(f"registry.url={redis.url}", *sets, f"server.listen=127.0.0.1:{port}")
    until("the new router knows the nodes' rooms", lambda: all(fresh.get(f"/v1/rooms/{r}/route").status == 200 for r in owners), 10)
    assert fresh.get("/readyz").status == 200
    # Longer than lease and grace: nobody may be taken for lost by then.
    leases = asyncio.run(hold_out([routers[0], fresh], owners, 4.0))
    assert leases > 20
    assert routers[0].join("new-room").code() == "store_unavailable"
    assert fresh.join("new-room").code() == "store_unavailable"
    again = stage.redis(port=redis.port)
    for key, text in dump.items():
        again.client().restore(key, 0, text, replace=True)
    for router in (routers[0], fresh):
        until("the store is back", lambda: router.metric("usher_store_up") == 1)
        router.wait_placeable("n0", "n1")
        for room, known in owners.items():
            assert ask_every_worker(router, room, 2) == {known}
        assert router.metric('usher_events_total{type="node_lost"}') == 0
    until("new rooms again", lambda: fresh.join("new-room").status == 200, 10)
    assert len(store) == 2


@pytest.mark.parametrize("all_of_them", [True, False], ids=["no_router_has_the_store", "one_router_has_it"])
def test_a_room_that_another_router_knows_is_joined_without_the_store(stage, all_of_them):
    """Nothing but the other routers can say so: the nodes do not report their rooms."""
    redis = stage.redis()
    wire = stage.wire(redis.port)
    far = f"redis://127.0.0.1:{wire.port}"
    sets = ("nodes.heartbeat_ms=500", "nodes.lease_ms=60000", "registry.timeout_ms=300")
    first, second = (stage.router(f"registry.url={url}", *sets) for url in (far if all_of_them else redis.url, far))
    nodes = [stage.node(f"n{i}", second) for i in range(2)]
    for router in (first, second):
        router.wait_placeable("n0", "n1")
    until("they know each other", lambda: len(second.get("/v1/routers").json()["routers"]) == 2)
    answers = {f"room-{i}": first.join(f"room-{i}") for i in range(10)}
    wire.cut(refuse=True)
    until("the store is seen as down", lambda: second.metric("usher_store_up") == 0)
    for room, known in answers.items():
        answer = until("the other one answers in time", lambda: (a := second.join(room)).status == 200 and a)
        assert owner(answer) == owner(known), answer
        assert answer.json()["hints"] == known.json()["hints"] != {}
        route = until("the other one answers in time", lambda: (a := second.get(f"/v1/rooms/{room}/route")).status == 200 and a)
        assert route.json()["epoch"] == owner(known)[1]
    assert second.join("new").code() == "store_unavailable"
    assert all("new" not in node.rooms for node in nodes)


def test_what_another_router_knows_of_a_registration_before_opens_nothing(stage):
    """The node may have forgotten since what it evicted; and the room may be another's."""
    redis = stage.redis()
    wire = stage.wire(redis.port)
    sets = ("nodes.heartbeat_ms=500", "nodes.lease_ms=60000", "registry.timeout_ms=300")
    first, second = stage.router(f"registry.url={redis.url}", *sets), stage.router(f"registry.url=redis://127.0.0.1:{wire.port}", *sets)
    node = stage.node("n1", second)
    for router in (first, second):
        router.wait_placeable("n1")
    until("they know each other", lambda: len(second.get("/v1/routers").json()["routers"]) == 2)
    assert first.join("r").status == 200
    assert node.register().status == 200 and node.beat().status == 200
    until("that is known", lambda: second.node("n1")["registration"] == node.registration)
    node.opens.clear()
    wire.cut(refuse=True)
    until("the store is seen as down", lambda: second.metric("usher_store_up") == 0)
    assert second.join("r").code() == "store_unavailable"
    assert not node.opens


async def hold_out(routers, owners, seconds):
    from harness import fetch
    end, asked = asyncio.get_running_loop().time() + seconds, 0
    while asyncio.get_running_loop().time() < end:
        for router in routers:
            for room, known in owners.items():
                answer = await fetch("POST", f"{router.url}/v1/rooms/{room}/join")
                assert owner(answer) == known, answer
                asked += 1
            assert (await fetch("GET", router.url + "/livez")).status == 200
    return asked


@pytest.mark.parametrize("known", [True, False])
def test_livekit_3456_tunnels_do_not_notice_that_the_store_is_gone(stage, known):
    import websockets
    redis, (router, other) = fleet(stage)
    assert router.join("talk").status == 200
    url = f"ws://{(router if known else other).url[7:]}/v1/rooms/talk/signal"

    async def talk():
        if not known:
            await websockets.connect(url)  # the other router has met the room by now
        async with websockets.connect(url) as tunnel:
            await tunnel.send("before")
            assert await tunnel.recv() == "before"
            redis.kill()
            await asyncio.to_thread(until, "down", lambda: router.metric("usher_store_up") == 0)
            await tunnel.send("meanwhile")
            assert await tunnel.recv() == "meanwhile"
            async with websockets.connect(url) as late:
                await late.send("late")
                assert await late.recv() == "late"
    asyncio.run(talk())


def test_a_router_that_starts_without_its_store_is_not_ready_until_it_knows_a_room(stage):
    redis = stage.redis()
    redis.kill()
    router = stage.router(f"registry.url={redis.url}")
    answer = router.get("/readyz")
    assert (answer.status, answer.code()) == (503, "store_unavailable")
    node = {"signal_url": "ws://127.0.0.1:8/s", "fences": "none"}
    beat = {"incarnation": "i1", "registration": 7, "seq": 1, "load": {}, "node": node}
    said = call("POST", f"{router.url}/v1/nodes/n1/heartbeat", {**beat, "changed": []}).json()
    assert (said["renewed"], said["degraded"], said["want_rooms"]) == (False, True, True)
    until("the node is known", lambda: router.node("n1"))
    said = call("POST", f"{router.url}/v1/nodes/n1/heartbeat", {**beat, "seq": 2, "changed": []}).json()
    assert said["want_rooms"] is True, "it has told no list yet"
    said = call("POST", f"{router.url}/v1/nodes/n1/heartbeat", {**beat, "seq": 3, "rooms": [{"room": "held", "epoch": 12, "participants": 3}]})
    assert said.status == 200
    answer = until("the room is known", lambda: (a := router.get("/v1/rooms/held/route")).status == 200 and a)
    assert answer.json() == {"room": "held", "node": "n1", "epoch": 12, "signal_url": "ws://127.0.0.1:8/s"}, json.dumps(answer.json())
    assert router.get("/readyz").status == 200
    assert router.get("/v1/rooms/unheld/route").code() == "store_unavailable"
