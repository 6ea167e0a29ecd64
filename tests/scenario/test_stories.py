# SPDX-License-Identifier: Apache-2.0
"""Failures that users of comparable systems reported, each named after its thread; those of placement, Redis, drain and the gate
stand with their own kind."""
import asyncio
import json
import threading
import time

import pytest
import websockets

from harness import call, until
from redis_fleet import Cluster
from test_one_owner import owner

FAST = ("nodes.heartbeat_ms=500", "nodes.lease_ms=1000", "nodes.grace_ms=200", "nodes.unfenced_ms=1200")


def listed(router, **query):
    text = "&".join(f"{k}={v}" for k, v in query.items())
    return {row["room"]: row for row in router.get(f"/v1/rooms?limit=1000&{text}").json()["rooms"]}


def test_livekit_4593_delete_and_recreate_meets_nothing_of_the_old_room(stage):
    router = stage.router()
    agent = stage.agent("n1", [router])
    until("placeable", lambda: (router.node("n1") or {}).get("placeable"))
    control = "http://" + agent.event("started")["control_listen"]
    _, first = owner(router.join("again"))
    for _ in range(3):
        assert router.delete(f"/v1/rooms/again?epoch={first}").status == 204
        _, second = owner(router.join("again"))
        assert second > first
        held = [r for r in call("GET", control + "/rooms").json()["rooms"] if r["room"] == "again"]
        assert [r["epoch"] for r in held] == [second], held
        first = second


def test_livekit_3317_a_room_with_people_outlives_every_ttl(stage):
    router = stage.router("rooms.idle_ttl_ms=1000", "rooms.unreported_ttl_ms=1600")  # a use is written once a second
    reports, silent = stage.node("reports", router, pool="a"), stage.node("silent", router, pool="b")
    router.wait_placeable("reports", "silent")
    reports.report_rooms = True
    assert owner(router.join("talk", {"pool": "a"}))[0] == "reports"
    assert owner(router.join("idle", {"pool": "a"}))[0] == "reports"
    assert owner(router.join("used", {"pool": "b"}))[0] == "silent"
    people = {"talk": 2, "idle": 0}
    beat = reports.beat
    reports.beat = lambda router=0, **more: beat(router, rooms=[{"room": r, "epoch": e, "participants": people.get(r, 0)}
                                                                for r, e in reports.rooms.items()], **more)
    reports.report_rooms = False
    started = time.monotonic()

    def swept():
        # Requests of the room's people are what a node that reports no rooms has for a sign of life.
        assert router.get("/v1/rooms/used/signal").status == 200
        return "idle" not in listed(router)
    until("the idle room is swept", swept)
    until("three times the ttl are over", lambda: swept() and time.monotonic() - started > 5)
    assert set(listed(router)) == {"talk", "used"}
    people["talk"] = 0
    until("the room that was left is swept, too", lambda: "talk" not in listed(router))
    assert ("talk", reports.evicted[-1][1]) in reports.evicted


def test_a_silent_tunnel_keeps_a_room_that_nobody_reports(stage):
    router = stage.router("rooms.unreported_ttl_ms=4000")

    async def hold(ws):
        await ws.wait_closed()

    async def run():
        async with websockets.serve(hold, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            await asyncio.to_thread(stage.node, "silent", router, signal_url=f"ws://127.0.0.1:{port}/")
            await asyncio.to_thread(router.wait_placeable, "silent")
            assert (await asyncio.to_thread(router.join, "left")).status == 200
            async with websockets.connect(f"ws://{router.url[7:]}/v1/rooms/held/signal"):
                await asyncio.to_thread(until, "the room that was left is swept", lambda: "left" not in listed(router))
                began = time.monotonic()
                await asyncio.to_thread(until, "one more ttl is over", lambda: "held" not in listed(router) or time.monotonic() - began > 5)
                assert "held" in await asyncio.to_thread(listed, router)
            await asyncio.to_thread(until, "it is swept when it is left", lambda: "held" not in listed(router))
    asyncio.run(run())


@pytest.mark.parametrize("how", ["join", "delete", "sweep"])
def test_livekit_3766_rooms_of_vanished_nodes_are_listed_joinable_deletable_and_swept(stage, how):
    router = stage.router(*FAST, "rooms.idle_ttl_ms=1000", "rooms.unreported_ttl_ms=2000")
    gone, stays = stage.node("gone", router), None
    router.wait_placeable("gone")
    epochs = {room: owner(router.join(room))[1] for room in ("a", "b")}
    stays = stage.node("stays", router)
    gone.stop_beating()
    gone.vanish()
    until("the node is lost", lambda: router.node("gone")["state"] == "lost")
    router.wait_placeable("stays")
    assert {row["state"] for row in listed(router).values()} == {"lost"}
    assert set(listed(router, node="gone")) == {"a", "b"}
    if how == "join":
        name, epoch = owner(router.join("a"))
        assert name == "stays" and epoch > epochs["a"] and stays.rooms["a"] == epoch
        assert listed(router)["a"]["state"] == "open"
    elif how == "delete":
        assert router.delete(f"/v1/rooms/a?epoch={epochs['a']}").status == 204
        assert "a" not in listed(router)
    else:
        until("they are swept", lambda: not listed(router))


@pytest.mark.parametrize("known", [True, False])
def test_joins_that_may_not_wait_place_rooms_of_a_lost_node_anew(stage, known):
    """With server.park_ms=0 none of them waits until the owner's loss is sure; one of the next must find it so."""
    redis = stage.redis()
    sets = (f"registry.url={redis.url}", *FAST, "server.park_ms=0", "rooms.idle_ttl_ms=60000")
    router = stage.router(*sets)
    gone = stage.node("gone", router)
    router.wait_placeable("gone")
    _, epoch = owner(router.join("a"))
    gone.stop_beating()
    until("the node is lost", lambda: router.node("gone")["state"] == "lost")
    if not known:  # a router that has the room from the store only
        router = stage.router(*sets)
    stays = stage.node("stays", router)
    router.wait_placeable("stays")
    first = router.join("a")
    assert first.status == 200 or first.code() == "owner_lost", first
    name, later = owner(until("a join finds the owner lost", lambda: next((a for a in [router.join("a")] if a.status == 200), None), 10))
    assert name == "stays" and later > epoch and stays.rooms["a"] == later


def test_an_owner_that_took_its_room_back_is_not_given_up_by_an_older_reading_of_the_nodes(stage):
    """It was missed for long; the record says that it is back, what was read of the nodes does not yet."""
    redis = stage.redis()
    router = stage.router(f"registry.url={redis.url}", *FAST, "server.park_ms=0", "rooms.idle_ttl_ms=60000")
    gone = stage.node("gone", router)
    router.wait_placeable("gone")
    _, epoch = owner(router.join("a"))
    gone.stop_beating()
    until("the node is lost", lambda: router.node("gone")["state"] == "lost")
    key, = redis.client().keys("usher:r:*")
    until("it is missed", lambda: router.join("a").code() == "no_nodes")  # given up, and there is no other
    other = stage.node("other", router, heartbeat=False)
    assert redis.client().hincrby(key, "reg", 1) > 0
    assert router.join("a").code() == "owner_lost"
    assert not other.opens


def test_a_living_owner_that_the_list_of_nodes_has_lost_keeps_its_rooms(stage):
    """A leaving that was told late, or a failover, takes it off the list; its own record says that it is there."""
    redis = stage.redis()
    router = stage.router(f"registry.url={redis.url}", "nodes.lease_ms=60000", "nodes.heartbeat_ms=300", "server.park_ms=2000",
                          "rooms.idle_ttl_ms=60000")
    lives = stage.node("lives", router)
    router.wait_placeable("lives")
    held = owner(router.join("r"))
    stays = stage.node("stays", router)
    router.wait_placeable("stays")
    over = threading.Event()

    def forget():
        while not over.wait(0.02):
            redis.command("SREM", "usher:nodes", "lives")
    thread = threading.Thread(target=forget)
    thread.start()
    try:
        until("it is missed", lambda: router.node("lives") is None)
        answer = router.join("r")
        assert answer.code() == "owner_lost" or owner(answer) == held, answer
    finally:
        over.set()
        thread.join()
    assert owner(until("it is there again", lambda: (a := router.join("r")).status == 200 and a)) == held
    assert not stays.opens and lives.rooms == {"r": held[1]}


@pytest.mark.parametrize("kind", ["redis", "cluster"])
def test_a_node_that_the_list_of_nodes_has_lost_is_listed_again(stage, kind):
    """It died, and a failover forgot that it was ever entered: nobody would see it, judge it or end its rooms."""
    server = stage.redis() if kind == "redis" else Cluster(stage)
    router = stage.router(f"registry.url={server.url}", *FAST, "rooms.idle_ttl_ms=60000")
    until("the store is up", lambda: router.metric("usher_store_up") == 1)
    dead, left = stage.node("dead", router), stage.node("left", router)
    router.wait_placeable("dead", "left")
    until("the store is whole", lambda: router.join("r").status == 200)
    dead.stop_beating(), left.stop_beating()
    assert router.put("/v1/nodes/left/cordon").status == 204
    assert router.delete(f"/v1/nodes/left?incarnation={left.incarnation}").status == 204
    at = server if kind == "redis" else server.owner(server.slot("usher:nodes"))
    assert at.command("SREM", "usher:nodes", "dead", "left") == b":2\r\n"
    until("both are missed", lambda: {row["node"] for row in router.events("node_unlisted")} == {"dead", "left"})
    until("it is lost, as any that is silent", lambda: (router.node("dead") or {}).get("state") == "lost")
    until("the wish is seen again", lambda: (router.node("left") or {}).get("wish") == "cordoned")
    # What is gone does not come back.
    assert router.delete("/v1/nodes/left/cordon").status == 204
    assert router.delete(f"/v1/nodes/dead?incarnation={dead.incarnation}").status == 204
    until("the list is empty", lambda: at.command("SCARD", "usher:nodes") == b":0\r\n")
    until("and seen so", lambda: router.get("/v1/nodes").json()["nodes"] == [])
    assert at.command("SCARD", "usher:nodes") == b":0\r\n"


def test_people_in_a_room_of_a_lost_node_keep_it_no_longer_than_one_that_nobody_reports(stage):
    router = stage.router(*FAST, "rooms.idle_ttl_ms=1000", "rooms.unreported_ttl_ms=4000")
    node = stage.node("n1", router)
    router.wait_placeable("n1")
    _, epoch = owner(router.join("talk"))
    node.stop_beating()
    assert node.beat(rooms=[{"room": "talk", "epoch": epoch, "participants": 2}]).status == 200
    until("they are known", lambda: listed(router, node="n1").get("talk", {}).get("participants") == 2)
    until("the node is lost", lambda: router.node("n1")["state"] == "lost")
    lost = time.monotonic()
    until("twice the idle time is over", lambda: time.monotonic() - lost > 2)
    assert "talk" in listed(router), "its node may come back for it"
    until("it is swept", lambda: not listed(router))


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_rooms_outlive_neither_a_node_that_left_nor_its_next_process(stage, kind):
    url = f"registry.url={stage.redis().url}" if kind == "redis" else "registry.url=memory:"
    router = stage.router(url, *FAST, "rooms.idle_ttl_ms=2000")
    left, anew, stays = stage.node("left", router, pool="a"), stage.node("anew", router, pool="b"), stage.node("stays", router, pool="c")
    router.wait_placeable("left", "anew", "stays")
    for pool in "abc":
        for i in range(3):
            assert router.join(f"{pool}{i}", {"pool": pool}).status == 200
    left.stop_beating(), anew.stop_beating()
    assert router.delete(f"/v1/nodes/left?incarnation={left.incarnation}").status == 204
    replaced, anew.incarnation = anew.incarnation, anew.incarnation + ".2"
    assert anew.register(replaces=replaced).status == 201
    anew.start_beating()
    # The node's next process has no room of the one before, and nobody joins them again.
    until("their rooms are swept", lambda: len(listed(router)) <= 3)
    began = time.monotonic()
    until("as long again is over", lambda: time.monotonic() - began > 4)
    assert set(listed(router)) == {"c0", "c1", "c2"}


def test_openvidu_a_restarted_node_is_not_taken_for_the_one_before(stage):
    """The next process under a name says whom it replaces: the rooms of the one before are placed anew, before any lease ends."""
    router = stage.router("nodes.lease_ms=60000")
    node = stage.node("n1", router)
    router.wait_placeable("n1")
    first = owner(router.join("r"))
    before, node.incarnation = node.incarnation, node.incarnation + ".next"
    node.stop_beating()
    assert node.register().code() == "node_taken"
    assert owner(router.join("r")) == first
    assert node.register(replaces=before).status == 201 and node.beat().status == 200
    node.rooms.clear()
    router.wait_placeable("n1")
    name, epoch = owner(router.join("r"))
    assert epoch > first[1] and node.rooms == {"r": epoch}


def test_colyseus_968_missed_heartbeats_move_nothing_before_the_lease_ends(stage):
    router = stage.router("nodes.heartbeat_ms=300", "nodes.lease_ms=3000", "server.park_ms=0")
    node, other = stage.node("n1", router, pool="a"), stage.node("n2", router)
    for each in (node, other):
        each.start_beating(0.1)
    router.wait_placeable("n1", "n2")
    first = owner(router.join("stays", {"pool": "a"}))
    node.stop_beating()
    until("the node is late", lambda: router.node("n1")["state"] == "late")
    assert owner(router.join("stays", {"pool": "a"})) == first
    assert router.join("new", {"pool": "a"}).code() == "no_nodes"
    node.start_beating(0.1)
    until("it is back by itself", lambda: router.node("n1")["state"] == "ready")
    assert owner(router.join("stays", {"pool": "a"})) == first
    assert router.metric('usher_events_total{type="node_lost"}') == 0


def test_scalelite_498_one_damaged_record_fails_no_list(stage):
    redis = stage.redis()
    router = stage.router(f"registry.url={redis.url}", "nodes.lease_ms=60000")
    stage.node("n1", router), stage.node("n2", router)
    router.wait_placeable("n1", "n2")
    first = owner(router.join("kept"))
    client = redis.client()
    client.delete("usher:n:{n1}")
    client.set("usher:n:{n1}", "not a hash")
    until("what is missing is said", lambda: any("n1" in part for part in router.get("/v1/nodes").json()["partial"]))
    answer = router.get("/v1/nodes")
    assert answer.status == 200 and "n2" in [node["id"] for node in answer.json()["nodes"]]
    assert owner(router.join("kept")) == first
    assert owner(router.join("new"))[0] in ("n1", "n2")


def test_scalelite_readiness_is_not_200_while_broken(stage):
    redis = stage.redis()
    redis.kill()
    router = stage.router(f"registry.url={redis.url}")
    answer = router.get("/readyz")
    assert (answer.status, answer.code()) == (503, "store_unavailable") and answer.json()["detail"]


def test_colyseus_proxy_10_without_a_node_the_answer_comes_at_once(stage):
    router = stage.router()
    for path in ("join", "signal"):
        started = time.monotonic()
        answer = router.post(f"/v1/rooms/r/{path}")
        assert answer.code() == "no_nodes" and time.monotonic() - started < 1, answer


def test_openvidu_602_no_ticket_when_nothing_has_room(stage):
    router = stage.router("server.park_ms=0")
    node = stage.node("n1", router)
    node.load = {"cpu": 0.99}
    until("full", lambda: "max_load" in (router.node("n1") or {"why_not": []})["why_not"])
    answer = router.join("r")
    assert (answer.status, answer.code()) == (503, "no_capacity") and "signal" not in answer.json()
    assert node.opens == []


def test_scalelite_no_secret_of_the_store_in_answers_metrics_or_log(stage):
    redis = stage.redis()
    redis.client().config_set("requirepass", "hunter2-of-the-store")
    router = stage.router("registry.url=redis://:hunter2-of-the-store@127.0.0.1:%d" % redis.port)
    stage.node("n1", router)
    router.wait_placeable("n1")
    assert router.join("r").status == 200
    redis.kill()
    until("the store is seen as down", lambda: router.metric("usher_store_up") == 0)
    router.join("new")
    said = [router.get(path).body.decode() for path in ("/v1/nodes", "/v1/nodes/n1", "/v1/routers", "/v1/rooms", "/metrics", "/readyz",
                                                       "/v1/rooms/r", "/v1/rooms/r/placement")]
    said.append(router.log.read_text())
    assert not [text for text in said if "hunter2" in text]
    assert json.dumps(said)


def test_an_operator_gives_a_node_up_whose_machine_is_off(stage):
    """No lease is waited for; a process that lives after all registers again, and is told what was taken."""
    router = stage.router("nodes.lease_ms=60000")
    off = stage.node("off", router)
    router.wait_placeable("off")
    _, epoch = owner(router.join("r"))
    stays = stage.node("stays", router)
    router.wait_placeable("stays")
    off.stop_beating()
    for query, code in (("", "bad_request"), ("?force=1", "bad_request"), ("?force=true&incarnation=another", "stale_incarnation")):
        assert router.delete(f"/v1/nodes/off{query}").code() == code
    assert router.delete("/v1/nodes/nobody?force=true").code() == "unknown_node"
    assert owner(router.join("r")) == ("off", epoch)
    assert router.delete("/v1/nodes/off?force=true").status == 204
    until("the workers know", lambda: router.node("off") is None)
    name, newer = owner(router.join("r"))
    assert name == "stays" and newer > epoch
    assert router.event("node_removed")["asked_by"] == "127.0.0.1" and router.event("node_lost")["node"] == "off"
    assert router.node("off") is None
    off.report_rooms = True
    assert off.beat().code() == "unknown_node" and off.register().status == 201
    assert off.beat().json()["evict"] == [{"room": "r", "epoch": epoch}]


def test_what_a_router_ended_itself_is_not_answered_from_its_table(stage):
    """Redis announces a change to all but the connection that made it; and of so many at once, some replies are overtaken."""
    redis = stage.redis()
    router = stage.router(f"registry.url={redis.url}", "server.workers=2", "nodes.lease_ms=60000", "placement.opens_per_node=1000",
                          "placement.max_load=1000", "rooms.idle_ttl_ms=60000")
    node = stage.node("n1", router)
    router.wait_placeable("n1")
    rooms = [f"r{i}" for i in range(600)]
    for room in rooms:
        assert router.join(room).status == 200
    for room in rooms:  # by the table from now on; over new connections, which are dealt to both workers
        assert router.get(f"/v1/rooms/{room}/route").status == 200
    node.stop_beating()  # else the next one may overtake this
    closed = [{"room": room, "epoch": node.rooms.pop(room)} for room in rooms]
    assert node.beat(closed=closed).status == 200
    until("all are forgotten", lambda: redis.command("HLEN", "usher:n:{n1}:rooms") == b":0\r\n")
    assert [room for room in rooms if router.get(f"/v1/rooms/{room}/route").code() != "not_found"] == []
