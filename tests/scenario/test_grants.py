# SPDX-License-Identifier: Apache-2.0
"""Grants: who can show that usher gave a node a room, at the gate, in reports after a loss of all data, on calls; and while keys change.
What is signed is computed here once more, by another library."""
import asyncio
import base64
import concurrent.futures
import hashlib
import hmac
import json
import os
import signal
import threading
import time
import types
import urllib.parse

import pytest
import websockets

from harness import FakeNode, call, free_port, until
from janus_server import start_janus
from test_access import b64, write_secret
from test_gate import SHORT, UPGRADE, control_of
from test_one_owner import owner
from test_restore import SETS, Holder, asked, is_whole
from test_tunnel import gate_of, signal_url

CALM = ("nodes.heartbeat_ms=6000", "nodes.lease_ms=60000")  # a node that beats once is not late while it is given its rooms


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
    knocks, answered, awaited, takes = 0, 0, 0, True

    async def _answer(self, method, target, headers, body, writer):
        while not target.startswith("/signal") and self.answered < self.awaited:
            await asyncio.sleep(0.001)
        if not target.startswith("/signal"):
            return await super()._answer(method, target, headers, body, writer)
        self.knocks += 1
        known = self.grants.get(urllib.parse.unquote(headers["x-usher-room"])) in headers.get("x-usher-grant", "").split(",")
        text = "200 OK" if known else "403 Forbidden\r\nX-Usher-Refused: stale_grant"
        writer.write(f"HTTP/1.1 {text}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        self.answered += 1
        return True

    def _control(self, method, target, headers, body):
        self.bodies = [*getattr(self, "bodies", []), json.loads(body or b"{}")]
        answer = super()._control(method, target, headers, body)
        if not self.takes:
            self.grants.clear()
        return answer


class Slow(Guarded):
    """Needs most of sfu.call_timeout_ms for each answer at its gate, and for each room it is brought."""
    pause = 0

    async def _answer(self, *request):
        await asyncio.sleep(self.pause)
        return await super()._answer(*request)


def test_three_slow_answers_are_no_deadline(stage, keys):
    """No; the grant; yes: each of them in time."""
    router = stage.router(keys.setting, "server.park_ms=0", "registry.timeout_ms=50", "registry.wait_ms=1", "sfu.call_timeout_ms=2000")
    node = stage.add(Slow("n1", [router]))
    router.wait_placeable("n1")
    assert router.join("r").status == 200
    node.grants.clear()
    node.knocks, node.pause = 0, 1.7
    assert router.get("/v1/rooms/r/signal", headers=UPGRADE).status == 200
    assert node.knocks == 2 and not router.events("request_deadline")


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


def test_a_body_that_was_given_away_is_lost_and_the_next_one_is_not(stage, keys):
    router = stage.router(keys.setting)
    node = stage.add(Guarded("n1", [router]))
    router.wait_placeable("n1")
    _, epoch = owner(router.join("r"))
    node.grants.clear(), node.opens.clear()
    assert router.post("/v1/rooms/r/signal", {"a": "body"}).code() == "room_moving"
    until("the node was brought it", lambda: "r" in node.grants)
    assert router.post("/v1/rooms/r/signal", {"a": "body"}).status == 200 and node.opens == [("r", epoch)]


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
    old, new = os.urandom(32), os.urandom(32)
    keys = Keys(tmp_path)
    keys.write(old)
    router = stage.router(keys.setting, *CALM)
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
        # What an open has under way is old in the next report, too.
        until("what this began has come", lambda: reconciled(router, "renewed") == sum(len(node.opens) for node in nodes))
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
    until("a hundred at a time", lambda: all(len(node.opens) >= min(100, held[node.name]) for node in nodes))


class Silent(FakeNode):
    """Holds its opens back until it is released, and tells no grant that came with one."""

    def __init__(self, *args, **how):
        self.under_way, self.most, self.released = 0, 0, True
        super().__init__(*args, **how)

    async def _answer(self, method, target, headers, body, writer):
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        while not self.released:
            await asyncio.sleep(0.001)
        self.under_way -= 1
        return await super()._answer(method, target, headers, body, writer)

    def _control(self, method, target, headers, body):
        return super()._control(method, target, {name: value for name, value in headers.items() if name != "x-usher-grant"}, body)


def silent_node(stage, keys, rooms, *sets):
    router = stage.router(keys.setting, "server.workers=1", *CALM, *sets)
    node = stage.add(Silent("n1", [router], heartbeat=False, fences="gate"))
    node.report_rooms = True
    node.beat()
    router.wait_placeable("n1")
    for i in range(rooms):
        owner(router.join(f"r{i}"))
    node.opens = []
    return router, node


def test_a_node_that_tells_no_grant_is_brought_no_more_in_the_end(stage, keys):
    router, node = silent_node(stage, keys, 50)
    for beats in range(1, 10):
        node.beat()
        until("what this began has come", lambda: len(node.opens) == min(50 * beats, 300))
    assert reconciled(router, "renewed") == 300
    node.register()
    node.beat()
    until("another agent may be another", lambda: len(node.opens) == 350)


def test_a_node_is_brought_so_many_grants_at_once_and_the_rest_after_them(stage, keys):
    router, node = silent_node(stage, keys, 12, "placement.opens_per_node=4")
    node.released, node.most = False, 0
    node.beat()
    until("four have come", lambda: node.under_way >= 4)
    assert node.beat().status == 200 and reconciled(router, "renewed") == 12, "what is under way is not begun again"
    assert node.most == 4
    node.released = True
    until("all have come", lambda: len(node.opens) == 12)
    assert node.most == 4


def test_what_cannot_be_shown_is_told_once_and_again_when_it_is_more(stage, keys):
    router, node = silent_node(stage, keys, 0)

    def tell(**lists):
        node.report_rooms = not lists
        assert node.beat(**lists).json()["evict"] == []

    def told():
        return [row["detail"].split(" ", 1) for row in router.events("rooms_foreign")]
    words = "that the store does not know, without a grant"
    node.rooms.update({f"x{i}": 5 for i in range(3)})
    tell(), tell()
    tell(changed=[{"room": "x0", "epoch": 5}])
    tell(changed=[{"room": f"x{i}", "epoch": 5} for i in range(4)])
    node.rooms.pop("x0")
    tell()
    until("the last one is told", lambda: ["2", words] in told())
    assert told() == [["3", words], ["4", words], ["2", words]]


def test_of_many_that_come_for_one_room_one_brings_its_grant(stage, keys):
    router = stage.router(keys.setting, "server.workers=1")
    node = stage.add(Guarded("n1", [router]))
    router.wait_placeable("n1")
    _, epoch = owner(router.join("r"))
    node.opens, node.awaited = [], node.answered + 8  # the first one's grant comes when all have been refused
    node.grants.clear()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert [answer.status for answer in pool.map(lambda _: router.get("/v1/rooms/r/signal"), range(8))] == [200] * 8
    assert node.opens == [("r", epoch)]


def test_a_direct_join_brings_a_new_agent_the_grant_before_the_answer(stage, keys):
    router = stage.router(keys.setting, "server.workers=1")
    node = stage.add(Guarded("n1", [router], fences="gate", public_signal_url="wss://sfu.example.com/signal"))
    router.wait_placeable("n1")
    assert wish_direct(router, "r")[0] == "direct"
    _, epoch = owner(router.join("r"))
    assert wish_direct(router, "r")[0] == "direct" and node.opens == [("r", epoch)], "its open brought it"
    before = node.registration
    node.stop_beating()
    node.grants.clear(), node.opens.clear()
    node.report_rooms = True
    node.register()
    node.beat()
    until("the router has read of it, and its report has brought it", lambda: router.node("n1")["registration"] > before and node.opens)
    node.opens = []
    node.grants.clear()
    assert wish_direct(router, "r")[0] == "direct" and node.opens == [("r", epoch)] and "r" in node.grants
    assert wish_direct(router, "r")[0] == "direct" and node.opens == [("r", epoch)], "once"


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
    told = {**owners, "invented": "store_unavailable"}
    until("the workers know what was reported", lambda: asked(fresh, told) == told)


def test_of_two_that_report_a_room_the_higher_epoch_has_it(stage, keys):
    redis, _, holder = granted_fleet(stage, keys, ("n1", "n2"))
    redis.kill()
    fresh = stage.router(f"registry.url={redis.url}", *SETS)
    for node, epoch in zip(holder.nodes, (5, 7)):
        node.rooms, node.routers = {"r": epoch}, [fresh]
        who = {"signal_url": node.signal_url, "control_url": node.control_url, "fences": "none"}
        assert node.beat(node=who).json()["degraded"]
    until("the workers know what was reported last", lambda: asked(fresh, ["r"]) == {"r": ("n2", 7)})


# -- calls -------------------------------------------------------------------------------------------------------------------
def test_nobody_is_answered_before_a_router_has_said_who_may_call(stage):
    nowhere = types.SimpleNamespace(url=f"http://127.0.0.1:{free_port()}")
    base = control_of(stage.agent("n1", [nowhere]))
    until("it has an SFU, and asks to be registered", lambda: call("GET", f"{base}/health").status == 200)
    for method, path, body in (("GET", "/rooms", None), ("PUT", "/rooms/r", {"epoch": 5}), ("DELETE", f"/rooms/r?epoch={2**53 - 1}", None)):
        answer = call(method, base + path, body)
        assert (answer.status, answer.code()) == (503, "owner_lost")


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


# -- as time goes by ---------------------------------------------------------------------------------------------------------
class Asking:
    """Requests with bodies and without, and joins, at all routers until it ends. What failed is kept."""

    def __init__(self, routers, rooms):
        self.routers, self.rooms, self.failed, self.asked, self.over = routers, rooms, [], 0, threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(router,), daemon=True) for router in routers]
        for thread in self.threads:
            thread.start()

    def _run(self, router):
        while not self.over.is_set():
            room = self.rooms[self.asked % len(self.rooms)]
            path = f"/v1/rooms/{room}/signal"
            for answer in (router.get(path), router.post(path, {"a": "body"}), router.join(room), router.join(f"new-{router.name}-{self.asked % 5}")):
                self.asked += 1
                if answer.status != 200:
                    self.failed.append(answer)

    def since(self, n):
        return self.asked > n

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join()


def test_keys_change_in_three_steps_and_nobody_is_refused(stage, tmp_path):
    redis, old, new = stage.redis(), os.urandom(32), os.urandom(32)
    files = [Keys(tmp_path, name=f"{i}.keys") for i in range(2)]
    for file in files:
        file.write(old)
    routers = [stage.router(f"registry.url={redis.url}", file.setting, "nodes.heartbeat_ms=200", "nodes.lease_ms=5000") for file in files]
    stage.agent("n1", routers), stage.agent("n2", routers[::-1])
    for router in routers:
        router.wait_placeable("n1", "n2")
    rooms = {f"r{i}": owner(routers[i % 2].join(f"r{i}")) for i in range(6)}

    def by_new(room):
        name, epoch = rooms[room]
        node = routers[0].node(name)
        return knock(node["signal_url"], room, epoch, grant(new, room, name, node["incarnation"], epoch)) == (200, None)

    def steps(asking):
        for step in ((old, new), (new, old), (new,)):
            for file, router in zip(files, routers):
                file.write(*step)
                reloads, asked = len(router.events("reloaded")), asking.asked
                router.signal(signal.SIGHUP)
                until("it has read them", lambda: len(router.events("reloaded")) > reloads)
                until("both go on", lambda: asking.asked > asked + 20)
            if step == (new, old):
                until("every room has a grant by the new key", lambda: all(by_new(room) for room in rooms), 40)

    async def run():
        sockets = [await websockets.connect(signal_url(routers[i % 2], room)) for i, room in enumerate(rooms)]
        asking = Asking(routers, list(rooms))
        await asyncio.to_thread(steps, asking)
        await asyncio.to_thread(asking.end)
        for i, ws in enumerate(sockets):
            await ws.send(f"still here {i}")
            assert await ws.recv() == f"still here {i}"
            await ws.close()
        return asking
    asking = asyncio.run(run())
    assert asking.failed == [] and asking.asked > 100
    assert not any(router.events("gate_refused") or router.events("open_failed") for router in routers)
    assert {room: owner(routers[0].join(room)) for room in rooms} == rooms
    # What is told now is by the new key: a loss of all data brings every room back.
    redis.client().flushall()
    until("every room is back", lambda: asked(routers[0], rooms) == rooms, 20)


def test_janus_rooms_that_an_agent_finds_again_get_their_grants(stage, keys):
    """Whoever comes first: the participant's request or the report."""
    router = stage.router(keys.setting, *SHORT)
    conf, _ = start_janus(stage, "janus")
    agent = stage.agent("n1", [router], *conf.settings(), adapter="janus")
    router.wait_placeable("n1")
    epochs = {room: owner(router.join(room))[1] for room in ("a", "b", "c")}
    before = router.node("n1")["registration"]
    agent.kill()
    stage.agent("n1", [router], *conf.settings(), adapter="janus").event("room_found")
    until("it has registered again", lambda: (router.node("n1") or {}).get("registration", 0) > before)
    router.wait_placeable("n1")
    node, gate = router.node("n1"), gate_of(router, "n1")
    for room, epoch in epochs.items():
        assert knock(gate, room, epoch)[1] == "stale_grant"
    assert router.get("/v1/rooms/c/signal/info").status == 200
    assert knock(gate, "c", epochs["c"], keys.of(node, "c", epochs["c"]))[1] is None

    def known(room):
        return knock(gate, room, epochs[room], keys.of(node, room, epochs[room]))[1] is None
    until("nobody asked for these", lambda: known("a") and known("b"), 30)
    assert reconciled(router, "renewed") >= 1
    assert {room: owner(router.join(room))[1] for room in epochs} == epochs


def test_routers_get_their_keys_one_after_another(stage, keys):
    """Until auth.demand_grants nobody misses them; from then on who has none is refused, and that is nobody."""
    redis = stage.redis()
    without, shows = stage.router(f"registry.url={redis.url}"), stage.router(f"registry.url={redis.url}", keys.setting, "auth.demand_grants=false")
    third = free_port()
    agent = stage.agent("n1", [shows, without, types.SimpleNamespace(url=f"http://127.0.0.1:{third}")])
    for router in (without, shows):
        router.wait_placeable("n1")
    rooms = {room: owner(router.join(room)) for room, router in (("a", without), ("b", shows), ("c", without))}
    for router in (without, shows):
        for room in rooms:
            assert router.get(f"/v1/rooms/{room}/signal").status == 200
    node, gate = shows.node("n1"), gate_of(shows, "n1")
    for room, (_, epoch) in rooms.items():
        assert knock(gate, room, epoch) == (200, None)
    until("those that were opened without a grant have one", lambda: reconciled(shows, "renewed") >= 2, 30)
    assert call("GET", f"{control_of(agent)}/rooms").status == 200
    assert wish_direct(shows, "a")[0] == "proxy"
    demands = stage.router(f"registry.url={redis.url}", keys.setting, f"server.listen=127.0.0.1:{third}")
    without.kill(), shows.kill()
    until("the agent has heard of it", lambda: call("GET", f"{control_of(agent)}/rooms").status == 403)
    demands.wait_placeable("n1")
    for room, (name, epoch) in rooms.items():
        assert knock(gate, room, epoch) == (403, "stale_grant")
        assert knock(gate, room, epoch, keys.of(node, room, epoch)) == (200, None)
        assert demands.post(f"/v1/rooms/{room}/signal", {"a": "body"}).status == 200
    assert not demands.events("gate_refused")
    assert agent.event("grants_demanded")["demanded"] == "yes"
    again = stage.router(f"registry.url={redis.url}")
    until("it is told", lambda: any(row["detail"].startswith("auth.grant_keys") for row in demands.events("config_differs")))

    def differs():
        rows = [row for router in again.get("/v1/routers").json()["routers"] for row in router["config_differs"]]
        return [(row["here"], len(row["there"])) for row in rows if row["setting"] == "auth.grant_keys"]
    until("both see it", lambda: ("none", 22) in differs())


def test_a_file_that_does_not_fit_leaves_the_old_keys_in_force(stage, keys):
    router = stage.router(keys.setting)
    stage.agent("n1", [router])
    router.wait_placeable("n1")
    _, epoch = owner(router.join("r"))
    old = list(keys.keys)
    write_secret(keys.path, "nonsense\n")
    router.signal(signal.SIGHUP)
    assert "auth.grant_keys" in router.event("reload_failed")["why"]
    assert router.get("/v1/rooms/r/signal").status == 200 and owner(router.join("other"))
    assert knock(gate_of(router, "n1"), "r", epoch, grant(old[0], "r", "n1", router.node("n1")["incarnation"], epoch)) == (200, None)
    text = router.log.read_text()
    assert not any(b64(key) in text for key in old) and keys.of(router.node("n1"), "r", epoch) not in text


# -- direct -------------------------------------------------------------------------------------------------------------------
def direct_ticket(right, room, epoch, ends_ms, holder=""):
    """As a router makes them, but by one key."""
    room, holder = room.encode(), holder.encode()
    said = b"\x01d" + ends_ms.to_bytes(8, "big") + epoch.to_bytes(8, "big") + len(room).to_bytes(2, "big") + room + len(holder).to_bytes(2, "big") + holder
    return b64(said + hmac.new(right.encode(), said, hashlib.sha256).digest()[:16])


def in_ms(ms):
    return int(time.time() * 1000) + ms


@pytest.fixture
def door(stage, keys):
    """A gate that participants reach: here its own address stands for the proxy with TLS in front."""
    router = stage.router(keys.setting)
    port = free_port()
    agent = stage.agent("n1", [router], f"agent.listen=127.0.0.1:{port}", f"agent.advertise_url=ws://localhost:{port}/signal?v=1",
                        "agent.origins=https://app.example.com")
    router.wait_placeable("n1")
    return router, agent


def wish_direct(router, room, **more):
    signal = router.join(room, {"mode": "direct", **more}).json()["signal"]
    assert signal["expires_in_ms"] == 60000
    return signal["mode"], signal["url"]


def handshake(url, headers=None):
    """(status, code) of a WebSocket handshake."""
    answer = call("GET", url.replace("ws://", "http://").replace("localhost", "127.0.0.1"), headers={**UPGRADE, **(headers or {})})
    return answer.status, answer.code() if answer.status >= 400 else None


def test_a_direct_join_goes_to_the_gate_and_not_through_a_router(door):
    router, agent = door
    mode, url = wish_direct(router, "a%20room", participant="ann")
    assert mode == "direct" and url.startswith("ws://localhost:") and "/signal?v=1&ticket=" in url
    ticket = url.split("ticket=")[1]

    async def run():
        async with websockets.connect(url, subprotocols=["janus-protocol"], origin="https://app.example.com") as ws:
            assert ws.subprotocol == "janus-protocol"
            await ws.send("x" * 70000)
            assert await ws.recv() == "x" * 70000
            async with websockets.connect(url.split("?")[0], subprotocols=[f"usher.ticket.{ticket}"]) as other:
                assert other.subprotocol == f"usher.ticket.{ticket}", "a browser insists that one of those offered is taken"
                await other.send("y")
                assert await other.recv() == "y"
                await asyncio.to_thread(until, "both count as its participants", lambda: router.get("/v1/rooms/a%20room").json()["participants"] == 2)
    asyncio.run(run())
    assert router.metric("usher_tunnels") == 0
    assert ticket not in agent.log.read_text() and ticket not in router.log.read_text()
    direct = agent.event("direct")
    assert (direct["room"], direct["holder"]) == ("a room", "ann")


def test_what_a_direct_ticket_does_not_open(door, keys):
    router, agent = door
    _, url = wish_direct(router, "r")
    base, ticket = url.split("ticket=")
    node, epoch = router.node("n1"), router.join("r").json()["epoch"]
    right = keys.of(node, "r", epoch)
    assert handshake(url)[0] == 101
    assert handshake(base + "ticket=" + direct_ticket(right, "r", epoch, in_ms(5000)))[0] == 101, "made here as it is made there"
    _, other = owner(router.join("other"))
    shut = {
        "expired": direct_ticket(right, "r", epoch, in_ms(-1)),
        "another room": direct_ticket(right, "other", other, in_ms(5000)),
        "no such room": direct_ticket(right, "none", epoch, in_ms(5000)),
        "another epoch": direct_ticket(right, "r", epoch + 1, in_ms(5000)),
        "another epoch, signed for it": direct_ticket(keys.of(node, "r", epoch + 1), "r", epoch + 1, in_ms(5000)),
        "another node's grant": direct_ticket(keys.of({**node, "id": "n2"}, "r", epoch), "r", epoch, in_ms(5000)),
        "another process's grant": direct_ticket(keys.of({**node, "incarnation": "x"}, "r", epoch), "r", epoch, in_ms(5000)),
        "signed by nothing": direct_ticket("", "r", epoch, in_ms(5000)), "the grant itself": right, "empty": "", "no text": "*" * 100,
        "too long": ticket + "A" * 1000, "no tag": ticket[:-22], "a ticket of the router's": "AWo" + "A" * 60,
    }
    for what, text in shut.items():
        assert handshake(base + "ticket=" + text) == (401, "unauthorized"), what
        assert handshake(base + "ticket=" + text, {"X-Usher-Room": "r", "X-Usher-Epoch": str(epoch)}) == (401, "unauthorized"), what
    for i in range(len(ticket)):
        assert handshake(f"{base}ticket={ticket[:i]}{'A' if ticket[i] != 'A' else 'B'}{ticket[i + 1:]}")[0] == 401, i
    assert handshake(url, {"Origin": "https://evil.example"}) == (403, "forbidden")
    assert handshake(url.replace("/signal", "/signal/../x")) == (400, "bad_request")
    plain = call("GET", url.replace("ws://localhost", "http://127.0.0.1"))
    assert plain.code() == "bad_request" and "WebSocket" in plain.json()["detail"]
    no_key = {name: value for name, value in UPGRADE.items() if name != "Sec-WebSocket-Key"}
    assert call("GET", url.replace("ws://localhost", "http://127.0.0.1"), headers=no_key).code() == "bad_request"


@pytest.mark.parametrize("how", ["no keys", "no public URL", "no gate", "not for WebSockets"])
def test_where_it_cannot_be_direct_the_answer_says_proxy(stage, keys, how):
    router = stage.router(*([] if how == "no keys" else [keys.setting]))
    url = "https://sfu.example.com/signal" if how == "not for WebSockets" else "wss://sfu.example.com/signal"
    sets = [] if how == "no public URL" else [f"agent.advertise_url={url}"]
    stage.agent("n1", [router], *sets, *(["agent.gate=false"] if how == "no gate" else []))
    router.wait_placeable("n1")
    mode, url = wish_direct(router, "r")
    assert mode == "proxy" and url.startswith(f"ws://{router.url[7:]}/v1/rooms/r/signal")


def test_a_direct_ticket_ends_with_the_room_and_with_the_lease(stage, keys):
    router = stage.router(keys.setting, *SHORT)
    for name in ("n1", "n2"):
        port = free_port()
        stage.agent(name, [router], f"agent.listen=127.0.0.1:{port}", f"agent.advertise_url=ws://127.0.0.1:{port}/signal")
    router.wait_placeable("n1", "n2")
    _, first = wish_direct(router, "r")
    name, epoch = owner(router.join("r"))
    assert handshake(first)[0] == 101
    assert router.post("/v1/rooms/r/move", {}).status == 202
    until("it has moved", lambda: owner(router.join("r"))[0] != name)
    assert handshake(first) == (401, "unauthorized")
    _, second = wish_direct(router, "r")
    assert second.split("?")[0] != first.split("?")[0] and handshake(second)[0] == 101
    epoch = owner(router.join("r"))[1]
    assert router.delete(f"/v1/rooms/r?epoch={epoch}").status == 204
    assert handshake(second) == (401, "unauthorized")
    _, third = wish_direct(router, "r")
    assert handshake(third)[0] == 101
    router.kill()
    until("the lease is over", lambda: handshake(third) == (503, "owner_lost"), 10)


def test_a_direct_ticket_is_good_while_keys_change(stage, tmp_path):
    """The router may sign by the new key while the gate has the room's grant by the old one: so there is a tag by each."""
    keys, old, new = Keys(tmp_path), os.urandom(32), os.urandom(32)
    keys.write(new, old)
    router = stage.router(keys.setting)
    stage.agent("n1", [router], "agent.advertise_url=wss://sfu.example.com/signal")
    router.wait_placeable("n1")
    _, url = wish_direct(router, "r")
    text = url.split("ticket=")[1]
    ticket = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    epoch, gate = router.join("r").json()["epoch"], gate_of(router, "n1")
    said, tags = ticket[:-32], (ticket[-32:-16], ticket[-16:])
    assert tags == tuple(hmac.new(keys.of(router.node("n1"), "r", epoch, by).encode(), said, hashlib.sha256).digest()[:16] for by in range(2))
    assert [handshake(f"{gate}?ticket={b64(said + tag)}")[0] for tag in (b"".join(tags), b"x" * 16 + tags[0], tags[1], b"x" * 16)] == [101, 101, 101, 401]
