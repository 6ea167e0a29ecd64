# SPDX-License-Identifier: Apache-2.0
"""One room, one owner: whoever is asked, however many ask at once, and whoever dies in between."""
import asyncio
import collections
import time

import pytest

from harness import DEADLINE, call, fetch, sanitized, together, until


def owner(answer):
    assert answer.status == 200, answer
    body = answer.json()
    return body["node"]["id"] if isinstance(body["node"], dict) else body["node"], body["epoch"]


async def many_joins(routers, rooms_of, total, connections=100):
    """`total` joins over all routers, at most `connections` under way; a list of answers."""
    gate = asyncio.Semaphore(connections)

    async def one(i):
        async with gate:
            return await fetch("POST", f"{routers[i % len(routers)].url}/v1/rooms/{rooms_of(i)}/join", timeout=DEADLINE)
    return await asyncio.gather(*(one(i) for i in range(total)))


def test_rooms_have_one_owner_whichever_router_is_asked(stage):
    redis = stage.redis()
    routers = [stage.router(f"registry.url={redis.url}") for _ in range(2)]
    stage.node("n1", *routers), stage.node("n2", *routers)
    for router in routers:
        router.wait_placeable("n1", "n2")
    owners = {}
    for i in range(50):
        owners[i] = owner(routers[i % 2].join(f"room-{i}"))
    for i in range(50):
        for router in routers:
            assert owner(router.join(f"room-{i}")) == owners[i]
            assert owner(router.get(f"/v1/rooms/room-{i}/route")) == owners[i]
    assert set(node for node, _ in owners.values()) == {"n1", "n2"}


@pytest.mark.parametrize("store", ["redis", "memory"])
def test_livekit_1645_1000_concurrent_first_joins_give_one_epoch_and_one_charge(stage, store):
    redis = stage.redis() if store == "redis" else None
    count = 3 if redis else 1
    sets = [f"registry.url={redis.url}" if redis else "registry.url=memory:", "limits.connections_per_address=5000",
            *(["registry.timeout_ms=5000"] if sanitized() else [])]
    routers = [stage.router(*sets) for _ in range(count)]
    nodes = [stage.node(f"n{i}", *routers) for i in range(3)]
    for router in routers:
        router.wait_placeable(*(node.name for node in nodes))
    answers = asyncio.run(many_joins(routers, lambda i: "one-room", 1000, connections=1000))
    assert len({owner(a) for a in answers}) == 1
    assert sum(a.json()["created"] for a in answers) == 1
    opened = {call_ for node in nodes for call_ in node.opens}
    assert len({epoch for _, epoch in opened}) == 1
    # Losers gave their charges back: what is left is one room's.
    def one_charge():
        charged = [routers[0].node(node.name)["charged"] for node in nodes]
        cost = max(charged)
        return cost > 0 and sum(charged) < 1.5 * cost and cost < 0.015
    until("the charges are one room's", one_charge)


def test_livekit_1943_who_loses_a_claim_keeps_no_place(stage):
    redis = stage.redis()
    routers = [stage.router(f"registry.url={redis.url}") for _ in range(3)]
    nodes = [stage.node(f"n{i}", *routers) for i in range(3)]
    for router in routers:
        router.wait_placeable(*(node.name for node in nodes))
    answers = asyncio.run(many_joins(routers, lambda i: f"room-{i // 3}", 600, connections=60))
    assert len({(a.json()["room"], owner(a)) for a in answers}) == 200 and sum(a.json()["created"] for a in answers) == 200
    client = redis.client()
    only_reserved = lambda: [e for node in nodes for e in client.hvals("usher:n:{%s}:rooms" % node.name) if e.startswith(b"0 ")]
    until("each place is a room's", lambda: not only_reserved())


def test_a_router_stopped_between_two_steps_leaves_a_room_that_the_next_join_completes(stage):
    redis = stage.redis()
    healthy = stage.router(f"registry.url={redis.url}")
    node = stage.node("n1", healthy)
    healthy.wait_placeable("n1")
    steps = ["find-room", "choose-node", "reserve-node", "claim-room", "open-room", "publish-room", "check-node", "answer"]
    for step in steps:
        doomed = stage.router(f"registry.url={redis.url}", f"fault.at=join/{step}")
        doomed.wait_placeable("n1")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            doomed.join(f"broken-at-{step}")
        assert doomed.child.wait(10) == 86, f"the fault point at {step} did not stop the router"
        first = owner(healthy.join(f"broken-at-{step}"))
        assert first[0] == "n1"
        assert owner(healthy.join(f"broken-at-{step}")) == first
        assert node.rooms[f"broken-at-{step}"] == first[1]


def test_a_node_that_one_router_cannot_reach_holds_nothing_the_store_does_not_say(stage):
    redis = stage.redis()
    a = stage.router(f"registry.url={redis.url}", "nodes.allow_cidr=127.0.0.1/32", "limits.connections_per_address=5000")
    b = stage.router(f"registry.url={redis.url}", "limits.connections_per_address=5000")
    # The node's control side listens on 127.0.0.1 but is announced as 127.0.0.2, which only B may connect to.
    far, near = stage.node("far", b, heartbeat=False), stage.node("near", b)
    far.control_url = None
    far.server.close()
    far_port = far.port

    async def listen():
        far.server = await asyncio.start_server(far._serve, "127.0.0.2", far_port, backlog=1024)
    asyncio.run_coroutine_threadsafe(listen(), far.loop).result(5)
    far.control_url = f"http://127.0.0.2:{far_port}"
    far.register()
    far.report_rooms = near.report_rooms = True
    far.beat(), far.start_beating()
    b.wait_placeable("far", "near")
    a.wait_placeable("near")
    answers = asyncio.run(many_joins([a, b], lambda i: f"room-{i // 2}", 400, connections=200))
    owners = collections.defaultdict(set)
    for i, answer in enumerate(answers):
        if answer.status == 200:
            owners[i // 2].add(owner(answer))
    assert len(owners) == 200, f"{200 - len(owners)} rooms had no answer"
    assert all(len(found) == 1 for found in owners.values()), [o for o in owners.values() if len(o) > 1]

    def holds_only_its_own():
        listed = {}
        for name in ("far", "near"):
            cursor = ""
            while cursor is not None:
                page = b.get(f"/v1/nodes/{name}/rooms?limit=1000&cursor={cursor}").json()
                listed.update({(name, row["room"]): row["epoch"] for row in page["rooms"]})
                cursor = page["next_cursor"]
        for node in (far, near):
            for answer in node.answers[-1:]:
                for evict in answer.json()["evict"]:
                    if node.rooms.get(evict["room"]) == evict["epoch"]:
                        del node.rooms[evict["room"]]
        held = {(node.name, room): epoch for node in (far, near) for room, epoch in node.rooms.items()}
        return all(listed.get(key) == epoch for key, epoch in held.items())
    until("no node holds what the store does not say", holds_only_its_own)


def test_a_router_that_a_node_does_not_know_places_none_of_its_rooms(stage):
    """The one router that the node knows is cut off from the store, so that the node goes on past its lease; a router that
    starts meanwhile, and has the store, hears nothing of it."""
    sets = ("nodes.heartbeat_ms=300", "nodes.lease_ms=900", "nodes.grace_ms=200", "registry.timeout_ms=200")
    redis = stage.redis()
    wire = stage.wire(redis.port)
    old = stage.router(f"registry.url=redis://127.0.0.1:{wire.port}", *sets)
    stage.agent("n1", [old])
    old.wait_placeable("n1")
    assert owner(old.join("talk"))[0] == "n1"
    until("its heartbeats name the router", lambda: redis.client().hget("usher:n:{n1}", "routers") == old.url.encode())
    wire.cut(refuse=True)
    until("the store is seen as down", lambda: old.metric("usher_store_up") == 0)
    fresh = stage.router(f"registry.url={redis.url}", *sets)
    stage.node("n2", fresh)
    fresh.wait_placeable("n2")
    end = time.monotonic() + 3  # more than twice lease and grace
    while time.monotonic() < end:
        assert owner(fresh.join("talk"))[0] == "n1"
        assert old.get("/v1/rooms/talk/signal/x").status == 200, "the gate lets people in"
    wire.heal()
    until("they know each other", lambda: b" " in redis.client().hget("usher:n:{n1}", "routers"))
    assert owner(fresh.join("talk"))[0] == "n1"


def test_a_room_that_is_closing_waits_for_its_node(stage):
    """Nobody is sent to it, and nobody else gets it, before the node has let go."""
    router = stage.router("server.park_ms=200", "rooms.idle_ttl_ms=60000")
    node, other = stage.node("n1", router), stage.node("n2", router, pool="b")
    router.wait_placeable("n1", "n2")
    _, epoch = owner(router.join("closes"))
    node.mode = "500"
    assert router.delete(f"/v1/rooms/closes?epoch={epoch}").code() == "node_unavailable"
    assert router.join("closes").code() == "room_moving"
    assert router.join("closes", {"pool": "b"}).code() == "room_moving" and not other.opens
    node.mode = "ok"
    name, newer = owner(until("it is placed anew", lambda: (a := router.join("closes")).status == 200 and a))
    assert name == "n1" and newer > epoch and node.evicted[0] == ("closes", epoch)


@pytest.mark.parametrize("mode", ["500", "reset", "garbage"])
def test_colyseus_978_a_room_whose_open_failed_is_open_at_one_node_only(stage, mode):
    router = stage.router()
    bad, good = stage.node("bad", router), stage.node("good", router)
    good.load = {"cpu": 0.5}
    router.wait_placeable("bad", "good")
    until("bad is the least loaded", lambda: router.node("good")["load"].get("cpu") == 0.5)
    bad.mode = mode
    for room in ("a", "b", "c"):
        assert owner(router.join(room)) == ("good", good.rooms[room])
    assert bad.calls and not bad.rooms


def test_colyseus_978_who_loses_the_race_to_open_a_room_evicts_what_it_opened(stage):
    """While the node opens the room, another router has placed it elsewhere, and it is open there."""
    redis = stage.redis()
    router = stage.router(f"registry.url={redis.url}")
    n1, n2 = stage.node("n1", router), stage.node("n2", router)
    router.wait_placeable("n1", "n2")
    client, answers = redis.client(), {node: node._control for node in (n1, n2)}
    begun = []

    def overtaken(node, other):
        def control(method, target, headers, body):
            if method == "PUT" and not begun:
                begun.append((node, int(headers["x-usher-epoch"])))
                client.hset("usher:r:raced", mapping={"state": "open", "epoch": begun[0][1] + 1, "node": other.name,
                                                      "inc": other.incarnation, "reg": other.registration})
            return answers[node](method, target, headers, body)
        return control
    n1._control, n2._control = overtaken(n1, n2), overtaken(n2, n1)
    answer = owner(router.join("raced"))
    loser, epoch = begun[0]
    assert answer == ((n2 if loser is n1 else n1).name, epoch + 1)
    until("the loser is told to let go", lambda: ("raced", epoch) in loser.evicted)


def test_livekit_4797_a_late_delete_with_an_old_epoch_touches_nothing(stage):
    router = stage.router()
    stage.node("n1", router)
    router.wait_placeable("n1")
    node, epoch = owner(router.join("again"))
    assert router.delete(f"/v1/rooms/again?epoch={epoch}").status == 204
    assert router.get("/v1/rooms/again/route").code() == "not_found"
    node, newer = owner(router.join("again"))
    assert newer > epoch
    assert router.delete(f"/v1/rooms/again?epoch={epoch}").code() == "stale_epoch"
    assert owner(router.join("again")) == (node, newer)
    assert router.delete("/v1/rooms/again").code() == "bad_request"
    assert router.delete("/v1/rooms/again?force=true").status == 204
