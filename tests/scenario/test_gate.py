# SPDX-License-Identifier: Apache-2.0
"""The gate: nobody is let in by an agent whose lease is over, at an epoch that is not held, or by an SFU that is not well; and
what an agent knows survives it as long as its SFU does."""
import asyncio
import contextlib
import os
import signal
import subprocess

import pytest
import websockets

from harness import BUILD, call, until
from janus_participants import JanusClient, JanusError
from janus_server import JanusConf, start_janus
from test_one_owner import owner
from test_tunnel import gate_of, receive_close, signal_url, through_gate

BUSY = "placement.max_load=1000"  # a node beside a real Janus reports this machine's load, whatever else runs on it
SHORT = ("nodes.lease_ms=1500", "nodes.heartbeat_ms=300", "nodes.grace_ms=200", "server.park_ms=500", BUSY)
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}


def knock(gate, room, epoch, upgrade=False, timeout=10):
    """(status, X-Usher-Refused) at the gate itself."""
    headers = {"X-Usher-Room": room, "X-Usher-Epoch": str(epoch), **(UPGRADE if upgrade else {})}
    answer = call("GET", gate.replace("ws://", "http://"), headers=headers, timeout=timeout)
    return answer.status, answer.headers.get("x-usher-refused")


def control_of(agent):
    return "http://" + agent.event("started")["control_listen"]


def rooms_at(agent):
    answer = call("GET", control_of(agent) + "/rooms").json()
    return {row["room"]: row.get("epoch") for row in answer["rooms"]}, answer["fenced"]


# -- lease and epoch -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("upgrade", [False, True])
def test_only_the_very_epoch_gets_in(stage, upgrade):
    router = stage.router()
    stage.agent("n1", [router])
    router.wait_placeable("n1")
    _, epoch = owner(router.join("a%20room"))
    gate = gate_of(router, "n1")
    assert knock(gate, "a%20room", epoch, upgrade) == (101 if upgrade else 200, None)
    assert knock(gate, "a%20room", epoch - 1, upgrade) == (409, "stale_epoch")
    assert knock(gate, "a%20room", epoch + 1, upgrade) == (409, "stale_epoch")
    assert knock(gate, "other", epoch, upgrade) == (404, "unknown_room")
    assert knock(gate, "a%20room", "x", upgrade) == (400, None)
    assert knock(gate, "%zz", epoch, upgrade) == (400, None)
    assert call("GET", gate.replace("ws://", "http://") + "x", headers={"X-Usher-Room": "a%20room", "X-Usher-Epoch": str(epoch)}).status == 404


@pytest.mark.parametrize("at_lease_end", ["refuse", "drop"])
def test_when_the_lease_is_over_joins_are_refused_and_who_is_inside_stays_unless_told_otherwise(stage, at_lease_end):
    router = stage.router(*SHORT)
    agent = stage.agent("n1", [router], f"agent.at_lease_end={at_lease_end}")
    router.wait_placeable("n1")
    _, epoch = owner(router.join("r"))
    gate = gate_of(router, "n1")

    async def run():
        headers = {"X-Usher-Room": "r", "X-Usher-Epoch": str(epoch)}
        async with websockets.connect(gate, extra_headers=headers, ping_interval=None) as ws:
            await ws.send("before")
            assert await ws.recv() == "before"
            router.kill()
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, until, "a handshake is refused", lambda: knock(gate, "r", epoch, True) == (503, "lease"), 5)
            assert knock_now() == (503, "lease")
            if at_lease_end == "drop":
                return await receive_close(ws)
            await ws.send("after")
            return await asyncio.wait_for(ws.recv(), 5)

    def knock_now():
        import concurrent.futures
        with concurrent.futures.ThreadPoolExecutor() as pool:
            return pool.submit(knock, gate, "r", epoch).result()
    assert asyncio.run(run()) == ((1012, "node_lost") if at_lease_end == "drop" else "after")
    assert rooms_at(agent) == ({"r": epoch}, True)


def test_livekit_4316_an_agent_that_was_stopped_lets_nobody_in_until_a_heartbeat_was_answered(stage):
    """What waited in its socket meanwhile is judged by the clock, not by a timer that could not fire."""
    router = stage.router(*SHORT)
    first, second = stage.agent("n1", [router]), None
    router.wait_placeable("n1")
    _, epoch = owner(router.join("r"))
    gate = gate_of(router, "n1")

    async def run():
        async with websockets.connect(gate, extra_headers={"X-Usher-Room": "r", "X-Usher-Epoch": str(epoch)}, ping_interval=None) as ws:
            await ws.send("x")
            assert await ws.recv() == "x"
            first.signal(signal.SIGSTOP)
            reader, writer = await asyncio.open_connection(*gate.split("/")[2].split(":"))
            writer.write(f"GET /signal HTTP/1.1\r\nHost: x\r\nX-Usher-Room: r\r\nX-Usher-Epoch: {epoch}\r\n\r\n".encode())
            loop = asyncio.get_running_loop()
            nonlocal second
            second = stage.agent("n2", [router])
            await loop.run_in_executor(None, until, "the router has given the room to n2", lambda: moved(router), 20)
            first.signal(signal.SIGCONT)
            status = int((await asyncio.wait_for(reader.readline(), 10)).split()[1])
            writer.close()
            return status, await receive_close(ws)

    def moved(router):
        answer = router.join("r")
        return answer.status == 200 and owner(answer)[0] == "n2"
    status, (code, reason) = asyncio.run(run())
    assert status in (409, 503), "a participant of the moved room was let in"
    assert code == 1012 and reason.startswith("room_moved;retry="), (code, reason)
    router.wait_placeable("n1")
    assert knock(gate, "r", epoch)[0] in (404, 409)
    assert rooms_at(first) == ({}, False)
    assert owner(router.join("r"))[0] == "n2"


def test_a_killed_agent_takes_nobody_along_and_leaves_no_way_in(stage):
    router = stage.router(*SHORT)
    agent = stage.agent("n1", [router])
    router.wait_placeable("n1")
    _, epoch = owner(router.join("r"))
    gate = gate_of(router, "n1")
    agent.kill()
    with pytest.raises(OSError):
        knock(gate, "r", epoch)
    assert router.get("/v1/rooms/r/signal").status in (502, 503)


def test_term_deregisters_then_closes_tunnels_politely(stage):
    router = stage.router()
    agent = stage.agent("n1", [router], "agent.drain_ms=1000")
    router.wait_placeable("n1")

    async def run():
        sockets = [await websockets.connect(signal_url(router, f"r{i}")) for i in range(5)]
        agent.signal(signal.SIGTERM)
        return [await receive_close(ws) for ws in sockets]
    closes = asyncio.run(run())
    assert all(code == 1012 and reason.startswith("node_lost;retry=") for code, reason in closes), closes
    assert agent.child.wait(10) == 0
    assert router.node("n1") is None or router.node("n1")["state"] == "lost"


def test_of_two_agents_with_one_name_only_one_lets_in(stage):
    router = stage.router(*SHORT)
    first = stage.agent("n1", [router])
    router.wait_placeable("n1")
    _, epoch = owner(router.join("r"))
    second = stage.agent("n1", [router])
    until("the second is refused", lambda: any(e["phase"] == "taken" for e in second.events("node_phase")))
    other = f"ws://{second.event('started')['listen']}/signal"
    assert knock(other, "r", epoch) == (503, "lease")
    assert knock(gate_of(router, "n1"), "r", epoch)[0] == 200
    assert first.stop() == 0
    until("the second takes over", lambda: gate_of(router, "n1") == other if router.node("n1") else False)


def test_without_a_gate_the_sfu_is_registered_as_it_is(stage):
    router = stage.router()
    agent = stage.agent("n1", [router], "agent.gate=false", "agent.labels.gpu=yes", "agent.region=eu", "agent.capacity_rooms=7")
    router.wait_placeable("n1")
    node = router.node("n1")
    assert node["fences"] == "rooms" and node["labels"] == {"gpu": "yes"} and node["region"] == "eu", node
    assert "listen" not in agent.event("started")
    assert router.join("r").status == 200

    async def run():
        async with websockets.connect(signal_url(router, "r")) as ws:
            await ws.send("x")
            return await ws.recv()
    assert asyncio.run(run()) == "x"


# -- the control side -----------------------------------------------------------------------------------------------------
def put(agent, room, epoch, **more):
    return call("PUT", f"{control_of(agent)}/rooms/{room}", {"epoch": epoch, **more})


def test_the_control_side_keeps_to_epochs(stage):
    router = stage.router()
    agent = stage.agent("n1", [router])
    router.wait_placeable("n1")
    base = control_of(agent)
    first = put(agent, "a%2Fb", 5, expected_participants=3, fresh=True)
    assert first.status == 200 and "hints" in first.json(), first
    assert put(agent, "a%2Fb", 5).body == first.body
    assert put(agent, "a%2Fb", 4).code() == "stale_epoch"
    assert put(agent, "a%2Fb", 6).status == 200
    assert rooms_at(agent) == ({"a/b": 6}, False)
    assert call("DELETE", f"{base}/rooms/a%2Fb?epoch=5").status == 204
    assert rooms_at(agent)[0] == {"a/b": 6}, "an old eviction touched a newer room"
    assert call("DELETE", f"{base}/rooms/a%2Fb?epoch=7").status == 204
    assert rooms_at(agent)[0] == {}
    assert put(agent, "a%2Fb", 7).code() == "stale_epoch", "an evicted epoch came back"
    assert put(agent, "a%2Fb", 8).status == 200
    assert put(agent, "late", 5, fresh=True, registration=1).code() == "conflict", "an open of a time before the lease that it has now"
    assert put(agent, "late", 5, fresh=True, registration=2 ** 53 - 1).status == 200
    assert put(agent, "x", 0).code() == put(agent, "x", "5").code() == "bad_request"
    assert call("PUT", f"{base}/rooms/x", {"epoch": 5}, headers={"X-Usher-Epoch": "6"}).code() == "bad_request"
    assert call("PUT", f"{base}/rooms/x", b"{}", headers={"Content-Type": "text/plain"}).code() == "unsupported_media_type"
    assert call("PUT", f"{base}/rooms/%ff", {"epoch": 5}).code() == "invalid_room"
    assert call("DELETE", f"{base}/rooms/x").code() == "bad_request"
    assert call("POST", f"{base}/rooms/x", {}).code() == "method_not_allowed"
    assert call("GET", f"{base}/nothing").code() == "not_found"
    assert call("GET", f"{base}/health").status == 200


# -- settings --------------------------------------------------------------------------------------------------------------
def agent_run(*words, env=None):
    return subprocess.run([BUILD / "client" / "agent" / "usher-agent", *words], capture_output=True, text=True, env={**os.environ, **(env or {})})


def test_the_agent_says_what_is_wrong_with_its_configuration(tmp_path):
    bad = tmp_path / "agent.ini"
    bad.write_text("[agent]\nnode = a b\nsick_ms = soon\nadapter = jitsi\nadaptor = janus\nlisten = 0.0.0.0:7000\n")
    run = agent_run("-c", bad, "--check")
    assert run.returncode == 1
    assert "agent.ini:2" in run.stderr and "agent.ini:3" in run.stderr and "janus, echo" in run.stderr and "adaptor" in run.stderr, run.stderr
    run = agent_run("--set", "agent.listen=0.0.0.0:7000", "--check")
    assert run.returncode == 1 and "advertise_host" in run.stderr
    run = agent_run("--set", "agent.admin_key_file=/nowhere", "--check")
    assert run.returncode == 1 and "/nowhere" in run.stderr
    secret = tmp_path / "key"
    secret.write_text("  s3cret \n")
    assert agent_run("--set", f"agent.admin_key_file={secret}", "--set", "agent.node=n", "--check").returncode == 0
    assert agent_run("--check", env={"USHER_AGENT_NODE": "n 1"}).returncode == 1
    assert agent_run("--check", env={"USHER_AGENT_NODE": "n1"}).returncode == 0
    run = agent_run("--print", "config")
    assert run.returncode == 0 and "`agent.at_lease_end` | refuse | refuse, drop |" in run.stdout


# -- with a real Janus -------------------------------------------------------------------------------------------------------
def janus_agent(stage, router, conf, *sets):
    return stage.agent("n1", [router], "agent.sick_ms=1000", *conf.settings(), *sets, adapter="janus")


def test_janus_an_agent_that_starts_anew_keeps_incarnation_and_rooms(stage):
    router = stage.router(*SHORT)
    conf, janus = start_janus(stage, "janus")
    agent = janus_agent(stage, router, conf)
    router.wait_placeable("n1")
    joined = [router.join(f"room {i}".replace(" ", "%20")) for i in range(10)]
    before, epochs = router.node("n1"), {a.json()["room"]: a.json()["epoch"] for a in joined}
    pins = {a.json()["room"]: a.json()["hints"]["janus"]["pin"] for a in joined}

    async def run():
        # Somebody inside, by a way that does not die with the agent's gate.
        async with JanusClient(conf.ws_url) as inside:
            await inside.attach()
            await inside.join("room 3", "ann", pins["room 3"])
            loop = asyncio.get_running_loop()
            again = await loop.run_in_executor(None, kill_and_start)
            listed = await inside.list_participants("room 3")
            return again, listed

    def kill_and_start():
        agent.kill()
        assert janus.child.poll() is None
        again = janus_agent(stage, router, conf)
        again.event("room_found")
        until("it has registered again", lambda: (router.node("n1") or {}).get("registration", 0) > before["registration"])
        router.wait_placeable("n1")
        return again
    again, listed = asyncio.run(run())
    after = router.node("n1")
    assert after["incarnation"] == before["incarnation"]
    assert rooms_at(again) == (epochs, False)
    assert [p["display"] for p in listed] == ["ann"]
    for room, epoch in epochs.items():
        answer = router.join(room.replace(" ", "%20"))
        assert owner(answer) == ("n1", epoch) and not answer.json()["created"]
        assert answer.json()["hints"]["janus"]["pin"] == pins[room]
        assert knock(gate_of(router, "n1"), room.replace(" ", "%20"), epoch)[0] != 409


def test_janus_that_ends_is_another_incarnation_and_its_rooms_are_placed_anew(stage):
    router = stage.router(*SHORT)
    conf = JanusConf(stage.directory, "janus")
    agent = janus_agent(stage, router, conf, conf.command())
    router.wait_placeable("n1")
    _, epoch = owner(router.join("r"))
    before = router.node("n1")
    os.kill(agent.event("sfu_started")["pid"], signal.SIGKILL)
    until("the gate refuses", lambda: knock(gate_of(router, "n1"), "r", epoch)[0] != 200, 5)
    until("another incarnation", lambda: (router.node("n1") or before)["incarnation"] != before["incarnation"])
    router.wait_placeable("n1")
    answer = until("the room is placed anew", lambda: (a := router.join("r")).status == 200 and a)
    assert owner(answer)[1] > epoch and set(conf.rooms()) == {"r"}
    assert len(agent.events("sfu_started")) == 2
    assert agent.stop() == 0
    assert not conf.answers(), "the agent left the SFU that it had started"


def test_janus_started_by_an_agent_that_was_killed_is_found_and_not_started_twice(stage):
    router = stage.router(*SHORT)
    conf = JanusConf(stage.directory, "janus")
    first = janus_agent(stage, router, conf, conf.command())
    router.wait_placeable("n1")
    before = router.node("n1")
    first.kill()
    second = janus_agent(stage, router, conf, conf.command())
    until("it has registered again", lambda: (router.node("n1") or {}).get("registration", 0) > before["registration"])
    assert router.node("n1")["incarnation"] == before["incarnation"]
    assert not second.events("sfu_started")
    assert second.stop() == 0
    until("the SFU is stopped with its agent", lambda: not conf.answers())


def test_janus_that_hangs_is_sick_its_rooms_are_given_up_and_ended_once_it_hears(stage):
    router = stage.router(*SHORT)
    conf, janus = start_janus(stage, "janus")
    agent = janus_agent(stage, router, conf, "agent.call_timeout_ms=300")
    router.wait_placeable("n1")
    _, epoch = owner(router.join("r"))
    janus.signal(signal.SIGSTOP)
    until("sick", lambda: (router.node("n1") or {}).get("reported") == "sick")
    assert knock(gate_of(router, "n1"), "r", epoch) == (503, "sick")
    assert call("GET", control_of(agent) + "/health").status == 502
    assert rooms_at(agent) == ({}, True)
    janus.signal(signal.SIGCONT)
    router.wait_placeable("n1")
    until("the old room is ended", lambda: "r" not in conf.rooms() or conf.rooms()["r"] != f"usher epoch={epoch}")
    assert knock(gate_of(router, "n1"), "r", epoch)[0] in (404, 409)
    answer = until("it is placed anew", lambda: (a := router.join("r")).status == 200 and a)
    assert owner(answer)[1] > epoch


def test_janus_rooms_of_others_are_listed_and_never_touched(stage):
    router = stage.router(*SHORT)
    conf, _ = start_janus(stage, "janus")
    made = conf.plugin(request="create", admin_key=conf.admin_key, room="demo", description="Demo Room", secret="x")
    assert made["videoroom"] == "created", made
    agent = janus_agent(stage, router, conf)
    router.wait_placeable("n1")
    assert rooms_at(agent)[0] == {"demo": None}
    assert router.join("demo").status in (409, 502, 503)
    assert call("DELETE", f"{control_of(agent)}/rooms/demo?epoch=9007199254740991").status == 204
    assert conf.rooms() == {"demo": "Demo Room"}


def test_janus_tells_participants_when_usher_closes_their_room(stage):
    router = stage.router(BUSY)
    conf, _ = start_janus(stage, "janus")
    janus_agent(stage, router, conf)
    router.wait_placeable("n1")
    answer = router.join("r")

    async def run():
        client = await JanusClient(signal_url(router, "r")).open()
        await client.attach()
        with pytest.raises(JanusError):
            await client.join("r", "mallory", "wrong pin")
        await client.join("r", "ann", answer.json()["hints"]["janus"]["pin"])
        from harness import fetch
        assert (await fetch("DELETE", f"{router.url}/v1/rooms/r?epoch={answer.json()['epoch']}")).status == 204
        closed = await client.wait_closed()
        with contextlib.suppress(Exception):
            await client.close()
        return closed
    code, reason = asyncio.run(run())
    assert (code, reason) == (1000, "room_closed")
    assert conf.rooms() == {}


def test_janus_whose_node_is_anothers_by_now_is_emptied_and_its_agent_ends(stage):
    router = stage.router(*SHORT)
    conf, _ = start_janus(stage, "janus")
    agent = janus_agent(stage, router, conf, "agent.drain_ms=500")
    router.wait_placeable("n1")
    assert router.join("r").status == 200
    assert set(conf.rooms()) == {"r"}
    took = router.put("/v1/nodes/n1", {"incarnation": "another", "signal_url": "ws://127.0.0.1:8/", "replaces": router.node("n1")["incarnation"]})
    assert took.status in (200, 201), took
    assert agent.child.wait(15) == 1
    assert conf.rooms() == {}


def test_janus_that_stays_away_takes_its_node_along_and_brings_it_back(stage):
    router = stage.router(*SHORT)
    conf, janus = start_janus(stage, "janus")
    agent = janus_agent(stage, router, conf)
    router.wait_placeable("n1")
    _, epoch = owner(router.join("r"))
    before, gate = router.node("n1"), gate_of(router, "n1")
    janus.kill()
    until("the gate is closed", lambda: knock(gate, "r", epoch) == (503, "absent"))
    until("the node has left", lambda: router.node("n1") is None)
    assert not router.events("node_lost")
    until("it is not one, and nobody may call it", lambda: call("GET", control_of(agent) + "/rooms").code() == "owner_lost")
    stage.process("janus-again", conf.argv)
    until("the node is back", lambda: (router.node("n1") or {}).get("placeable"))
    assert router.node("n1")["incarnation"] != before["incarnation"] and gate_of(router, "n1") == gate
    answer = until("the room is placed anew", lambda: (a := router.join("r")).status == 200 and a)
    assert owner(answer)[1] > epoch and knock(gate, "r", owner(answer)[1])[0] != 503
