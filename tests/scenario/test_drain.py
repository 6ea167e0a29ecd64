# SPDX-License-Identifier: Apache-2.0
"""Draining a node and moving rooms: every step, its undo, and what may break in the middle."""
import asyncio
import collections
import json
import os
import subprocess
import time

import pytest
import websockets

from harness import BUILD, ROOT, Client, call, until
from test_events import Follower
from test_gate import control_of
from test_one_owner import owner
from test_tunnel import receive_close, signal_url

FAST = ["nodes.heartbeat_ms=500", "nodes.lease_ms=2000", "nodes.unfenced_ms=3000", "sfu.call_timeout_ms=400", "breaker.open_ms=200"]


def drain(router, node, **body):
    return router.put(f"/v1/nodes/{node}/drain", body)


def undrain(router, node, query=""):
    return router.delete(f"/v1/nodes/{node}/drain{query}")


def wish(router, node):
    found = router.node(node)
    return found["wish"], found["drain"]


def rooms_on(router, node):
    return {row["room"]: row["epoch"] for row in router.get(f"/v1/nodes/{node}/rooms?limit=1000").json()["rooms"]}


def place(router, prefix, n):
    return {f"{prefix}-{i}": owner(router.join(f"{prefix}-{i}")) for i in range(n)}


def obey(node):
    """Evicts what the answers to its heartbeats name, as a node does whose control side hears nothing."""
    for answer in node.answers[-3:]:
        for room in answer.json()["evict"] if answer.status == 200 else []:
            if node.rooms.get(room["room"], 0) <= room["epoch"]:
                node.rooms.pop(room["room"], None)


@pytest.fixture
def two(stage):
    """One router, and two nodes that report their rooms."""
    router = stage.router(*FAST)
    nodes = {name: stage.node(name, router) for name in ("n1", "n2")}
    for node in nodes.values():
        node.report_rooms = True
    router.wait_placeable("n1", "n2")
    return router, nodes


def one_with_rooms(router, nodes, n=6):
    """All rooms on n1, then n2 takes rooms as well."""
    router.put("/v1/nodes/n2/cordon")
    until("n2 is cordoned", lambda: router.node("n2")["state"] == "cordoned")
    placed = place(router, "r", n)
    assert {node for node, _ in placed.values()} == {"n1"}
    router.delete("/v1/nodes/n2/cordon")
    router.wait_placeable("n2")
    return placed


# -- a drain's life -------------------------------------------------------------------------------------------------------------
def test_livekit_4797_wait_keeps_rooms_and_their_joins_and_takes_no_new_ones(two):
    router, nodes = two
    placed = one_with_rooms(router, nodes)
    assert drain(router, "n1", policy="wait").status == 204
    until("n1 drains", lambda: router.node("n1")["state"] == "draining")
    node = router.node("n1")
    assert not node["placeable"] and "draining" in node["why_not"]
    assert node["drain"]["policy"] == "wait" and node["drain"]["deadline_ms"] is None and node["drain"]["by"] == "operator"
    assert node["drain"]["rooms_left"] == 6 and node["drain"]["moved"] == 0 and node["drain"]["failed"] == 0
    begun = time.monotonic()
    until("a mover would have begun", lambda: time.monotonic() - begun > 1)
    for room, held in placed.items():
        assert owner(router.join(room)) == held, "a placed room moved although the policy is to wait"
    assert {owner(router.join(f"new-{i}"))[0] for i in range(5)} == {"n2"}
    for room, (_, epoch) in placed.items():
        assert router.delete(f"/v1/rooms/{room}?epoch={epoch}").status == 204
    until("n1 is drained", lambda: router.node("n1")["state"] == "drained")
    assert router.node("n1")["drain"]["rooms_left"] == 0
    assert router.metric('usher_events_total{type="drain_started"}') == 1
    until("it is told", lambda: router.metric('usher_events_total{type="drain_done"}') == 1)
    assert router.metric('usher_events_total{type="drain_expired"}') == 0


def test_livekit_127_move_empties_the_node_and_every_room_has_one_owner(two):
    router, nodes = two
    placed = one_with_rooms(router, nodes)
    assert drain(router, "n1", policy="move").status == 204
    until("n1 is drained", lambda: router.node("n1")["state"] == "drained")
    until("the last is opened", lambda: set(nodes["n2"].rooms) == set(rooms_on(router, "n2")) == set(placed))
    assert not rooms_on(router, "n1") and not nodes["n1"].rooms
    for room, (_, epoch) in placed.items():
        node, newer = owner(router.join(room))
        assert node == "n2" and newer > epoch and nodes["n2"].rooms[room] == newer
        assert (room, epoch) in nodes["n1"].evicted
    until("the count is announced", lambda: router.node("n1")["drain"]["moved"] == 6)
    assert router.metric('usher_events_total{type="room_moved"}') == 6
    until("it is told", lambda: router.metric('usher_events_total{type="drain_done"}') == 1)


def test_livekit_3021_at_the_deadline_what_is_left_is_moved(two):
    router, nodes = two
    placed = one_with_rooms(router, nodes)
    begun = time.monotonic()
    assert drain(router, "n1", policy="wait", deadline_ms=1500).status == 204
    until("something leaves n1", lambda: len(nodes["n1"].rooms) < 6)
    assert time.monotonic() - begun >= 1.4, "moved before the deadline"
    until("n1 is drained", lambda: router.node("n1")["state"] == "drained")
    until("the last is opened", lambda: set(nodes["n2"].rooms) == set(placed))
    assert router.metric('usher_events_total{type="drain_expired"}') == 1


def test_mass_moves_keep_to_the_rate(stage):
    router = stage.router(*FAST, "drain.moves_per_second=5")
    nodes = {name: stage.node(name, router) for name in ("n1", "n2")}
    router.wait_placeable("n1", "n2")
    one_with_rooms(router, nodes, 10)
    begun = time.monotonic()
    drain(router, "n1", policy="move")
    until("n1 is empty", lambda: not nodes["n1"].rooms)
    assert 1.5 < time.monotonic() - begun < 6, "ten rooms at five a second"


# -- undo, repetition -----------------------------------------------------------------------------------------------------------
def test_undone_half_way_nothing_is_lost(stage):
    router = stage.router(*FAST, "drain.moves_per_second=5")
    nodes = {name: stage.node(name, router) for name in ("n1", "n2")}
    router.wait_placeable("n1", "n2")
    placed = one_with_rooms(router, nodes, 12)
    drain(router, "n1", policy="move")
    until("some have moved", lambda: len(nodes["n2"].rooms) >= 3)
    assert undrain(router, "n1").status == 204
    assert wish(router, "n1")[0] == "enabled" or until("undone", lambda: wish(router, "n1")[0] == "enabled")
    router.wait_placeable("n1")
    settled = {room: owner(router.join(room)) for room in placed}
    by_node = collections.Counter(node for node, _ in settled.values())
    assert by_node["n1"] > 0 and by_node["n2"] >= 3, by_node
    for room, (node, epoch) in settled.items():
        assert nodes[node].rooms[room] == epoch and (node == "n2" or epoch == placed[room][1])
        assert room not in nodes["n2" if node == "n1" else "n1"].rooms, f"two nodes hold {room}"
    assert wish(router, "n1") == ("enabled", None)
    begun = time.monotonic()
    until("five more would have moved", lambda: time.monotonic() - begun > 1)
    assert {owner(router.join(room)) for room in placed} == set(settled.values())


def test_livekit_1032_undo_brings_back_what_was_before_and_repeating_changes_nothing(two):
    router, _ = two
    assert undrain(router, "n1").status == 204 and wish(router, "n1")[0] == "enabled"
    router.put("/v1/nodes/n1/cordon")
    until("cordoned", lambda: wish(router, "n1")[0] == "cordoned")
    assert undrain(router, "n1").status == 204 and wish(router, "n1")[0] == "cordoned", "undoing no drain uncordoned the node"
    drain(router, "n1", policy="wait", deadline_ms=60000)
    until("draining", lambda: wish(router, "n1")[0] == "draining")
    since = wish(router, "n1")[1]["since"]
    for _ in range(3):
        assert drain(router, "n1", policy="wait", deadline_ms=60000).status == 204
    until("read anew", lambda: wish(router, "n1")[1])
    assert wish(router, "n1")[1]["since"] == since, "a repetition moved the deadline"
    assert drain(router, "n1", policy="wait", deadline_ms=90000).status == 204
    until("another deadline counts from now", lambda: wish(router, "n1")[1]["since"] > since)
    for _ in range(2):
        assert undrain(router, "n1").status == 204
        until("cordoned again", lambda: wish(router, "n1") == ("cordoned", None))
    assert router.metric('usher_events_total{type="drain_started"}') == 1


def test_an_operators_drain_outlives_the_node_and_its_own_does_not(two):
    router, nodes = two
    n1 = nodes["n1"]
    drain(router, "n1", policy="wait")
    until("draining", lambda: wish(router, "n1")[0] == "draining")
    assert drain(router, "n1", policy="move", incarnation=n1.incarnation).status == 204
    assert wish(router, "n1")[1]["by"] == "operator" and wish(router, "n1")[1]["policy"] == "wait", "the node weakened it"
    assert undrain(router, "n1", f"?incarnation={n1.incarnation}").code() == "conflict"
    before, n1.incarnation = n1.incarnation, n1.incarnation + ".2"
    assert n1.register(replaces=before).status == 201
    assert n1.beat().json()["state"] == "draining"
    assert undrain(router, "n1").status == 204

    drain(router, "n1", policy="wait", incarnation=n1.incarnation)
    until("its own", lambda: wish(router, "n1")[0] == "draining")
    assert wish(router, "n1")[1]["by"] == "node" and n1.beat().json()["state"] == "draining"
    assert undrain(router, "n1", f"?incarnation={n1.incarnation}").status == 204
    drain(router, "n1", policy="wait", incarnation=n1.incarnation)
    before, n1.incarnation = n1.incarnation, n1.incarnation + ".3"
    assert n1.register(replaces=before).status == 201
    assert n1.beat().json()["state"] == "ready"
    router.wait_placeable("n1")


def control(agent, method, path, epoch, **body):
    return call(method, f"{control_of(agent)}/rooms/{path}", {"epoch": epoch, **body} if body else None)


def test_a_draining_agent_opens_nothing_new_and_is_asked_again_once_that_is_undone(stage):
    router = stage.router(*FAST)
    agent = stage.agent("n1", [router])
    router.wait_placeable("n1")
    assert control(agent, "PUT", "before", 5, fresh=True).status == 200
    drain(router, "n1", policy="wait")
    answer = until("it has heard of it", lambda: (a := control(agent, "PUT", f"x{time.monotonic_ns()}", 5, fresh=True)).status == 409 and a)
    assert "drained" in answer.json()["detail"]
    assert control(agent, "PUT", "lost", 5, fresh=False).status == 200, "a room that it had lost"
    for i in range(3):
        assert undrain(router, "n1").status == 204
        assert owner(router.join(f"after-{i}"))[0] == "n1", "the agent has not heard yet, and the join could not wait"
        drain(router, "n1", policy="wait")
        until("it has heard of it", lambda: control(agent, "PUT", f"y{time.monotonic_ns()}", 5, fresh=True).status == 409)


# -- what breaks in the middle --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("mode", ["hang", "500", "reset"])
def test_without_the_control_call_it_works_by_heartbeats(two, mode):
    router, nodes = two
    placed = one_with_rooms(router, nodes)
    nodes["n1"].beat()
    nodes["n1"].mode = mode
    drain(router, "n1", policy="move")

    def emptied():
        obey(nodes["n1"])
        return router.node("n1")["state"] == "drained"
    until("n1 is drained", emptied, 40)
    until("the last is opened", lambda: set(nodes["n2"].rooms) == set(placed))
    assert not nodes["n1"].rooms and not nodes["n1"].evicted
    for room in placed:
        assert nodes["n2"].rooms[room] == owner(router.join(room))[1]


def test_a_node_that_holds_on_keeps_its_rooms_from_others(two):
    router, nodes = two
    placed = one_with_rooms(router, nodes, 2)
    nodes["n1"].beat()
    nodes["n1"].mode = "hang"
    drain(router, "n1", policy="move")
    until("it is asked to let go", lambda: any(a.json()["evict"] for a in nodes["n1"].answers[-1:]))
    for _ in range(4):
        nodes["n1"].beat()
        assert not nodes["n2"].rooms, "a room that its node still holds was given away"
    assert router.join("r-0").code() == "room_moving"
    nodes["n1"].mode = "ok"
    until("both have moved", lambda: set(nodes["n2"].rooms) == set(placed))
    assert until("a join goes there", lambda: router.join("r-0").status == 200)


def test_the_node_dies_in_the_middle(two):
    router, nodes = two
    placed = one_with_rooms(router, nodes)
    nodes["n1"].beat()
    nodes["n1"].mode = "hang"
    drain(router, "n1", policy="move")
    until("rooms are moving", lambda: any(a.json()["evict"] for a in nodes["n1"].answers[-1:]))
    nodes["n1"].stop_beating()
    nodes["n1"].vanish()
    until("all rooms are elsewhere", lambda: set(nodes["n2"].rooms) == set(placed), 40)
    for room in placed:
        node, epoch = owner(until("an answer", lambda: (a := router.join(room)).status == 200 and a))
        assert node == "n2" and nodes["n2"].rooms[room] == epoch


def test_jitsi_957_no_other_node_is_left_and_the_rooms_stay_in_use(stage):
    router = stage.router(*FAST)
    node = stage.node("n1", router)
    node.report_rooms = True
    router.wait_placeable("n1")
    placed = place(router, "r", 3)
    drain(router, "n1", policy="move")
    until("it was tried", lambda: (router.node("n1")["drain"] or {}).get("failed", 0) > 0)
    for room, held in placed.items():
        assert owner(router.join(room)) == held
    assert not node.evicted and router.join("new").code() == "all_draining"
    other = stage.node("n2", router)
    until("they move once there is one", lambda: set(other.rooms) == set(placed))
    assert not node.rooms


def test_the_router_that_drives_it_is_killed(stage):
    redis = stage.redis()
    a, b, c = (stage.router(f"registry.url={redis.url}", "drain.moves_per_second=10", *FAST) for _ in range(3))
    nodes = {name: stage.node(name, c) for name in ("n1", "n2")}
    for node in nodes.values():
        node.report_rooms = True
    for router in (a, b, c):
        router.wait_placeable("n1", "n2")
    placed = one_with_rooms(c, nodes, 40)
    until("all routers know each other", lambda: len(c.get("/v1/routers").json()["routers"]) == 3)
    assert drain(a, "n1", policy="move", deadline_ms=60000).status == 204
    until("it has begun", lambda: len(nodes["n2"].rooms) > 3)
    a.kill()
    b.kill()
    until("all have moved", lambda: set(nodes["n2"].rooms) == set(placed), 60)
    until("n1 is drained", lambda: c.node("n1")["state"] == "drained")
    assert not nodes["n1"].rooms
    for room in placed:
        assert nodes["n2"].rooms[room] == owner(c.join(room))[1]


def test_a_move_whose_router_died_is_gone_on_with(stage):
    redis = stage.redis()
    a, b = (stage.router(f"registry.url={redis.url}", *FAST) for _ in range(2))
    nodes = {name: stage.node(name, b) for name in ("n1", "n2")}
    for node in nodes.values():
        node.report_rooms = True
    for router in (a, b):
        router.wait_placeable("n1", "n2")
    placed = one_with_rooms(b, nodes, 2)
    a.wait_placeable("n2")
    nodes["n1"].beat()
    nodes["n1"].mode = "hang"
    for room in placed:
        assert a.post(f"/v1/rooms/{room}/move").status == 202
    a.kill()
    nodes["n1"].mode = "ok"
    assert owner(until("a join meets it", lambda: (j := b.join("r-0")).status == 200 and j))[0] == "n2"
    until("the sweep meets the other", lambda: set(nodes["n2"].rooms) == set(placed), 40)


def test_a_room_that_must_leave_returns_to_its_node_if_no_other_takes_it(two):
    router, nodes = two
    one_with_rooms(router, nodes, 1)
    nodes["n1"].beat()
    nodes["n1"].mode = "hang"
    drain(router, "n1", policy="move")
    until("it must leave", lambda: any(a.json()["evict"] for a in nodes["n1"].answers[-1:]))
    undrain(router, "n1")
    router.wait_placeable("n1")
    router.delete(f"/v1/nodes/n2?incarnation={nodes['n2'].incarnation}")
    nodes["n2"].stop_beating()
    until("n2 has left", lambda: not (router.node("n2") or {}).get("placeable"))
    nodes["n1"].mode = "ok"
    node, epoch = owner(until("it is back", lambda: (a := router.join("r-0")).status == 200 and a))
    assert node == "n1" and nodes["n1"].rooms == {"r-0": epoch} and nodes["n1"].evicted


def test_a_drain_that_was_told_is_not_told_again_by_a_router_that_starts(stage):
    redis = stage.redis()
    a = stage.router(f"registry.url={redis.url}", *FAST)
    stage.node("n1", a)
    a.wait_placeable("n1")
    drain(a, "n1", policy="move")
    until("done", lambda: a.metric('usher_events_total{type="drain_done"}') == 1)
    b = stage.router(f"registry.url={redis.url}", *FAST)
    until("b sees it", lambda: (b.node("n1") or {}).get("state") == "drained")
    until("b is heard of", lambda: len(b.get("/v1/routers").json()["routers"]) == 2)
    assert b.metric('usher_events_total{type="drain_done"}') == 0


# -- one room -------------------------------------------------------------------------------------------------------------------
def test_moving_one_room_sends_its_participants_along(stage):
    router = stage.router(*FAST)
    for name in ("n1", "n2", "n3"):
        stage.agent(name, [router])
    router.wait_placeable("n1", "n2", "n3")

    async def run():
        async with Follower(router) as follower, websockets.connect(signal_url(router, "r")) as ws:
            await ws.send("hello")
            assert await ws.recv() == "hello"
            node, epoch = owner(await asyncio.to_thread(router.join, "r"))
            to = next(name for name in ("n1", "n2", "n3") if name != node)
            answer = await asyncio.to_thread(router.post, "/v1/rooms/r/move", {"node": to, "epoch": epoch})
            assert answer.status == 202 and answer.json() == {"room": "r", "from": node, "epoch": epoch}, answer
            code, reason = await receive_close(ws)
            assert code == 1012 and reason.startswith("room_moved;retry="), (code, reason)
            moved = await follower.saw("room_moved", room="r", node=to)
            async with websockets.connect(signal_url(router, "r")) as again:
                await again.send("back")
                assert await again.recv() == "back"
            now = owner(await asyncio.to_thread(router.join, "r"))
            assert now == (to, moved[2]["epoch"]) and now[1] > epoch
    asyncio.run(run())


def test_a_drain_sends_participants_to_the_new_node(stage):
    router = stage.router(*FAST)
    for name in ("n1", "n2"):
        stage.agent(name, [router])
    router.wait_placeable("n1", "n2")

    async def run():
        tunnels = {room: await websockets.connect(signal_url(router, room)) for room in ("a", "b", "c", "d")}
        held = {room: owner(await asyncio.to_thread(router.join, room)) for room in tunnels}
        gone = held["a"][0]
        assert (await asyncio.to_thread(drain, router, gone, policy="move")).status == 204
        for room, ws in tunnels.items():
            if held[room][0] != gone:
                continue
            code, reason = await receive_close(ws)
            assert code == 1012 and reason.startswith("room_moved;retry="), (code, reason)
            async with websockets.connect(signal_url(router, room)) as again:
                await again.send("x")
                assert await again.recv() == "x"
        for room, ws in tunnels.items():
            if held[room][0] != gone:
                await ws.send("still here")
                assert await ws.recv() == "still here"
        await asyncio.to_thread(until, "drained", lambda: router.node(gone)["state"] == "drained")
    asyncio.run(run())


# -- bad input ------------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def fleet(shared_stage):
    router = shared_stage.router()
    for name in ("n1", "n2", "n3"):
        shared_stage.node(name, router)
    router.wait_placeable("n1", "n2", "n3")
    router.put("/v1/nodes/n3/drain", {"policy": "wait"})
    router.put("/v1/nodes/n2/cordon")
    until("n2, n3 take nothing", lambda: not router.node("n2")["placeable"] and not router.node("n3")["placeable"])
    return router, owner(router.join("r"))


@pytest.mark.parametrize("method,path,body,code,named", [
    ("PUT", "/v1/nodes/nobody/drain", {}, "unknown_node", "nobody"), ("DELETE", "/v1/nodes/nobody/drain", None, "unknown_node", "nobody"),
    ("PUT", "/v1/nodes/no%20node/drain", {}, "invalid_node", "node"),
    ("PUT", "/v1/nodes/n1/drain", {"deadline_ms": -1}, "bad_request", "deadline_ms"),
    ("PUT", "/v1/nodes/n1/drain", {"deadline_ms": 0}, "bad_request", "deadline_ms"),
    ("PUT", "/v1/nodes/n1/drain", {"deadline_ms": 1.5}, "bad_request", "deadline_ms"),
    ("PUT", "/v1/nodes/n1/drain", {"deadline_ms": 604800001}, "bad_request", "deadline_ms"),
    ("PUT", "/v1/nodes/n1/drain", {"deadline_ms": "soon"}, "bad_request", "deadline_ms"),
    ("PUT", "/v1/nodes/n1/drain", {"policy": "push"}, "bad_request", "policy"),
    ("PUT", "/v1/nodes/n1/drain", {"incarnation": "a b"}, "bad_request", "incarnation"),
    ("PUT", "/v1/nodes/n1/drain", {"incarnation": "another"}, "stale_incarnation", "incarnation"),
    ("PUT", "/v1/nodes/n1/drain", b"[]", "bad_request", ""),
    ("DELETE", "/v1/nodes/n1/drain?incarnation=a%20b", None, "bad_request", "incarnation"),
    ("DELETE", "/v1/nodes/n1/drain?incarnation=another", None, "stale_incarnation", "incarnation"),
    ("POST", "/v1/rooms/nowhere/move", {}, "not_found", "room"),
    ("POST", "/v1/rooms/r/move", {"node": "nobody"}, "unknown_node", "nobody"),
    ("POST", "/v1/rooms/r/move", {"node": "a b"}, "bad_request", "node"),
    ("POST", "/v1/rooms/r/move", {"node": "n3"}, "conflict", "draining"),
    ("POST", "/v1/rooms/r/move", {"node": "n2"}, "conflict", "cordoned"),
    ("POST", "/v1/rooms/r/move", {"node": "n1"}, "conflict", "n1"),
    ("POST", "/v1/rooms/r/move", {"epoch": 1}, "stale_epoch", "epoch"),
    ("POST", "/v1/rooms/r/move", {"epoch": -1}, "bad_request", "epoch"),
    ("POST", "/v1/rooms/r/move", {}, "no_capacity", "")])
def test_bad_input_names_its_fault_and_changes_nothing(fleet, method, path, body, code, named):
    router, held = fleet
    headers = {"Content-Type": "application/json"} if isinstance(body, bytes) else None
    before = [(wish(router, name)[0], router.node(name)["state"]) for name in ("n1", "n2", "n3")]
    answer = call(method, router.url + path, body, headers=headers)
    assert answer.code() == code and named in answer.json().get("detail", ""), answer
    assert owner(router.get("/v1/rooms/r/route")) == held
    assert [(wish(router, name)[0], router.node(name)["state"]) for name in ("n1", "n2", "n3")] == before


# -- the figure -----------------------------------------------------------------------------------------------------------------
def test_one_of_five_nodes_is_drained_within_its_deadline_without_a_failed_join(stage):
    redis = stage.redis()
    # A busy machine is not what this is about: half a second of its own may be too short for the store.
    routers = [stage.router(f"registry.url={redis.url}", "limits.connections_per_address=5000", "registry.timeout_ms=3000", *FAST)
               for _ in range(3)]
    names = [f"n{i}" for i in range(5)]
    for name in names:
        stage.agent(name, routers)
    for router in routers:
        router.wait_placeable(*names)
    rooms = [f"room-{i}" for i in range(200)]
    for room in rooms:
        assert routers[0].join(room).status == 200
    assert rooms_on(routers[0], "n2"), "nothing to drain"
    answers, stop = [], asyncio.Event()

    async def join_for_ever(which):
        client, n = Client(routers[which % 3].url), which
        while not stop.is_set():
            n += 7
            room = rooms[n % len(rooms)] if n % 5 else f"new-{which}-{n}"
            answers.append(await client.request("POST", f"/v1/rooms/{room}/join"))
            await asyncio.sleep(0.02)
        client.close()

    async def run():
        load = [asyncio.create_task(join_for_ever(i)) for i in range(20)]
        begun = time.monotonic()
        assert (await asyncio.to_thread(drain, routers[1], "n2", policy="move", deadline_ms=30000)).status == 204
        while (await asyncio.to_thread(routers[2].node, "n2"))["state"] != "drained":
            assert time.monotonic() - begun < 30, "not within the deadline"
            await asyncio.sleep(0.2)
        took = time.monotonic() - begun
        stop.set()
        await asyncio.gather(*load)
        return took
    took = asyncio.run(run())
    failed = [answer for answer in answers if answer.status != 200]
    print(f"drained in {took:.1f} s, {len(answers)} joins, {len(failed)} failed")
    assert len(answers) > 1000 and not failed, failed[:3]
    assert not rooms_on(routers[0], "n2")
    for room in rooms:
        assert len({owner(router.join(room)) for router in routers}) == 1 and owner(routers[0].join(room))[0] != "n2"
    for router in routers:
        assert router.metric('usher_events_total{type="drain_expired"}') == 0


# -- hooks ----------------------------------------------------------------------------------------------------------------------
def hook_of(kind):
    """The command that stops, given the node as HOSTNAME or as an argument."""
    if kind == "systemd":
        return [str(ROOT / "deploy/systemd/usher-drain"), "sfu-1", "15000"]
    line = next(row for row in (ROOT / "deploy/kubernetes/prestop.yaml").read_text().splitlines() if "command:" in row)
    return json.loads(line.split("command:", 1)[1])


@pytest.mark.parametrize("kind", ["systemd", "kubernetes"])
def test_a_stop_hook_empties_the_node_and_the_next_process_takes_rooms(stage, kind):
    router = stage.router(*FAST)
    nodes = {name: stage.node(name, router) for name in ("sfu-1", "sfu-2")}
    router.wait_placeable("sfu-1", "sfu-2")
    placed = place(router, "r", 12)
    env = {**os.environ, "PATH": f"{BUILD / 'client/ctl'}:{os.environ['PATH']}", "USHER_URL": router.url, "HOSTNAME": "sfu-1"}
    done = subprocess.run(hook_of(kind), env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "sfu-1 is drained" in done.stdout, done
    until("the last is opened", lambda: set(nodes["sfu-2"].rooms) == set(placed))
    assert not nodes["sfu-1"].rooms
    before, nodes["sfu-1"].incarnation = nodes["sfu-1"].incarnation, nodes["sfu-1"].incarnation + ".2"
    assert nodes["sfu-1"].register(replaces=before).status == 201
    router.wait_placeable("sfu-1")


def test_a_stop_hook_without_a_router_lets_the_sfu_stop(stage):
    env = {**os.environ, "PATH": f"{BUILD / 'client/ctl'}:{os.environ['PATH']}", "USHER_URL": "http://127.0.0.1:9"}
    done = subprocess.run(hook_of("systemd"), env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "stops all the same" in done.stderr, done
