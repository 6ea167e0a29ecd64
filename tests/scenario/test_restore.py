# SPDX-License-Identifier: Apache-2.0
"""What the store lost comes back as the nodes report it; what does not fit together is told and mended. Fake nodes send their
full list with each heartbeat, so "within two heartbeats" can be counted."""
import asyncio
import time

import pytest

from harness import until
from test_events import Follower
from test_one_owner import many_joins, owner

SETS = ("nodes.heartbeat_ms=500", "nodes.lease_ms=60000", "nodes.grace_ms=500")


class Holder:
    """Nodes that report what they hold, register again when told to, and evict what the answers name; beaten by hand."""

    def __init__(self, stage, routers, names):
        self.nodes = [stage.node(name, *routers, heartbeat=False) for name in names]
        for node in self.nodes:
            node.report_rooms = True

    def beat(self, router=0):
        for node in self.nodes:
            answer = node.beat(router)
            if answer.code() == "unknown_node":
                assert node.register().status in (200, 201)
                answer = node.beat(router)
            assert answer.status == 200, answer
            for room in answer.json()["evict"]:
                if node.rooms.get(room["room"], 0) <= room["epoch"]:
                    node.rooms.pop(room["room"], None)


def fleet(stage, count=2, names=("n1", "n2", "n3"), **how):
    redis = stage.redis(**how)
    routers = [stage.router(f"registry.url={redis.url}", *SETS) for _ in range(count)]
    holder = Holder(stage, routers, names)
    holder.beat()
    for router in routers:
        router.wait_placeable(*names)
    holder.beat()  # that took a while, and who is late is given no rooms
    return redis, routers, holder


def place(routers, count=60):
    answers = asyncio.run(many_joins(routers, lambda i: f"room-{i}", count, 30))
    return {a.json()["room"]: owner(a) for a in answers}


def asked(router, rooms):
    """Where a router says the rooms are, without placing any."""
    found = {}
    for room in rooms:
        answer = router.get(f"/v1/rooms/{room}/route")
        found[room] = owner(answer) if answer.status == 200 else answer.code()
    return found


def generation(redis):
    return redis.client().hget("usher:mark", "generation")


def is_whole(redis):
    return redis.client().hget("usher:mark", "state") == b"whole"


@pytest.mark.parametrize("fresh", [False, True])
def test_scalelite_313_a_flushed_store_comes_back_whole(stage, fresh):
    """FLUSHALL: every live room back on its node at its epoch, none placed anew, also by a router that starts in that moment."""
    redis, routers, holder = fleet(stage)
    owners = place(routers)
    holder.beat(), holder.beat()
    before = generation(redis)
    redis.client().flushall()
    if fresh:
        routers = [stage.router(f"registry.url={redis.url}", *SETS)]
    joins = {}
    # Joins go on while the data is away: they are answered right or told to wait, never placed anew.
    for room in list(owners)[:20]:
        answer = routers[0].get(f"/v1/rooms/{room}/route")
        if answer.status == 200:
            joins[room] = owner(answer)
        else:
            assert answer.status in (404, 503), answer
    for room, found in joins.items():
        assert found == owners[room]
    for node in holder.nodes:
        node.routers = list(routers)
    holder.beat(), holder.beat()
    for router in routers:
        until("every room is back", lambda: asked(router, owners) == owners, 5)
    until("the store is whole", lambda: holder.beat() or is_whole(redis), 10)
    assert generation(redis) != before
    assert not any(len(node.evicted) for node in holder.nodes), "a node was told to give up what is its own"
    _, epoch = owner(routers[0].join("afterwards"))
    assert epoch > max(e for _, e in owners.values())


def test_flush_with_joins_under_way_places_nothing_anew(stage):
    redis, routers, holder = fleet(stage)
    owners = place(routers)
    holder.beat(), holder.beat()
    redis.client().flushall()

    async def go():
        joins = asyncio.create_task(many_joins(routers, lambda i: f"room-{i % 60}", 240, 60))
        await asyncio.sleep(0)
        await asyncio.to_thread(holder.beat)
        await asyncio.to_thread(holder.beat)
        return await joins
    for answer in asyncio.run(go()):
        if answer.status == 200:
            assert owner(answer) == owners[answer.json()["room"]]
        else:
            assert answer.code() in ("store_rebuilding", "no_nodes", "owner_lost"), answer
    holder.beat()
    until("every room is back", lambda: asked(routers[0], owners) == owners, 5)


def test_scalelite_348_one_node_that_has_not_told_its_rooms_is_waited_for(stage):
    redis, (router,), holder = fleet(stage, count=1, names=("n1", "n2"))
    owners = place([router], 20)
    holder.beat(), holder.beat()
    one, other = holder.nodes
    mine, others = (next(room for room, found in owners.items() if found[0] == node.name) for node in (one, other))
    redis.client().flushall()
    holder.nodes, started = [one], time.monotonic()
    until("three heartbeats are over", lambda: holder.beat() or time.monotonic() - started > 1.5)
    assert owner(router.join(mine)) == owners[mine]
    assert not is_whole(redis)
    assert router.join(others).code() == "store_rebuilding"
    holder.nodes = [one, other]
    until("the store is whole", lambda: holder.beat() or is_whole(redis))
    assert asked(router, owners) == owners


def test_scalelite_617_a_router_that_knows_no_node_learns_of_the_loss_by_the_first_heartbeat(stage):
    redis, (router,), holder = fleet(stage, count=1, names=("n1", "n2"))
    owners = place([router], 20)
    router.kill()
    redis.client().flushall()
    fresh = stage.router(f"registry.url={redis.url}", *SETS, "server.park_ms=200")
    until("it takes the store for a new one", lambda: is_whole(redis))
    one, other = holder.nodes
    one.routers = other.routers = [fresh]
    holder.nodes = [one]
    holder.beat()
    fresh.wait_placeable("n1")
    theirs = [room for room, found in owners.items() if found[0] == other.name]
    assert {fresh.join(room).code() for room in theirs[:3]} == {"store_rebuilding"}
    holder.nodes = [one, other]
    holder.beat(), holder.beat()
    until("every room is back", lambda: asked(fresh, owners) == owners, 5)


def test_a_router_that_ran_at_no_loss_waits_a_lease_for_nodes_that_it_never_knew(stage):
    redis, (router,), holder = fleet(stage, count=1, names=("n1",))
    holder.beat()
    router.kill()
    redis.client().flushall()
    fresh = stage.router(f"registry.url={redis.url}", "nodes.heartbeat_ms=300", "nodes.lease_ms=2000", "nodes.grace_ms=200")
    until("it takes the store for a new one", lambda: is_whole(redis))
    holder.nodes[0].routers = [fresh]
    holder.beat()
    assert not is_whole(redis)
    told = time.monotonic()
    until("the store is whole", lambda: holder.beat() or is_whole(redis))
    assert 1.5 < time.monotonic() - told < 5, "a lease and its grace, about"


def test_an_old_snapshot_is_made_up_for_by_reports(stage, tmp_path):
    redis, routers, holder = fleet(stage)
    old = place(routers, 20)
    holder.beat(), holder.beat()
    client = redis.client()
    snapshot = {key: (client.dump(key), max(0, client.pttl(key))) for key in client.keys("*")}
    # After the snapshot: rooms end, are placed anew, and others are added.
    for room in list(old)[:5]:
        assert routers[0].delete(f"/v1/rooms/{room}?epoch={old[room][1]}").status == 204
    for router in routers:
        until("it knows that they are over", lambda: set(asked(router, list(old)[:5]).values()) == {"not_found"})
    owners = place(routers, 40)
    holder.beat(), holder.beat()
    with client.pipeline() as pipe:
        pipe.flushall()
        for key, (dump, ttl) in snapshot.items():
            if key != b"usher:mark":  # another server process: its mark does not count either way
                pipe.restore(key, ttl, dump, replace=True)
        pipe.execute()
    holder.beat(), holder.beat(), holder.beat()
    for router in routers:
        until("every room is where it was at last", lambda: asked(router, owners) == owners, 10)
    held = {(node.name, room): epoch for node in holder.nodes for room, epoch in node.rooms.items()}
    assert held == {(node, room): epoch for room, (node, epoch) in owners.items()}


def test_a_record_of_an_earlier_owner_places_nothing_anew(stage):
    """The store has lost its last writes: the room's record names a node that is gone, but another one has the room since."""
    redis, (router,), holder = fleet(stage, count=1)
    first, _ = owner(router.join("r"))
    client = redis.client()
    key, = client.keys("usher:r:*")
    record = client.hgetall(key)
    holder.nodes = [node for node in holder.nodes if node.name != first]
    client.hset("usher:n:{%s}" % first, "lost", "1")
    until("the node is lost", lambda: holder.beat() or router.node(first)["state"] == "lost")
    second = owner(router.join("r"))
    assert second[0] != first
    holder.beat()
    assert owner(join_after_falling_back(router, holder, client, key, record)) == second


def test_a_claim_of_before_a_loss_is_not_helped(stage):
    """The store has lost its last writes: the room is `opening` at a node that lives, but another one has the room since."""
    redis, (router,), holder = fleet(stage, count=1)
    first, epoch = owner(router.join("r"))
    client = redis.client()
    key, = client.keys("usher:r:*")
    record = client.hgetall(key)
    assert router.delete(f"/v1/rooms/r?epoch={epoch}").status == 204
    assert router.put(f"/v1/nodes/{first}/cordon").status == 204
    until("cordoned", lambda: router.node(first)["state"] == "cordoned")
    second = owner(router.join("r"))
    assert second[0] != first
    holder.beat()
    node, = (node for node in holder.nodes if node.name == first)
    node.opens.clear()
    record[b"state"] = b"opening"
    assert owner(join_after_falling_back(router, holder, client, key, record)) == second
    assert not node.opens


def join_after_falling_back(router, holder, client, key, record):
    """The room's record is what it was, and the store does not say that it is whole; nodes report while the join waits."""
    with client.pipeline() as pipe:
        pipe.delete("usher:mark", key)
        pipe.hset(key, mapping=record)
        pipe.execute()

    async def go():
        join = asyncio.create_task(many_joins([router], lambda i: "r", 1, 1))
        await asyncio.wait({join}, timeout=1)  # time enough to give the record's owner up, less than a join waits
        while not join.done():
            await asyncio.to_thread(holder.beat)
            await asyncio.sleep(0.1)
        return await join
    answer, = asyncio.run(go())
    return answer


@pytest.mark.parametrize("snapshot", [False, True])
def test_a_node_that_may_have_lost_its_rooms_waits_until_the_store_is_whole(stage, snapshot):
    """Its lease had lapsed and a room of its was placed anew; the store loses that (all, or its last writes), and it is the first
    to report. The present owner lets people in all the while."""
    redis, (router,), holder = fleet(stage, count=1, names=("n1", "n2"))
    first, old = owner(router.join("r"))
    late, = (node for node in holder.nodes if node.name == first)
    other, = (node for node in holder.nodes if node.name != first)
    client = redis.client()
    key, = client.keys("usher:r:*")
    record = client.hgetall(key)
    client.hset("usher:n:{%s}" % first, "lost", "1")
    until("the node is lost", lambda: router.node(first)["state"] == "lost")
    assert owner(router.join("r"))[0] == other.name
    assert late.rooms == {"r": old}
    late.rooms["kept"] = old + 1  # nobody else has this one
    client.flushall()
    if snapshot:
        client.hset(key, mapping=record)
    assert late.register().status == 201
    assert late.beat(unbroken=False).json()["want_rooms"] is True  # restored, and not confirmed
    until("it is known where its other room is", lambda: router.get("/v1/rooms/kept/route").status == 200)
    assert other.register().status == 201
    answer = other.beat(unbroken=True).json()
    assert (answer["want_rooms"], answer["evict"]) == (False, [])
    assert {"room": "r", "epoch": old} in late.beat(unbroken=False).json()["evict"]
    del late.rooms["r"]
    until("the store is whole", lambda: is_whole(redis))
    until("it has its list confirmed", lambda: late.beat(unbroken=False).json()["want_rooms"] is False)
    assert asked(router, ["r", "kept"]) == {"r": (other.name, other.rooms["r"]), "kept": (first, old + 1)}


def test_a_ghost_is_opened_again_at_its_epoch(stage):
    redis, (router, other), holder = fleet(stage, names=("n1",))
    node = holder.nodes[0]
    _, epoch = owner(router.join("ghost"))
    holder.beat(), holder.beat()
    del node.rooms["ghost"]
    node.opens.clear()
    beats = len(node.answers)
    holder.beat()
    until("it is opened again", lambda: ("ghost", epoch) in node.opens)
    assert len(node.answers) <= beats + 2, "within two heartbeats"
    told = until("it is told", lambda: [*router.events("room_reopened"), *other.events("room_reopened")])
    assert {(row["room"], row["epoch"]) for row in told} == {("ghost", epoch)}
    assert owner(router.join("ghost")) == ("n1", epoch)
    assert router.metric('usher_reconciled_total{what="ghost"}') >= 1


def test_a_room_of_an_operators_close_does_not_come_back(stage):
    redis, (router, other), holder = fleet(stage, names=("n1",))
    node = holder.nodes[0]
    _, epoch = owner(router.join("closed"))
    holder.beat()
    assert router.delete(f"/v1/rooms/closed?epoch={epoch}").status == 204
    node.rooms["closed"] = epoch  # a late report of it
    answer = node.beat()
    assert {"room": "closed", "epoch": epoch} in answer.json()["evict"]
    assert router.event("room_taken")["detail"] == "it has ended"
    assert router.get("/v1/rooms/closed/route").code() == "not_found"
    node, newer = owner(router.join("closed"))
    assert newer > epoch


def test_a_node_that_reports_anothers_room_with_a_huge_epoch_changes_nothing(stage):
    redis, (router, other), holder = fleet(stage)
    name, epoch = owner(router.join("mine"))
    holder.beat()
    thief = next(node for node in holder.nodes if node.name != name)

    async def go():
        async with Follower(router) as follower:
            thief.rooms["mine"] = 2 ** 53 - 2
            answer = await asyncio.to_thread(thief.beat)
            assert {"room": "mine", "epoch": 2 ** 53 - 2} in answer.json()["evict"]
            await follower.saw("owner_conflict", node=thief.name, room="mine", detail=name)
    asyncio.run(go())
    for r in (router, other):
        assert owner(r.join("mine")) == (name, epoch)


def test_an_epoch_is_above_what_any_node_met(stage):
    redis, (router,), holder = fleet(stage, count=1, names=("n1",))
    met = int(time.time() * 1000) + 3600_000
    assert holder.nodes[0].beat(max_epoch=met).status == 200
    _, epoch = owner(router.join("above"))
    assert epoch == met + 1
    assert holder.nodes[0].beat(max_epoch=2 ** 53 - 2).status == 200  # years ahead: somebody's mistake
    assert owner(router.join("later"))[1] == epoch + 1


def test_foreign_rooms_are_counted_and_never_touched(stage):
    redis, (router, other), holder = fleet(stage, names=("n1",))
    node = holder.nodes[0]
    node.rooms["foreign"] = 0
    answer = node.beat()
    assert answer.json()["evict"] == []
    assert router.metric('usher_reconciled_total{what="foreign"}') == 1
    assert router.event("rooms_foreign")["detail"].startswith("1 ")
    node.rooms["foreign-too"] = 0
    node.beat()
    until("both are told", lambda: [row["detail"][0] for row in router.events("rooms_foreign")] == ["1", "2"])
    assert router.get("/v1/rooms/foreign/route").code() == "not_found"


def test_hints_that_were_lost_are_asked_of_the_node_again(stage):
    redis, routers, holder = fleet(stage, names=("n1",))
    first = routers[0].join("with-hints").json()
    assert first["hints"] == {"opened_by": "n1"}
    holder.beat(), holder.beat()
    redis.client().flushall()
    fresh = stage.router(f"registry.url={redis.url}", *SETS)
    until("it has the store", lambda: fresh.metric("usher_store_up") == 1)
    holder.nodes[0].routers = [fresh]
    holder.beat(), holder.beat()
    until("the room is back", lambda: fresh.get("/v1/rooms/with-hints/route").status == 200, 5)
    again = fresh.join("with-hints").json()
    assert (again["epoch"], again["hints"]) == (first["epoch"], first["hints"])


def test_a_list_that_was_never_sent_is_wanted(stage):
    redis, (router, other), holder = fleet(stage, names=("n1",))
    node = holder.nodes[0]
    node.report_rooms = False
    assert node.register().status == 200
    assert node.beat(rooms_digest="0:0000000000000000").json()["want_rooms"] is True
    node.report_rooms = True
    assert node.beat().json()["want_rooms"] is False
    node.report_rooms = False
    until("it is known to have come", lambda: node.beat(rooms_digest="0:0000000000000000").json()["want_rooms"] is False, 5)


def test_a_new_store_is_whole_at_once(stage):
    redis = stage.redis()
    router = stage.router(f"registry.url={redis.url}", "server.park_ms=0")
    stage.node("n1", router)
    router.wait_placeable("n1")
    assert router.join("first").status == 200
    assert is_whole(redis)
