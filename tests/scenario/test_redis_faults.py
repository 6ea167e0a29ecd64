# SPDX-License-Identifier: Apache-2.0
"""A Redis that hangs, restarts, forgets its scripts, or cuts the link that announces changes."""
import asyncio
import signal
import time

import pytest
import websockets

from harness import until
from test_one_owner import owner


@pytest.fixture
def pair(stage):
    redis = stage.redis()
    routers = [stage.router(f"registry.url={redis.url}", "registry.timeout_ms=300", "rooms.trust_ms=1000", "server.park_ms=200",
                            "nodes.lease_ms=60000") for _ in range(2)]
    node = stage.node("n1", *routers)
    for router in routers:
        router.wait_placeable("n1")
    return redis, routers, node


def test_a_redis_that_never_answers_costs_one_budget_and_no_known_room(pair):
    redis, (router, other), node = pair
    known = owner(router.join("known"))
    redis.signal(signal.SIGSTOP)
    started = time.monotonic()
    answer = router.join("new-room")
    assert answer.code() == "store_unavailable", answer
    assert time.monotonic() - started < 2, "more than one budget"
    for _ in range(20):
        assert owner(router.join("known")) == known
        assert router.get("/livez").status == 200
    # Beyond trust_ms the entry is asked again before use, and used as it is when nobody answers.
    until("the store is seen as down", lambda: router.metric("usher_store_up") == 0)
    assert owner(router.join("known")) == known
    assert router.get("/readyz").status == 200
    redis.signal(signal.SIGCONT)
    until("new rooms again", lambda: router.join("new-room").status == 200)
    assert owner(router.join("known")) == known


def test_a_restarted_redis_is_found_again(stage, pair):
    redis, (router, other), node = pair
    known = owner(router.join("known"))
    redis.kill()
    assert owner(router.join("known")) == known
    again = stage.redis(port=redis.port)
    node.report_rooms = True  # the store is whole again once it has told them
    node.stop_beating()

    def back():
        answer = node.beat()
        if answer.code() == "unknown_node":
            node.register()
        return answer.status == 200 and answer.json()["renewed"]
    until("the node is back", back)
    node.start_beating()
    until("new rooms again", lambda: router.join("after").status == 200)
    assert again.command("PING") == b"+PONG\r\n"


def test_a_script_flush_is_not_noticed(pair):
    redis, (router, other), node = pair
    assert router.join("one").status == 200
    assert redis.command("SCRIPT", "FLUSH") == b"+OK\r\n"
    assert router.join("two").status == 200
    assert other.join("three").status == 200


def test_changes_by_others_are_seen_through_the_link(pair):
    redis, (router, other), node = pair
    _, epoch = owner(router.join("moves"))
    assert owner(other.join("moves"))[1] == epoch
    assert other.delete(f"/v1/rooms/moves?epoch={epoch}").status == 204
    until("the other router's delete is known here", lambda: router.get("/v1/rooms/moves/route").status == 404, 2)


def test_a_cut_link_makes_no_stale_answer_last(pair):
    redis, (router, other), node = pair
    _, epoch = owner(router.join("moves"))
    redis.command("CLIENT", "KILL", "TYPE", "pubsub")
    assert other.delete(f"/v1/rooms/moves?epoch={epoch}").status == 204
    until("the delete is known here", lambda: router.get("/v1/rooms/moves/route").status == 404, 3)


TRUST_MS = 1000


@pytest.mark.parametrize("fault", ["cut", "black_hole"])
def test_stale_answers_last_no_longer_than_trust(stage, fault):
    """The link that announces changes falls silent (or is reset and cannot come back): what another router changes is known here
    within rooms.trust_ms, and two more of the link's seconds for noticing."""
    redis = stage.redis()
    wire = stage.wire(redis.port)
    sets = (f"rooms.trust_ms={TRUST_MS}", "nodes.lease_ms=60000", "server.park_ms=200")
    router, other = stage.router(f"registry.url=redis://127.0.0.1:{wire.port}", *sets), stage.router(f"registry.url={redis.url}", *sets)
    stage.node("n1", router)
    for r in (router, other):
        r.wait_placeable("n1")
    _, epoch = owner(router.join("moves"))
    until("the room is in the table", lambda: router.join("moves").json()["source"] == "table")
    announces = lambda said: b"SUBSCRIBE" in said.upper()
    if fault == "cut":
        wire.cut(announces, refuse=True)
    else:
        assert wire.black_hole(announces) >= 1
    assert other.delete(f"/v1/rooms/moves?epoch={epoch}").status == 204
    _, newer = owner(other.join("moves"))
    assert newer > epoch
    started = time.monotonic()
    until("the change is known here", lambda: owner(router.join("moves"))[1] == newer, 5)
    assert time.monotonic() - started < TRUST_MS / 1000 + 2
    wire.heal()
    until("announcements are trusted again", lambda: router.join("moves").json()["source"] == "table")
    assert other.delete(f"/v1/rooms/moves?epoch={newer}").status == 204
    until("the next change is announced", lambda: router.get("/v1/rooms/moves/route").status == 404, 2)


def test_one_slow_reply_is_not_told_as_a_store_that_is_away(stage):
    """`degraded` keeps a node serving past its lease: said too soon, it would outlive the lease while others place its rooms."""
    redis = stage.redis()
    router = stage.router(f"registry.url={redis.url}", "registry.timeout_ms=300", "nodes.heartbeat_ms=5000", "nodes.lease_ms=60000")
    node = stage.node("n1", router, heartbeat=False)
    assert node.beat().json()["renewed"] is True
    assert router.put("/v1/nodes/n1/cordon").status == 204
    until("the fleet was read just now", lambda: (router.node("n1") or {}).get("state") == "cordoned")
    redis.client().execute_command("CLIENT", "PAUSE", "60000", "WRITE")
    answer = node.beat()
    redis.client().execute_command("CLIENT", "UNPAUSE")
    assert answer.code() == "store_unavailable", answer
    until("it goes on", lambda: node.beat().status == 200 and node.answers[-1].json()["renewed"])


@pytest.mark.parametrize("how", ["tunnel", "request"])
def test_a_stale_entry_leads_to_a_gate_that_refuses_and_the_request_follows(stage, how):
    redis = stage.redis()
    wire = stage.wire(redis.port)
    sets = ("rooms.trust_ms=60000", "nodes.lease_ms=60000", "registry.timeout_ms=5000", "server.park_ms=1000")
    router, other = stage.router(f"registry.url=redis://127.0.0.1:{wire.port}", *sets), stage.router(f"registry.url={redis.url}", *sets)
    stage.agent("n1", [other])
    for r in (router, other):
        r.wait_placeable("n1")
    _, epoch = owner(router.join("moves"))
    until("the room is in the table", lambda: router.join("moves").json()["source"] == "table")
    assert wire.black_hole(lambda said: b"SUBSCRIBE" in said.upper()) >= 1
    assert other.delete(f"/v1/rooms/moves?epoch={epoch}").status == 204
    _, newer = owner(other.join("moves"))
    assert owner(router.join("moves")) == ("n1", epoch), "the change was heard of all the same"

    async def talk():
        async with websockets.connect(f"ws://{router.url[7:]}/v1/rooms/moves/signal") as tunnel:
            await tunnel.send("hello")
            assert await tunnel.recv() == "hello"
    if how == "tunnel":
        asyncio.run(talk())
    else:
        assert router.get("/v1/rooms/moves/signal/x").status == 200
    assert owner(router.join("moves")) == ("n1", newer)


def test_a_store_behind_a_black_hole_costs_one_budget_and_is_found_again(stage):
    redis = stage.redis()
    wire = stage.wire(redis.port)
    router = stage.router(f"registry.url=redis://127.0.0.1:{wire.port}", "registry.timeout_ms=300", "nodes.lease_ms=60000")
    stage.node("n1", router)
    router.wait_placeable("n1")
    known = owner(router.join("known"))
    wire.black_hole()
    started = time.monotonic()
    assert router.join("new").code() == "store_unavailable"
    assert time.monotonic() - started < 1.5
    assert owner(router.join("known")) == known
    # Connections made from now on work: those that are stuck must be given up, not waited for.
    until("new rooms again", lambda: router.join("new").status == 200, 5)


def test_the_store_down_at_the_start_is_said_and_waited_out(stage):
    redis = stage.redis()
    redis.signal(signal.SIGSTOP)
    router = stage.router(f"registry.url={redis.url}")
    answer = router.get("/readyz")
    assert answer.status == 503 and answer.code() == "store_unavailable"
    assert router.get("/livez").status == 200
    redis.signal(signal.SIGCONT)
    until("ready", lambda: router.get("/readyz").status == 200)
