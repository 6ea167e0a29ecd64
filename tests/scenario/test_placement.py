# SPDX-License-Identifier: Apache-2.0
"""Where new rooms go, and why not."""
import asyncio
import collections

import pytest

from harness import until
from test_one_owner import many_joins, owner


def spread(router, count, connections=200):
    answers = asyncio.run(many_joins([router], lambda i: f"room-{i}", count, connections))
    return collections.Counter(owner(a)[0] for a in answers)


def test_500_rooms_at_once_spread_over_equal_nodes(stage):
    # None is late before all are placed.
    router = stage.router("placement.slow_start_ms=0", "placement.opens_per_node=1000", "limits.connections_per_address=5000",
                          "nodes.heartbeat_ms=5000", "nodes.lease_ms=60000")
    nodes = [stage.node(f"n{i}", router) for i in range(10)]
    router.wait_placeable(*(n.name for n in nodes))
    for node in nodes:
        node.stop_beating()
    found = spread(router, 500)
    assert sum(found.values()) == 500
    assert max(found.values()) / 50 <= 1.1, found


def test_rooms_follow_capacity(stage):
    router = stage.router("placement.slow_start_ms=0", "placement.opens_per_node=1000", "limits.connections_per_address=5000")
    for i, capacity in enumerate((1000, 2000, 4000)):
        stage.node(f"n{i}", router, capacity={"rooms": capacity}).load.update(rooms=0)
    router.wait_placeable("n0", "n1", "n2")
    found = spread(router, 350)
    for name, share in (("n0", 50), ("n1", 100), ("n2", 200)):
        assert share * 0.85 <= found[name] <= share * 1.15, found


def refused(router, body=None):
    return router.join("nowhere", body).code()


def test_no_nodes(stage):
    assert refused(stage.router("server.park_ms=0")) == "no_nodes"


@pytest.mark.parametrize("why,code", [
    ("joining", "no_nodes"), ("cordoned", "all_draining"), ("draining", "all_draining"), ("sick", "no_capacity"),
    ("max_load", "no_capacity"), ("no_load", "no_capacity"), ("region", "region_unavailable"), ("labels", "region_unavailable"),
    ("rooms", "no_capacity"), ("breaker_open", "breaker_open")])
def test_each_filter_alone_refuses_with_its_code(stage, why, code):
    router = stage.router("server.park_ms=0", "breaker.open_ms=60000", "breaker.max_open_ms=60000", "breaker.max_ejected=1")
    info = {"region": "eu", "labels": {"gpu": "no"}, "capacity": {"rooms": 1} if why == "rooms" else {"rooms": 1000}}
    node = stage.node("n1", router, heartbeat=why != "joining", **info)
    body = None
    if why != "joining":
        router.wait_placeable("n1")
    if why == "cordoned":
        assert router.put("/v1/nodes/n1/cordon").status == 204
    elif why in ("draining", "sick"):
        node.state = why
    elif why == "max_load":
        node.load = {"cpu": 0.95}
    elif why == "no_load":
        node.load = {}
    elif why == "region":
        body = {"require": {"region": "us"}}
    elif why == "labels":
        body = {"require": {"gpu": "yes"}}
    elif why == "rooms":
        assert router.join("first").status == 200
    elif why == "breaker_open":
        assert router.join("before").status == 200
        node.mode = "500"
        for i in range(5):
            router.join(f"fails-{i}")
    if body is None and why not in ("joining", "rooms"):
        until(f"the node is seen as {why}", lambda: why in router.node("n1")["why_not"])
    answer = router.join("nowhere", body)
    assert answer.code() == code, answer
    if why == "breaker_open":
        assert int(answer.headers["retry-after"]) >= 1
        assert owner(router.join("before"))[0] == "n1", "an open breaker moved a placed room"
    if why == "cordoned":
        assert router.delete("/v1/nodes/n1/cordon").status == 204
        until("placeable again", lambda: router.node("n1")["placeable"])
        assert router.join("nowhere").status == 200


def test_an_overloaded_node_is_not_clamped(stage):
    router = stage.router("placement.max_load=10", "placement.slow_start_ms=0")
    a, b = stage.node("a", router), stage.node("b", router)
    a.load, b.load = {"cpu": 1.4}, {"cpu": 1.2}
    until("both loads are seen", lambda: router.node("a")["score"] == 1.4 and router.node("b")["score"] == 1.2)
    assert owner(router.join("x"))[0] == "b"


@pytest.mark.parametrize("load,member", [({"cpu": -0.1}, "cpu"), ({"cpu": None}, "cpu"), ({"cpu": 1e10}, "cpu"), ({"cpu": "1"}, "cpu")])
def test_a_bad_load_is_refused_and_changes_nothing(stage, load, member):
    router = stage.router()
    node = stage.node("n1", router, heartbeat=False)
    node.beat()
    before = router.node("n1")["registration"]
    answer = node.beat(load=load)
    assert answer.code() == "bad_request" and member in answer.json()["detail"], answer
    assert router.node("n1")["registration"] == before
    node.seq -= 1
    assert node.beat().json()["renewed"] is True, "the refused heartbeat took its number"


def test_a_join_is_explained(stage):
    router = stage.router()
    stage.node("n1", router, region="eu"), stage.node("n2", router, region="us")
    router.wait_placeable("n1", "n2")
    node, _ = owner(router.join("why", {"region": "eu"}))
    assert node == "n1"
    told = router.get("/v1/rooms/why/placement").json()
    assert told["chosen"] == "n1" and len(told["candidates"]) == 2, told
    simulated = router.post("/v1/placement/simulate", {"require": {"region": "us"}}).json()
    assert simulated["chosen"] == "n2", simulated
    assert router.get("/v1/rooms/simulated/route").code() == "not_found"


def test_known_rooms_are_not_refused_for_load(stage):
    router = stage.router()
    node = stage.node("n1", router, region="eu")
    router.wait_placeable("n1")
    assert router.join("known").status == 200
    node.load = {"cpu": 2.0}
    until("full", lambda: "max_load" in router.node("n1")["why_not"])
    assert router.join("known").status == 200
    broken = router.join("known", {"require": {"region": "us"}})
    assert broken.code() == "conflict" and "region" in broken.json()["detail"]


def test_a_node_that_has_just_registered_again_is_not_full(stage):
    """Its only node registers again, and a router that has not read so yet waits for its next look instead of refusing."""
    redis = stage.redis()
    sets = (f"registry.url={redis.url}", "nodes.heartbeat_ms=4000", "nodes.lease_ms=60000")
    old, other = stage.router(*sets), stage.router(*sets)
    node = stage.node("n1", other, heartbeat=False)
    for i in range(10):
        node.beat()
        old.wait_placeable("n1")
        before = node.registration
        assert node.register().status == 200 and node.registration > before
        node.beat()
        answer = old.join(f"r{i}")
        assert answer.status == 200 and owner(answer)[0] == "n1", answer
    asked = [row for row in old.events("request_refused") if row["code"] == "no_capacity"]
    assert not asked


def test_exclusive_rooms_stay_alone(stage):
    router = stage.router("server.park_ms=0")
    stage.node("n1", router), stage.node("n2", router)
    router.wait_placeable("n1", "n2")
    alone, _ = owner(router.join("alone", {"exclusive": True}))
    for i in range(4):
        assert owner(router.join(f"other-{i}"))[0] != alone
    assert router.join("alone-2", {"exclusive": True}).code() == "no_capacity"
