# SPDX-License-Identifier: Apache-2.0
"""Too much of something: retries at SFUs that fail, connections from outside, log lines, and everybody back at once.

What happens at three times a router's own capacity is tests/scenario/chaos/test_overload.py.
"""
import asyncio
import base64
import collections
import hashlib
import json
import os
import resource
import signal
import socket
import time
import urllib.parse

import pytest

from bench_load import build_generator, confine, half_a_core, prefer, preferred
from harness import Router, call, free_port, together, until
from http1 import fetch


# -- more than it can do ------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return build_generator(tmp_path_factory.mktemp("load"))


def leaves_at_once(router):
    """While its refusal is held back, if it gets one."""
    with connect_from("127.0.0.1", router) as link:
        link.sendall(b"POST /v1/rooms/left/join HTTP/1.1\r\nHost: localhost\r\n\r\n")


@pytest.mark.undisturbed
def test_who_is_refused_is_told_when_to_come_back_and_nodes_are_refused_last(stage, generator):
    """Three times the peak of half a core, over 500 connections, with a target of 5 ms."""
    router = stage.router("server.workers=1", "overload.target_ms=5", "overload.interval_ms=20", "overload.hold_ms=100",
                          "server.origins=https://app.example")
    refused, held = [], []
    asks_first = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}

    def twenty():
        begun = time.monotonic()
        leaves_at_once(router)
        answer = router.join(f"mine-{time.monotonic_ns()}")
        refused.extend([answer] if answer.code() == "overloaded" else [])
        held.extend([time.monotonic() - begun] if answer.code() == "overloaded" else [])
        return len(refused) >= 20
    with half_a_core(router), preferred():
        run = stage.process("load", [generator, "-t", router.url[7:], "-n", "20", "-k", "200", "-p", "1", "-s", "8", "-x", "3", "-c", "500",
                                    "-m", "new=5,join=60,route=35"])
        confine(run.child.pid, 1 % os.cpu_count())
        prefer(run.child.pid)
        until("new rooms are refused", twenty)
        statuses = {router.get(path).status for path in ("/livez", "/readyz", "/metrics") for _ in range(10)}
        preflights = {call("OPTIONS", f"{router.url}/v1/rooms/mine/join", headers=asks_first).status for _ in range(10)}
        assert run.child.wait(30) == 0
    first = router.events("overload_level")[0]
    result = json.loads(run.log.read_text().splitlines()[-1])
    waits = [answer.json()["retry_after_ms"] for answer in refused]
    assert statuses == {200}, "who looks must see"
    assert preflights == {204}, "a browser takes a refused one for a no, and does not come back"
    assert {answer.status for answer in refused} == {503} and all(1 <= int(answer.headers["retry-after"]) <= 5 for answer in refused)
    assert min(held) >= 0.1, "or they are asked again at once"
    assert len(set(waits)) > 10 and min(waits) >= 1000 and max(waits) - min(waits) > 500, "they do not come back together"
    assert (first["from"], first["to"], first["level"]) == ("nothing", "rooms", "warn")
    assert result["over"]["new"]["shed"] > 0 and result["over"]["error"] == 0
    beats = result["heartbeats"]
    assert beats["other"] == 0 and beats["refused"] <= beats["sent"] / 10, "last of all"
    assert not [row for row in router.events("node_state") if row["to"] == "lost"]
    assert router.metric('usher_shed_total{what="rooms"}') >= result["over"]["new"]["shed"]
    assert not [row for row in router.events("request_refused") if row["code"] == "overloaded"], "they are counted, not told one by one"


# -- retries ----------------------------------------------------------------------------------------------------------------------
def test_sfus_that_all_fail_are_asked_hardly_more_often_than_there_are_requests(stage):
    router = stage.router("server.workers=1", "server.park_ms=0", "breaker.failures=1000", "breaker.min_calls=100000")
    nodes = [stage.node(f"n{i}", router) for i in range(8)]
    router.wait_placeable(*(node.name for node in nodes))
    for node in nodes:
        node.mode = "500"
    begun, joins = time.monotonic(), 300

    async def some(first):
        return [await fetch("POST", f"{router.url}/v1/rooms/r{i}/join") for i in range(first, joins, 10)]
    answers = [answer for group in together(*(some(i) for i in range(10))) for answer in group]
    floor = 10 * (time.monotonic() - begun + 1)
    calls = sum(method == "PUT" for node in nodes for method, _, _ in node.requests)
    assert {answer.status for answer in answers} == {502}
    assert joins <= calls <= 1.1 * joins + floor, (calls, floor)
    held = router.metric('usher_sfu_retries_total{what="open",outcome="held_back"}')
    assert held >= joins / 2
    for node in nodes:
        node.mode = "ok"
    assert router.join("r1").status == 200, "the room is not lost by that"


# -- connections ------------------------------------------------------------------------------------------------------------------
def connect_from(address, router):
    host, port = router.url[7:].split(":")
    return socket.create_connection((host, int(port)), 5, source_address=(address, 0))


def is_turned_away(link):
    link.settimeout(5)
    link.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return link.recv(100).startswith(b"HTTP/1.1 503")


@pytest.mark.parametrize("sets", [
    pytest.param(("nodes.allow_cidr=127.0.0.1/32",), id="foreign"),
    pytest.param(("nodes.allow_cidr=127.0.0.0/8", "server.trusted_proxies=127.0.0.9/32"), id="through a proxy"),
])
def test_connections_from_outside_leave_room_for_nodes_and_operators(stage, sets):
    router = stage.router("limits.connections=60", "limits.reserved=20", *sets)
    node = stage.node("n1", router, heartbeat=False)
    outside = [connect_from("127.0.0.9", router) for _ in range(60)]
    turned_away = sum(is_turned_away(link) for link in outside)
    assert turned_away >= 20
    assert node.beat().json()["renewed"] is True
    assert router.get("/v1/nodes").status == 200
    for link in outside:
        link.close()
    until("there is room again", lambda: not is_turned_away(connect_from("127.0.0.9", router)))


def test_the_admin_listener_has_room_of_its_own(stage):
    admin = free_port()
    router = stage.router("limits.connections=60", "limits.reserved=20", "nodes.allow_cidr=127.0.0.0/8",
                          f"server.admin_listen=127.0.0.1:{admin}")  # where participants come from like nodes do, the listener counts
    outside = [connect_from("127.0.0.1", router) for _ in range(60)]
    assert sum(is_turned_away(link) for link in outside) >= 20
    assert call("GET", f"http://127.0.0.1:{admin}/v1/nodes").status == 200
    for link in outside:
        link.close()


# -- the log ----------------------------------------------------------------------------------------------------------------------
def test_a_flood_of_refusals_is_a_bounded_log(stage):
    router = stage.router("log.event_rate=10")

    async def some():
        return [(await fetch("POST", f"{router.url}/v1/rooms/r/join")).code() for _ in range(200)]
    begun = time.monotonic()
    codes = [code for group in together(*(some() for _ in range(5))) for code in group]
    most = 50 + 10 * (time.monotonic() - begun + 1)
    assert set(codes) == {"no_nodes"}
    until("it is told how many more there were", lambda: sum(row["count"] for row in router.events("log_suppressed")) +
          len(router.events("request_refused")) == len(codes), 5)
    assert 50 <= len(router.events("request_refused")) <= most < len(codes)
    assert {row["of"] for row in router.events("log_suppressed")} == {"request_refused"}
    until("it is counted", lambda: router.metric("usher_log_suppressed_total") >= len(codes) - most)


def test_a_flood_hides_no_change_of_state(stage):
    router = stage.router("log.event_rate=1", "server.workers=1")
    node = stage.node("n1", router)
    router.wait_placeable("n1")
    rooms = {f"r{i}" for i in range(30)}
    assert {router.join(room).status for room in rooms} == {200}
    for method in ("PUT", "DELETE") * 10:
        assert router.call(method, f"/v1/nodes/{node.name}/cordon").status < 300
    until("each wish is told", lambda: len(router.events("node_wish")) == 20, 5)
    assert {row["room"] for row in router.events("room_placed")} == rooms
    assert not [row for row in router.events("log_suppressed") if row["of"] in ("room_placed", "node_wish")]


HOSTILE = ["%0A", "%22%7D%2C%22event%22%3A%22forged", "%1B%5B2J", "%C2%85", "%E2%80%A8level%3Derror", "a%20event%3Dforged", "%5Cn"]


@pytest.mark.parametrize("form", ["json", "logfmt"])
def test_what_clients_send_forges_no_line(stage, form):
    router = stage.router("log.level=debug")
    if form == "logfmt":
        process = stage.process("logfmt", [router.child.args[0], "--set", "server.listen=127.0.0.1:0", "--set", "log.format=logfmt",
                                           "--set", "log.level=debug"])
        router = Router.__new__(Router)
        vars(router).update(vars(process))
        router.url = "http://" + until("it listens", lambda: [w[7:] for w in router.log.read_text().split() if w.startswith("listen=")])[0]
    stage.node("n1", router)
    router.wait_placeable("n1")
    placed = set()
    for word in HOSTILE:
        for headers in ({}, {"X-Request-Id": 'x" event=forged'}, {"User-Agent": '\x7e"}\x7c event=forged'}, {"X-Request-Id": "\u00c2\u0085forged"}):
            if call("POST", f"{router.url}/v1/rooms/{word}/join", headers=headers).status == 200:
                placed.add(urllib.parse.unquote(word))
    assert {'"},"event":"forged', "a event=forged", "\\n"} <= placed, "what forges a line or a field does come as far as the log"

    def told():
        return b"".join(line for line in router.log.read_bytes().split(b"\n") if b"room_placed" in line).decode()
    for room in placed:
        written = room.replace("\\", "\\\\").replace('"', '\\"')
        until(f"{room!r} is told, escaped", lambda: f'"{written}"' in told(), 5)
    lines = [line for line in router.log.read_bytes().split(b"\n") if line]
    for line in lines:
        assert not any(byte < 0x20 or byte == 0x7f for byte in line), line
        line.decode()
        if form == "json":
            assert json.loads(line)["event"] != "forged"
        else:
            assert line.startswith(b"t=20") and line.count(b" event=") <= 1 + line.count(b"a event=forged")
            assert b" event=forged" not in line or line.index(b'"') < line.index(b" event=forged")


# -- everybody comes back -----------------------------------------------------------------------------------------------------------
TUNNELS = 2000


class Holder:
    """A node's signaling side that lets everybody in and says nothing."""

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=4096)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def serve(self, reader, writer):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            key = next(line.split(": ")[1] for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key"))
            accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
            writer.write(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode())
            await reader.read(100)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


class Crowd:
    """Participants who do what they are told: after a Close they come back when its retry says, after a refusal when Retry-After does."""

    def __init__(self, router, rooms):
        self.at, self.rooms = router.url[7:].split(":"), rooms
        self.inside, self.closes, self.refusals, self.failures, self.gone = 0, [], [], [], False

    async def come(self, room):
        reader, writer = await asyncio.open_connection(*self.at)
        writer.write((f"GET /v1/rooms/{room}/signal HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        if " 101 " not in head.split("\r\n")[0]:
            writer.close()
            after = [line.split(": ")[1] for line in head.split("\r\n") if line.lower().startswith("retry-after: ")]
            self.refusals.append((time.monotonic(), head.split("\r\n")[0], after))
            return float(after[0]) if after else None
        self.inside += 1
        frame = await reader.readexactly(2)
        body = await reader.readexactly(frame[1])
        self.inside -= 1
        writer.write(b"\x88\x82\0\0\0\0" + body[:2])
        writer.close()
        code, reason = int.from_bytes(body[:2], "big"), body[2:].decode()
        self.closes.append((time.monotonic(), code, reason))
        return float(reason.split(";retry=")[1]) / 1000

    async def one(self, room):
        while not self.gone:
            try:
                after = await self.come(room)
            except (OSError, asyncio.IncompleteReadError) as err:
                if not self.gone:
                    self.failures.append(repr(err))
                return
            if after is None:
                self.failures.append("refused without Retry-After")
                return
            await asyncio.sleep(after if not self.gone else 0)

    def start(self):
        self.tasks = [asyncio.ensure_future(self.one(self.rooms[i % len(self.rooms)])) for i in range(TUNNELS)]


async def eventually(what, condition, deadline=30):
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.02)


def worst_of(moments, width):
    """The share of the fullest `width` seconds."""
    counts = collections.Counter(int(moment / width) for moment in moments)
    return max(counts.values()) / len(moments)


def retries_of(closes):
    return [float(reason.split(";retry=")[1]) / 1000 for _, _, reason in closes]


@pytest.fixture
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.undisturbed
def test_2000_tunnels_come_back_spread_and_others_do_not_suffer(stage, capsys, many_descriptors):
    router = stage.router("limits.connections_per_address=20000", "nodes.heartbeat_ms=300", "nodes.lease_ms=1500", "nodes.grace_ms=300",
                          "nodes.unfenced_ms=1800", "server.drain_ms=2500")

    async def play():
        holder = await Holder().start()
        url = f"ws://127.0.0.1:{holder.port}/signal"
        loop = asyncio.get_running_loop()

        def node(name):
            made = stage.node(name, router, signal_url=url)
            made.start_beating(0.2)
            router.wait_placeable(name)
            return made
        first = await loop.run_in_executor(None, node, "n1")
        rooms = [f"r{i}" for i in range(50)]
        for room in rooms:
            assert (await fetch("POST", f"{router.url}/v1/rooms/{room}/join")).status == 200
        await loop.run_in_executor(None, node, "n2")
        await loop.run_in_executor(None, lambda: router.put("/v1/nodes/n1/cordon"))
        assert (await fetch("POST", f"{router.url}/v1/rooms/other/join")).json()["node"]["id"] == "n2"
        crowd = Crowd(router, rooms)
        crowd.start()
        await eventually("all are in", lambda: crowd.inside == TUNNELS)
        others = []

        async def go_on():
            while not crowd.gone:
                others.append((await fetch("POST", f"{router.url}/v1/rooms/other/join")).status)
                await asyncio.sleep(0.01)
        going = asyncio.ensure_future(go_on())
        await loop.run_in_executor(None, first.stop_beating)  # it is silent, and then lost
        await eventually("all were told", lambda: len(crowd.closes) >= TUNNELS)
        lost = list(crowd.closes)
        came = time.monotonic()
        await eventually("all are in again", lambda: crowd.inside == TUNNELS)
        back_s, refused = time.monotonic() - came, list(crowd.refusals)
        crowd.gone = True
        await going
        crowd.closes.clear()
        router.signal(signal.SIGTERM)
        await eventually("all were told", lambda: len(crowd.closes) == TUNNELS)
        for task in crowd.tasks:
            task.cancel()
        holder.server.close()
        return lost, back_s, refused, others, list(crowd.closes), crowd.failures
    lost, back_s, refused, others, stopped, failures = asyncio.run(play())
    spread, restart = worst_of(retries_of(lost), 0.1), worst_of([at + after for (at, _, _), after in zip(stopped, retries_of(stopped))], 0.1)
    with capsys.disabled():
        print(f"\n  {TUNNELS} tunnels: in again {back_s:.1f} s after the last was told, refused meanwhile {len(refused)}, joins of others "
              f"{collections.Counter(others)}; share of the fullest 100 ms: {spread:.3f} after a node's loss, {restart:.3f} after a stop")
    assert not failures, failures[:3]
    assert {(code, reason.split(";")[0]) for _, code, reason in lost} == {(1012, "node_lost")}
    assert {(code, reason.split(";")[0]) for _, code, reason in stopped} == {(1012, "router_restart")}
    assert all(after for _, _, after in refused), "each refusal says when"
    assert spread <= 0.15 and restart <= 0.1, "evenly over 2 s it is 0.05; over the 3 s of a stop less"
    assert set(others) == {200} and len(others) > 50
