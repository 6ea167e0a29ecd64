# SPDX-License-Identifier: Apache-2.0
"""Grants: who can show that usher gave a node a room, at the gate, in reports after a loss of all data, on calls; and while keys change.
What is signed is computed here once more, by another library."""
import asyncio
import concurrent.futures
import hashlib
import hmac
import json
import os
import signal
import threading
import urllib.parse

import pytest
import websockets

from harness import FakeNode, call, until
from janus_server import start_janus
from test_access import b64, write_secret
from test_gate import BUSY, SHORT, UPGRADE, control_of, rooms_at
from test_one_owner import owner
from test_restore import SETS, Holder, asked, is_whole
from test_tunnel import gate_of, signal_url


def signed(key, *pieces):
    return b64(hmac.new(key, b"\0".join(piece.encode() for piece in pieces), hashlib.sha256).digest()[:16])


def grant(key, room, node, incarnation, epoch):
    return signed(key, "usher-grant", room, node, incarnation, str(epoch))


class Keys:
    """The file of auth.grant_keys, and the keys in it."""

    def __init__(self, directory, count=1, name="grant.keys"):
        self.keys = [os.urandom(32) for _ in range(count)]
        self.path = directory / name
        self.write()
        self.setting = f"auth.grant_keys={self.path}"

    def write(self, *keys):
        self.keys = list(keys) or self.keys
        write_secret(self.path, "".join(b64(key) + "\n" for key in self.keys))

    def of(self, node, room, epoch, by=0):
        return grant(self.keys[by], room, node["id"], node["incarnation"], epoch)


@pytest.fixture
def keys(tmp_path):
    return Keys(tmp_path)


def knock(gate, room, epoch, said=None, upgrade=False):
    headers = {"X-Usher-Room": urllib.parse.quote(room, safe=""), "X-Usher-Epoch": str(epoch), **({"X-Usher-Grant": said} if said else {}), **(UPGRADE if upgrade else {})}
    answer = call("GET", gate.replace("ws://", "http://"), headers=headers)
    return answer.status, answer.headers.get("x-usher-refused")


# -- the gate --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("upgrade", [False, True])
def test_who_knows_the_epoch_alone_is_not_let_in(stage, keys, upgrade):
    router = stage.router(keys.setting)
    stage.agent("n1", [router]), stage.agent("n2", [router])
    router.wait_placeable("n1", "n2")
    for room in ("a room", "other"):
        name, epoch = owner(router.join(urllib.parse.quote(room)))
        node, gate = router.node(name), gate_of(router, name)
        right = keys.of(node, room, epoch)
        assert knock(gate, room, epoch, right, upgrade) == (101 if upgrade else 200, None)
        assert knock(gate, room, epoch, f"{'A' * 22}, {right}", upgrade)[1] is None, "one of several"
        wrong = [None, "A" * 22, right[:-1], right + "A", right.swapcase(), grant(os.urandom(32), room, node["id"], node["incarnation"], epoch),
                 keys.of(node, room, epoch + 1), keys.of(node, room + "x", epoch), keys.of({**node, "id": "n3"}, room, epoch),
                 keys.of({**node, "incarnation": node["incarnation"] + "x"}, room, epoch)]
        for said in wrong:
            assert knock(gate, room, epoch, said, upgrade) == (403, "stale_grant"), said
        assert knock(gate, room, epoch + 1, keys.of(node, room, epoch + 1), upgrade) == (409, "stale_epoch")
    assert router.get("/v1/rooms/other/signal").status == 200


def test_the_grant_is_for_the_gate_and_not_for_the_sfu(stage, keys):
    router = stage.router(keys.setting)
    stage.agent("n1", [router])
    plain = stage.node("n2", router)
    router.wait_placeable("n1", "n2")
    rooms = {}
    while len(rooms) < 2:
        room = f"r{os.urandom(4).hex()}"
        name, epoch = owner(router.join(room))
        rooms.setdefault(name, (room, epoch))
    seen = {k.lower(): v for k, v in router.get(f"/v1/rooms/{rooms['n1'][0]}/signal").json()["headers"].items()}
    assert "x-usher-room" in seen and "x-usher-grant" not in seen and "x-usher-call-key" not in seen
    room, epoch = rooms["n2"]
    router.get(f"/v1/rooms/{room}/signal", headers={"X-Usher-Grant": "forged", "X-Usher-Call-Key": "forged"})
    headers = next(headers for _, target, headers in reversed(plain.requests) if target.startswith("/signal"))
    assert headers["x-usher-grant"] == keys.of(router.node("n2"), room, epoch) == plain.grants[room]
    assert "x-usher-call-key" not in headers


class Guarded(FakeNode):
    """Lets in with a grant that it was brought; forgets them when told to."""
    knocks, takes = 0, True

    async def _answer(self, method, target, headers, body, writer):
        if not target.startswith("/signal"):
            return await super()._answer(method, target, headers, body, writer)
        self.knocks += 1
        known = self.grants.get(urllib.parse.unquote(headers["x-usher-room"])) in headers.get("x-usher-grant", "").split(",")
        text = "200 OK" if known else "403 Forbidden\r\nX-Usher-Refused: stale_grant"
        writer.write(f"HTTP/1.1 {text}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        return True

    def _control(self, method, target, headers, body):
        self.bodies = [*getattr(self, "bodies", []), json.loads(body or b"{}")]
        answer = super()._control(method, target, headers, body)
        if not self.takes:
            self.grants.clear()
        return answer


@pytest.mark.parametrize("headers", [{}, UPGRADE])
def test_a_gate_without_a_grant_is_brought_it_once(stage, keys, headers):
    router = stage.router(keys.setting, "server.park_ms=200")
    node = stage.add(Guarded("n1", [router]))
    router.wait_placeable("n1")
    _, epoch = owner(router.join("r"))

    def ask():
        node.knocks, node.opens = 0, []
        return router.get("/v1/rooms/r/signal", headers=headers).status
    assert ask() == 200 and (node.knocks, node.opens) == (1, [])
    node.grants.clear()
    assert ask() == 200 and (node.knocks, node.opens) == (2, [("r", epoch)])
    assert node.bodies[-1]["fresh"] is False and node.bodies[-1]["registration"] == node.registration
    assert ask() == 200 and (node.knocks, node.opens) == (1, [])
    node.takes = False
    node.grants.clear()
    assert ask() == 503 and node.opens == [("r", epoch)], "opened again and again"


# -- reports ---------------------------------------------------------------------------------------------------------------
def granted_fleet(stage, keys, names, count=1, *sets):
    redis = stage.redis()
    routers = [stage.router(f"registry.url={redis.url}", keys.setting, *SETS, *sets) for _ in range(count)]
    holder = Holder(stage, routers, names)
    holder.beat()
    for router in routers:
        router.wait_placeable(*names)
    return redis, routers, holder


def reconciled(router, what):
    return router.metric(f'usher_reconciled_total{{what="{what}"}}')


def test_a_rogue_node_takes_no_room_that_it_was_never_given_by_a_loss_of_all_data(stage, keys):
    redis, (router,), holder = granted_fleet(stage, keys, ("n1", "n2"))
    owners = {room: owner(router.join(room)) for room in (f"room-{i}" for i in range(8))}
    holder.beat(), holder.beat()
    by_name = {node.name: node for node in holder.nodes}
    name, epoch = owners["room-0"]
    true, rogue = by_name[name], by_name["n2" if name == "n1" else "n1"]
    redis.client().flushall()
    # It reports the other's room, at a higher epoch and with the other's own grant, and one that nobody has.
    rogue.rooms.update({"room-0": epoch + 5, "invented": epoch + 5})
    rogue.grants.update({"room-0": true.grants["room-0"], "invented": rogue.grants[next(iter(rogue.grants), "room-0")]})
    holder.nodes = [rogue, true]
    holder.beat(), holder.beat()
    until("every room is back", lambda: asked(router, owners) == owners, 5)
    until("the store is whole", lambda: holder.beat() or is_whole(redis), 10)
    assert asked(router, [*owners, "invented"]) == {**owners, "invented": "not_found"}
    assert rogue.rooms["invented"] == epoch + 5, "what usher did not give is not touched"
    assert reconciled(router, "ungranted") >= 2
    until("the true owner's record is there: a conflict", lambda: holder.beat() or "room-0" not in rogue.rooms)
    assert true.rooms["room-0"] == epoch


def test_a_rogue_node_raises_no_epoch(stage, keys):
    """Its room was moved to another node, whose record the store has lost again: it says that it has a newer one."""
    redis, (router,), holder = granted_fleet(stage, keys, ("n1", "n2"))
    name, epoch = owner(router.join("r"))
    holder.beat(), holder.beat()
    rogue = next(node for node in holder.nodes if node.name == name)
    rogue.rooms["r"] = epoch + 9
    holder.beat()
    assert owner(router.join("r")) == (name, epoch) and reconciled(router, "ungranted") >= 1
    rogue.grants["r"] = keys.of(router.node(name), "r", epoch + 9)
    holder.beat()
    until("with a right grant it is raised", lambda: owner(router.join("r")) == (name, epoch + 9), 5)


def test_without_keys_all_is_as_before(stage):
    router = stage.router()
    node = stage.node("n1", router)
    router.wait_placeable("n1")
    assert router.join("r").status == 200
    router.get("/v1/rooms/r/signal")
    assert not any(name.startswith(("x-usher-grant", "x-usher-call")) for _, _, headers in node.requests for name in headers)
    assert "call_key" not in node.beat().json() and "call_key" not in node.register().json()


def test_a_report_with_an_old_grant_or_none_brings_the_right_one(stage, tmp_path):
    """Of a node with a gate, that is: others may never tell any."""
    old, new = os.urandom(32), os.urandom(32)
    keys = Keys(tmp_path)
    keys.write(old)
    router = stage.router(keys.setting)
    gate, other = (stage.node(name, router, heartbeat=False, fences=fences) for name, fences in (("n1", "gate"), ("n2", "rooms")))
    nodes = [gate, other]
    for node in nodes:
        node.report_rooms = True
        node.beat()
    router.wait_placeable("n1", "n2")
    rooms = [owner(router.join(f"r{i}")) for i in range(300)]
    keys.write(new, old)
    router.signal(signal.SIGHUP)
    router.event("reloaded")

    def beat():
        for node in nodes:
            assert node.beat().json()["evict"] == []
        return all(node.grants[room] == keys.of(router.node(node.name), room, epoch) for node in nodes for room, epoch in node.rooms.items())
    for node in nodes:
        node.opens = []
    until("all have grants by the new key", beat, 20)
    held = {node.name: len(node.rooms) for node in nodes}
    assert sum(held.values()) == len(rooms) and reconciled(router, "renewed") == sum(len(node.opens) for node in nodes) == len(rooms)
    assert not router.events("room_reopened"), "nothing happened to these rooms"
    for node in nodes:
        node.grants.clear(), node.opens.clear()
        node.beat(), node.beat()
    until("a hundred at a time", lambda: len(gate.opens) >= min(100, held["n1"]))
    assert not other.opens


def test_without_the_store_a_report_is_believed_with_a_right_grant_only(stage, keys):
    redis, (router,), holder = granted_fleet(stage, keys, ("n1", "n2"))
    owners = {room: owner(router.join(room)) for room in (f"room-{i}" for i in range(6))}
    holder.beat()
    redis.kill()
    fresh = stage.router(f"registry.url={redis.url}", keys.setting, *SETS)
    rogue = holder.nodes[0]
    rogue.rooms["invented"] = 5
    for node in holder.nodes:
        node.routers = [fresh]
        who = {"signal_url": node.signal_url, "control_url": node.control_url, "fences": "none"}
        assert node.beat(node=who).json()["degraded"]
    assert asked(fresh, [*owners, "invented"]) == {**owners, "invented": "store_unavailable"}


# -- calls -------------------------------------------------------------------------------------------------------------------
def test_a_call_without_the_key_of_the_routers_is_refused(stage, keys):
    router = stage.router(keys.setting)
    agent = stage.agent("n1", [router])
    router.wait_placeable("n1")
    _, epoch = owner(router.join("r"))
    node, base = router.node("n1"), control_of(agent)
    right = signed(keys.keys[0], "usher-call", "n1", node["incarnation"])

    def calls(headers):
        yield call("GET", f"{base}/rooms", headers=headers).status
        yield call("PUT", f"{base}/rooms/new", {"epoch": epoch}, headers=headers).status
        yield call("DELETE", f"{base}/rooms/new?epoch={epoch}", headers=headers).status
    for wrong in ({}, {"X-Usher-Call-Key": "A" * 22}, {"X-Usher-Call-Key": right[:-1]}, {"X-Usher-Call-Key": keys.of(node, "r", epoch)},
                  {"X-Usher-Call-Key": signed(keys.keys[0], "usher-call", "n2", node["incarnation"])}, {"X-Usher-Grant": right}):
        assert list(calls(wrong)) == [403, 403, 403], wrong
    assert call("GET", f"{base}/health").status == 200
    assert list(calls({"X-Usher-Call-Key": right})) == [200, 200, 204]
    assert router.delete(f"/v1/rooms/r?epoch={epoch}").status == 204
