# SPDX-License-Identifier: Apache-2.0
"""Redis Cluster: each key at its primary, wherever that is just now."""
import signal
import threading
import time

import pytest

from harness import until
from redis_fleet import Cluster, info
from test_one_owner import owner

SLICE = 128  # nodes that are asked for at once


def routers_on(stage, cluster, count=2, *sets, nodes=("n1",)):
    routers = [stage.router(f"registry.url={cluster.url}", "server.park_ms=500", *sets) for _ in range(count)]
    fleet = []
    for name in nodes:
        node = stage.node(name, *routers, heartbeat=False)
        node.report_rooms = True
        until("the node is heard", lambda: (node.register() if node.registration is None else node.beat()).status in (200, 201) and node.seq)
        node.start_beating()
        fleet.append(node)
    for router in routers:
        router.wait_placeable(*nodes)
        until("the store is whole", lambda: router.join("first").status == 200)
    return routers, fleet


def on_shard(cluster, server, name, prefix="usher:r:"):
    """A room whose record lies there."""
    return next(f"{name}-{i}" for i in range(1000) if cluster.owner(cluster.slot(f"{prefix}{name}-{i}")) is server)


def owner_now(router, room):
    """None while it is not answered."""
    answer = router.join(room)
    return owner(answer) if answer.status == 200 else None


def placed(router, room):
    """A store that began as whole may be doubted a moment later."""
    until("the room is placed", lambda: owner_now(router, room))
    return owner(router.join(room))


@pytest.fixture
def cluster(stage):
    return Cluster(stage)


def test_rooms_of_every_shard_have_one_owner_and_are_listed(stage, cluster):
    (router, other), _ = routers_on(stage, cluster, nodes=("n1", "n2", "n3"))
    owners = {f"room-{i}": placed((router, other)[i % 2], f"room-{i}") for i in range(60)}
    for server in cluster.primaries:
        assert int(server.command("DBSIZE")[1:]) > 5, "all at one shard"
    for name, held in owners.items():
        assert owner(router.join(name)) == owner(other.join(name)) == held
    # A cursor of one router goes on at the other.
    seen, cursor, turn = set(), "", 0
    while True:
        page = (router, other)[turn % 2].get(f"/v1/rooms?limit=7&prefix=room-{'&cursor=' + cursor if cursor else ''}").json()
        assert len(page["rooms"]) <= 7
        seen |= {row["room"] for row in page["rooms"]}
        cursor, turn = page["next_cursor"], turn + 1
        if not cursor:
            break
    assert seen == set(owners)
    of_node = {row["room"] for row in router.get("/v1/rooms?node=n1&limit=1000").json()["rooms"]}
    assert {name for name, (node, _) in owners.items() if node == "n1"} <= of_node
    assert router.get("/v1/rooms?cursor=99999@0").code() == "bad_request"


def test_changes_at_every_shard_are_announced(stage, cluster):
    (router, other), _ = routers_on(stage, cluster)
    for server in cluster.primaries:
        room = on_shard(cluster, server, "moves")
        _, epoch = placed(router, room)
        assert owner(other.join(room))[1] == epoch
        until("the room is in the table", lambda: router.join(room).json()["source"] == "table")
        assert other.delete(f"/v1/rooms/{room}?epoch={epoch}").status == 204
        until("the other router's delete is known here", lambda: router.get(f"/v1/rooms/{room}/route").status == 404, 2)


def test_a_charge_counts_once(stage, cluster):
    """Every node of a cluster repeats what is published at one."""
    (router, other), _ = routers_on(stage, cluster, nodes=("n1",))
    node = router.node("n1")
    before = node["charged"]
    placed(router, "one-more")
    after = until("it is heard of", lambda: (now := router.node("n1")["charged"]) > before and now)
    assert after - before < 0.015, (before, after)


def test_a_slot_that_moved_is_followed_within_the_request(stage, cluster):
    """MOVED: the same call at the node that the answer names."""
    (router, other), _ = routers_on(stage, cluster)
    source, to = cluster.primaries[0], cluster.primaries[1]
    room = on_shard(cluster, source, "wanders")
    held = placed(router, room)
    slot = cluster.slot(f"usher:r:{room}")
    cluster.begin_move(slot, to)
    cluster.move_keys(slot, source, to)
    cluster.end_move(slot, to)
    assert cluster.owner(slot) is to
    assert owner(other.join(room)) == held
    assert router.delete(f"/v1/rooms/{room}?epoch={held[1]}").status == 204
    until("the other one knows, and has placed it anew", lambda: (owner_now(other, room) or held)[1] > held[1])


def test_a_slot_on_its_way_is_asked_for_at_both_nodes(stage, cluster):
    """ASK: a key that is not at the source any more is asked for at the target; a new one is made there."""
    (router, other), _ = routers_on(stage, cluster)
    source, to = cluster.primaries[0], cluster.primaries[2]
    room = on_shard(cluster, source, "halfway")
    held = placed(router, room)
    slot = cluster.slot(f"usher:r:{room}")
    cluster.begin_move(slot, to)
    cluster.move_keys(slot, source, to)
    assert owner(other.join(room)) == held
    assert other.delete(f"/v1/rooms/{room}?epoch={held[1]}").status == 204
    again = until("the other one knows, and has placed it anew", lambda: (now := owner_now(router, room)) and now[1] > held[1] and now)
    cluster.end_move(slot, to)
    until("both have it", lambda: owner_now(other, room) == owner_now(router, room) == again)


def test_keys_of_a_node_on_both_sides_are_waited_for(stage, cluster):
    """TRYAGAIN: a script of several keys while only some have moved."""
    (router,), (node,) = routers_on(stage, cluster, 1, "registry.timeout_ms=4000")
    slot = cluster.slot("usher:n:{n1}")
    source = cluster.owner(slot)
    to = next(p for p in cluster.primaries if p is not source)
    cluster.begin_move(slot, to)
    client = source.client()
    client.execute_command("MIGRATE", "127.0.0.1", to.port, "usher:n:{n1}", 0, 5000)  # its rooms and charges are still here
    assert to.command("EXISTS", "usher:n:{n1}")[:4] == b"-MOV"
    started = time.monotonic()
    answer = {}

    thread = threading.Thread(target=lambda: answer.update(got=router.join("while-moving")))
    thread.start()
    until("it was asked in vain", lambda: int(info(source, "errorstats", "errorstat_TRYAGAIN").partition("=")[2] or 0) >= 2
          or int(info(to, "errorstats", "errorstat_TRYAGAIN").partition("=")[2] or 0) >= 2)
    cluster.move_keys(slot, source, to)
    cluster.end_move(slot, to)
    thread.join()
    assert answer["got"].status == 200, answer
    assert time.monotonic() - started < 6
    until("its node is renewed", lambda: node.beat().json()["renewed"])


def test_a_killed_primary_is_replaced_and_the_other_shards_do_not_notice(stage):
    cluster = Cluster(stage, replicas=1)
    (router, other), (node,) = routers_on(stage, cluster, 2)
    nodes_shard = cluster.owner(cluster.slot("usher:n:{n1}"))
    rooms = {p: on_shard(cluster, p, "kept") for p in cluster.primaries}
    held = {p: placed(router, room) for p, room in rooms.items()}
    victim = next(p for p in cluster.primaries if p is not nodes_shard and p is not cluster.owner(cluster.slot("usher:nodes")))
    fresh = [on_shard(cluster, victim, f"new-{i}") for i in range(40)]
    slots = cluster.slot(f"usher:r:{rooms[victim]}")
    victim.kill()
    started = time.monotonic()
    for p, room in rooms.items():
        assert owner(router.join(room)) == held[p]
    names = iter(fresh * 100)
    until("new rooms of that shard", lambda: router.join(next(names)).status == 200, 15)
    assert time.monotonic() - started < 8
    until("the cluster has another primary", lambda: cluster.owner(slots) not in (None, victim))
    for p, room in rooms.items():
        until("nothing is lost", lambda: owner_now(other, room) == held[p])
    until("all is well", lambda: router.metric("usher_store_up") == 1 and other.metric("usher_store_up") == 1)
    assert router.node("n1")["state"] == "ready"


def test_a_cluster_that_is_down_costs_one_budget_and_is_found_again(stage, cluster):
    """CLUSTERDOWN: tried again while the budget lasts, then said; known rooms go on."""
    (router, other), _ = routers_on(stage, cluster, 2, "registry.timeout_ms=400", "nodes.lease_ms=60000")
    known = placed(router, "known")
    for server in cluster.nodes:
        server.command("CONFIG", "SET", "cluster-require-full-coverage", "yes")
    gone = cluster.primaries[1]
    room = on_shard(cluster, cluster.primaries[0], "new")
    first = 16384 // 3  # of the second primary
    for server in cluster.nodes:
        assert server.command("CLUSTER", "DELSLOTSRANGE", str(first), str(first)) == b"+OK\r\n"
    until("it is down", lambda: b"cluster_state:fail" in cluster.primaries[0].command("CLUSTER", "INFO"))
    started = time.monotonic()
    answer = router.join(room)
    assert answer.code() == "store_unavailable", answer
    assert time.monotonic() - started < 2
    assert owner(router.join("known")) == known
    assert router.get("/livez").status == 200
    gone.command("CLUSTER", "ADDSLOTSRANGE", str(first), str(first))
    until("it is up", lambda: b"cluster_state:ok" in cluster.primaries[0].command("CLUSTER", "INFO"))
    until("new rooms again", lambda: router.join(room).status == 200)


def test_one_node_of_the_url_is_enough_and_a_dead_one_does_no_harm(stage, cluster):
    router = stage.router(f"registry.url=redis+cluster://127.0.0.1:1,127.0.0.1:{cluster.primaries[2].port}")
    until("all shards are up", lambda: router.metric("usher_store_up") == 1, 5)
    assert len({e["port"] for e in router.events("store_up")}) == 3


def test_a_new_primary_joins_with_slots(stage, cluster):
    """Scaling out: keys go to a node that did not exist when the router started, and no request is refused for it."""
    (router, other), _ = routers_on(stage, cluster)
    added = cluster._start(())
    cluster.nodes.append(added)
    cluster.nodes[0].command("CLUSTER", "MEET", "127.0.0.1", str(added.port), str(added.bus))
    until("all see all", lambda: all(cluster.known(n) == 4 and b"state:ok" in n.command("CLUSTER", "INFO") for n in cluster.nodes))
    room = on_shard(cluster, cluster.primaries[0], "early")
    held = placed(router, room)
    slot = cluster.slot(f"usher:r:{room}")
    source = cluster.begin_move(slot, added)
    cluster.move_keys(slot, source, added)
    cluster.end_move(slot, added)
    until("the other finds it", lambda: owner_now(other, room) == held)
    assert other.delete(f"/v1/rooms/{room}?epoch={held[1]}").status == 204
    # The new primary's part of the data has no mark yet, as after a loss: until nodes have told their rooms, known ones stay.
    until("it is placed anew", lambda: (owner_now(router, room) or (0, 0))[1] > held[1])
    until("all is well", lambda: router.metric("usher_store_up") == 1)


def test_a_shard_that_lost_all_is_not_a_new_one_to_a_router_that_starts(stage, cluster):
    """Nodes of the other shards are there to take rooms; the room's own node has its record in the shard that was flushed."""
    flushed = next(p for p in cluster.primaries if p is not cluster.owner(cluster.slot("usher:nodes")))
    gone = next(f"n{i}" for i in range(100) if cluster.owner(cluster.slot(f"usher:n:{{n{i}}}")) is flushed)
    stays = next(f"n{i}" for i in range(100) if cluster.owner(cluster.slot(f"usher:n:{{n{i}}}")) is not flushed)
    sets = ("nodes.lease_ms=1500", "nodes.heartbeat_ms=500", "server.park_ms=0")
    (router,), (node,) = routers_on(stage, cluster, 1, *sets, nodes=(gone,))
    room = on_shard(cluster, flushed, "held")
    held = placed(router, room)
    node.stop_beating()
    router.stop()
    assert flushed.command("FLUSHALL") == b"+OK\r\n"
    fresh = stage.router(f"registry.url={cluster.url}", *sets)
    other = stage.node(stays, fresh, heartbeat=False)
    until("the store is asked", lambda: other.register().status in (200, 201))
    other.report_rooms = True
    other.start_beating()
    fresh.wait_placeable(stays)
    assert fresh.join(room).code() == "store_rebuilding"
    node.routers = [fresh]
    assert node.beat().code() == "unknown_node"
    assert node.register().status in (200, 201)
    node.start_beating()
    assert until("the room is known again", lambda: owner_now(fresh, room)) == held
    assert room not in other.rooms


def test_a_node_whose_shard_lost_all_keeps_its_rooms_of_other_shards(stage, cluster):
    """The room's record is there and names a node that no record speaks of any more: that is no reason to place it anew."""
    flushed = next(p for p in cluster.primaries if p is not cluster.owner(cluster.slot("usher:nodes")))
    gone = next(f"n{i}" for i in range(100) if cluster.owner(cluster.slot(f"usher:n:{{n{i}}}")) is flushed)
    stays = next(f"n{i}" for i in range(100) if cluster.owner(cluster.slot(f"usher:n:{{n{i}}}")) is not flushed)
    (router,), (node, other) = routers_on(stage, cluster, 1, "nodes.lease_ms=1500", "nodes.heartbeat_ms=500", "server.park_ms=1500",
                                          nodes=(gone, stays))
    assert router.put(f"/v1/nodes/{stays}/cordon").status == 204
    until("cordoned", lambda: router.node(stays)["state"] == "cordoned")
    room = on_shard(cluster, next(p for p in cluster.primaries if p is not flushed), "held")
    held = placed(router, room)
    assert router.delete(f"/v1/nodes/{stays}/cordon").status == 204
    until("uncordoned", lambda: router.node(stays)["placeable"])
    node.stop_beating()
    assert flushed.command("FLUSHALL") == b"+OK\r\n"
    until("the node is missed", lambda: not router.node(gone))
    assert router.join(room).code() == "store_rebuilding"
    assert node.beat().code() == "unknown_node"
    assert node.register().status in (200, 201)
    node.start_beating()
    assert until("the room is where it was", lambda: owner_now(router, room)) == held
    assert room not in other.rooms


def test_nodes_that_only_the_lost_shard_listed_are_waited_for(stage, cluster):
    """A view that was read between the loss and its mark lacks them; what was known before still counts."""
    flushed = cluster.owner(cluster.slot("usher:nodes"))
    held_back, stays = [f"n{i}" for i in range(100) if cluster.owner(cluster.slot(f"usher:n:{{n{i}}}")) is not flushed][:2]
    (router, knows), (node, other) = routers_on(stage, cluster, 2, "nodes.lease_ms=30000", "nodes.heartbeat_ms=400", "server.park_ms=0",
                                                 nodes=(held_back, stays))
    assert router.put(f"/v1/nodes/{stays}/cordon").status == 204
    until("cordoned", lambda: knows.node(stays)["state"] == "cordoned")
    room = on_shard(cluster, flushed, "held")
    node.stop_beating()  # else the other router hears of the room
    held = placed(knows, room)
    knows.stop()
    assert flushed.command("FLUSHALL") == b"+OK\r\n"
    assert router.delete(f"/v1/nodes/{stays}/cordon").status == 204  # after which the nodes are read at once
    router.event("store_rebuilding")
    until("the other is listed again, and takes rooms", lambda: (router.node(stays) or {}).get("placeable"))
    told = time.monotonic()
    until("five heartbeats are over", lambda: router.join(room).code() != "store_rebuilding" or time.monotonic() > told + 2)
    assert router.join(room).code() == "store_rebuilding"
    node.start_beating()
    assert until("the room is where it was", lambda: owner_now(router, room)) == held
    assert room not in other.rooms


@pytest.mark.parametrize("how", ["killed", "hangs"])
def test_scalelite_498_a_list_says_which_part_is_missing(stage, cluster, how):
    """A shard that is away fails no list: the rooms of the others are there, and what is missing is named."""
    (router, other), _ = routers_on(stage, cluster, 2, "nodes.lease_ms=60000", "registry.timeout_ms=1000")
    nodes_shard = cluster.owner(cluster.slot("usher:n:{n1}"))
    gone = next(p for p in cluster.primaries if p is not nodes_shard and p is not cluster.owner(cluster.slot("usher:nodes")))
    rooms = {on_shard(cluster, p, f"room-{i}") for p in cluster.primaries for i in range(8)}
    lost = {room for room in rooms if cluster.owner(cluster.slot(f"usher:r:{room}")) is gone}
    assert len(lost) == 8
    for room in rooms:
        placed(router, room)

    def whole(path):
        seen, missing, cursor = set(), set(), ""
        while True:
            answer = router.get(f"{path}?limit=5&prefix=room-{'&cursor=' + cursor if cursor else ''}")
            if answer.status != 200:
                return None, answer.code()
            page = answer.json()
            seen |= {row["room"] for row in page["rooms"]}
            missing |= set(page["partial"])
            cursor = page["next_cursor"]
            if not cursor:
                return seen, missing
    assert whole("/v1/rooms") == (rooms, set()) and whole("/v1/nodes/n1/rooms") == (rooms, set())
    gone.kill() if how == "killed" else gone.signal(signal.SIGSTOP)
    named = {f"store at 127.0.0.1:{gone.port}"}
    for path in ("/v1/rooms", "/v1/nodes/n1/rooms"):
        until(f"{path} says what is missing", lambda: whole(path) == (rooms - lost, named))
    for server in cluster.primaries:
        if server is not gone:
            server.kill()
    until("without any shard there is no list", lambda: whole("/v1/rooms") == (None, "store_unavailable"))


def test_a_shard_that_is_away_with_most_of_the_fleet_hides_no_other_node(stage, cluster):
    """Whole slices of the fleet cannot be asked for."""
    (router,), (node,) = routers_on(stage, cluster, 1, "nodes.lease_ms=60000")
    here, lists = cluster.owner(cluster.slot("usher:n:{n1}")), cluster.owner(cluster.slot("usher:nodes"))
    gone = next(p for p in cluster.primaries if p not in (here, lists))
    away = {f"n{i}" for i in range(2, 2600) if cluster.owner(cluster.slot(f"usher:n:{{n{i}}}")) is gone}
    assert 3 * SLICE < len(away) < 1000
    for name in away:
        gone.command("HSET", f"usher:n:{{{name}}}", "seq", "1")
    lists.command("SADD", "usher:nodes", *away)

    def page(part):
        return len(router.get("/v1/nodes?limit=1000").json()[part])
    until("all are read", lambda: page("nodes") == len(away) + 1)
    gone.kill()
    until("they cannot be", lambda: page("partial") == len(away))
    node.load = {"cpu": 0.5}
    until("what the other says is read", lambda: router.node("n1")["load"] == node.load)
    assert router.node("n1")["placeable"] and page("nodes") == len(away) + 1
