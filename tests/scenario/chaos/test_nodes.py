# SPDX-License-Identifier: Apache-2.0
"""Nodes that die, hang, sleep, are doubled or cut off."""
import os
import signal
import time

import pytest

import checker
from harness import FakeNode, until

OTHERS_ERRORS_MAX = 0.001


def of(owners, node):
    return {room for room, (at, _) in owners.items() if at == node}


def others(fleet, rooms):
    """Joins to every room that the fault did not concern, new ones among them."""
    return [j for j in fleet.joins if j.room not in rooms]


def fresh(joins):
    return [j for j in joins if "new-" in j.room]


def late_s(size):
    """1.6 s with the default heartbeat: after that nothing new may be placed on a silent node."""
    return 1.6 * size.heartbeat_ms / 1000


def judge(fleet, owners, victim, since, until=float("inf")):
    """The figures that each fault of one node has; until: when the node was there again."""
    rooms = of(owners, victim)
    since_joins = [j for j in fleet.joins if j.end > since]
    rest = [j for j in since_joins if j.room not in rooms]
    return {
        "back_s": checker.back_after(fleet.joins, since, rooms, owners, until),
        "overlap_s": fleet.overlap_s,
        "led_back": len(checker.entered_twice(fleet.entries)),
        "others_errors": checker.error_share(rest),
        "others_codes": checker.codes([j for j in rest if not j.ok()]),
        "joins": len(since_joins),
    }


def lost(fleet, name=None):
    return [e for e in fleet.events("node_state") if e.get("to") == "lost" and name in (None, e.get("node"))]


# -- SFU and agent ----------------------------------------------------------------------------------------------------------
def test_chaos_sfu_and_agent_killed(make_fleet, size, say):
    fleet = make_fleet()
    owners = fleet.fill()
    fleet.begin()
    at = time.monotonic()
    fleet.agents["n1"].kill()
    fleet.run_until(at, size.lost_s + 4)
    fleet.end()
    late = [j for j in fresh(fleet.joins) if j.ok() and j.node == "n1" and j.end > at + late_s(size)]
    after = fleet.sweep()
    figures = judge(fleet, owners, "n1", at)
    say(**figures, new_on_it=len(late), rooms=len(of(owners, "n1")))
    assert not late
    assert figures["back_s"] <= size.lost_s + 1
    assert fleet.overlap_s == 0 and not figures["led_back"]
    assert figures["others_errors"] < OTHERS_ERRORS_MAX
    assert None not in after.values() and not of(after, "n1")


def test_chaos_sfu_and_agent_stopped_within_the_lease(make_fleet, size, say):
    fleet = make_fleet()
    owners = fleet.fill()
    fleet.begin()
    fleet.agents["n1"].signal(signal.SIGSTOP)
    time.sleep(size.lease_ms / 2000)
    awake = time.monotonic()
    fleet.agents["n1"].signal(signal.SIGCONT)
    fleet.run_until(awake, 4)
    fleet.end()
    figures = judge(fleet, owners, "n1", awake, until=awake)
    moved = checker.moved(owners, fleet.sweep())
    entered = [e for e in fleet.entries if e.at == "n1" and e.due > awake]
    back = max((e.end for e in entered if not e.ok()), default=awake) - awake
    say(**figures, lost=len(lost(fleet)), moved=len(moved), refused_at_the_gate_for_s=back)
    assert not lost(fleet) and not moved
    assert figures["back_s"] <= 1 and back <= 1 and fleet.overlap_s == 0
    assert figures["others_errors"] < OTHERS_ERRORS_MAX


def test_chaos_sfu_and_agent_stopped_past_the_lease(make_fleet, size, say):
    """colyseus#978, livekit#4316: what wakes up must not go on as if nothing had been."""
    fleet = make_fleet()
    owners = fleet.fill()
    asleep = 30 if size.rooms > 1000 else size.lost_s + 3
    fleet.begin("-n", int(size.rooms * 0.8))  # the rest is joined by nobody meanwhile
    fleet.agents["n1"].signal(signal.SIGSTOP)
    knocker = fleet.knock("n1", owners)
    at = time.monotonic()
    fleet.run_until(at, asleep)
    awake = time.monotonic()
    fleet.agents["n1"].signal(signal.SIGCONT)
    fleet.run_until(awake, 5)
    entries = knocker.stop()
    fleet.end()
    fleet.routers["r1"].wait_placeable("n1")
    after = fleet.sweep()
    mine, untouched = of(owners, "n1"), {f"r{i}" for i in range(int(size.rooms * 0.8), size.rooms)}
    held, _ = fleet.holds("n1")
    registered = min((e["at"] for e in fleet.events("node_registered") if e["node"] == "n1" and e["at"] > awake), default=float("inf"))
    early = [e for e in entries if e.ok() and awake - 0.05 < e.end < registered - 0.002]  # the log has milliseconds
    taken = {room for room in mine if fleet_owner(fleet, room) not in (None, owners[room])}
    wrong = [e for e in entries if e.ok() and e.end > awake and e.room in taken]
    not_evicted = {room for room in taken if held.get(room) == owners[room][1]}
    gone = {room for room in mine & untouched if after[room] != owners[room]}
    figures = judge(fleet, owners, "n1", at, until=awake)
    say(**figures, registered_again_s=registered - awake, let_in_before=len(early), let_in_to_rooms_of_others=len(wrong),
        placed_anew=len(taken), not_evicted=len(not_evicted), of_the_others_not_kept=f"{len(gone)}/{len(mine & untouched)}")
    assert not early and not wrong and not not_evicted and not gone
    assert taken, "nothing was placed anew: the test proves nothing"
    assert fleet.overlap_s == 0 and not figures["led_back"] and figures["back_s"] <= size.lost_s + 1
    assert figures["others_errors"] < OTHERS_ERRORS_MAX


def fleet_owner(fleet, room, since=0):
    """The last owner that a join was told; None: none since."""
    return next(((j.node, j.epoch) for j in reversed(fleet.joins) if j.room == room and j.ok() and j.due >= since), None)


# -- one of both, with an SFU that is a process of its own -----------------------------------------------------------------
def test_chaos_sfu_killed_and_started_by_its_agent(make_fleet, size, say):
    fleet = make_fleet(janus=("n1",), janus_owned=True)
    owners = fleet.fill()
    fleet.begin()
    at = time.monotonic()
    os.kill(fleet.agents["n1"].event("sfu_started")["pid"], signal.SIGKILL)
    fleet.run_until(at, 5)
    fleet.end()
    figures = judge(fleet, owners, "n1", at)
    say(**figures, rooms=len(of(owners, "n1")))
    assert figures["back_s"] <= 1 and fleet.overlap_s == 0 and not figures["led_back"]
    assert None not in fleet.sweep().values()


@pytest.mark.full_only
def test_chaos_sfu_killed_and_not_started_again(make_fleet, size, say):
    fleet = make_fleet(janus=("n1",))
    owners = fleet.fill()
    fleet.begin()
    at = time.monotonic()
    fleet.janus["n1"][1].kill()
    fleet.run_until(at, 6)
    fleet.end()
    figures = judge(fleet, owners, "n1", at)
    say(**figures, rooms=len(of(owners, "n1")))
    assert figures["back_s"] <= 1 and fleet.overlap_s == 0 and not figures["led_back"]
    assert None not in fleet.sweep().values()


def test_chaos_agent_killed_its_sfu_alive(make_fleet, size, say):
    """Nobody gets in without it; the one that comes too late gives up what was placed anew."""
    fleet = make_fleet(janus=("n1",))
    owners = fleet.fill()
    fleet.begin()
    at = time.monotonic()
    fleet.agents["n1"].kill()
    knocker = fleet.knock("n1", owners)
    fleet.run_until(at, 30 if size.rooms > 1000 else size.lost_s + 3)
    inside = [e for e in knocker.stop() if e.ok()]
    again = time.monotonic()
    fleet.start_agent("n1")
    fleet.run_until(again, 5)
    fleet.end()
    figures = judge(fleet, owners, "n1", at, until=again)
    say(**figures, let_in_without_agent=len(inside))
    assert not inside and fleet.overlap_s == 0 and not figures["led_back"]
    assert figures["back_s"] <= size.lost_s + 1 and figures["others_errors"] < OTHERS_ERRORS_MAX


def test_chaos_agent_killed_and_back_within_the_lease(make_fleet, size, say):
    fleet = make_fleet(janus=("n1",))
    owners = fleet.fill()
    fleet.begin()
    at = time.monotonic()
    fleet.agents["n1"].kill()
    time.sleep(size.lease_ms / 4000)
    fleet.start_agent("n1")
    back = time.monotonic()
    fleet.run_until(back, 4)
    fleet.end()
    moved = checker.moved(owners, fleet.sweep())
    refused = [e.end for e in fleet.entries if e.at == "n1" and not e.ok()]
    figures = judge(fleet, owners, "n1", at, until=back)
    say(**figures, moved=len(moved), away_s=back - at, refused_at_the_gate_for_s=max(refused, default=at) - at)
    assert not moved and fleet.overlap_s == 0 and not lost(fleet)
    assert max(refused, default=back) - back <= 1, "refused for longer than 1 s after the agent was back"
    assert checker.error_share(fleet.joins) < OTHERS_ERRORS_MAX


@pytest.mark.full_only
def test_chaos_agent_stopped_its_sfu_alive(make_fleet, size, say):
    fleet = make_fleet(janus=("n1",))
    owners = fleet.fill()
    fleet.begin()
    at = time.monotonic()
    fleet.agents["n1"].signal(signal.SIGSTOP)
    knocker = fleet.knock("n1", owners)
    fleet.run_until(at, 30 if size.rooms > 1000 else size.lost_s + 3)
    awake = time.monotonic()
    fleet.agents["n1"].signal(signal.SIGCONT)
    fleet.run_until(awake, 5)
    entries = knocker.stop()
    fleet.end()
    taken = {room for room in of(owners, "n1") if fleet_owner(fleet, room) not in (None, owners[room])}
    wrong = [e for e in entries if e.ok() and e.end > at + 0.1 and e.room in taken]
    figures = judge(fleet, owners, "n1", at, until=awake)
    say(**figures, placed_anew=len(taken), let_in_to_rooms_of_others=len(wrong))
    assert taken and not wrong and fleet.overlap_s == 0 and not figures["led_back"]
    assert figures["back_s"] <= size.lost_s + 1 and figures["others_errors"] < OTHERS_ERRORS_MAX


def test_chaos_sfu_stopped_alone(make_fleet, size, say):
    """A hung SFU under a healthy agent: its lease goes on, so only its agent can say that it is sick."""
    sick_s = 10 if size.rooms > 1000 else 4  # five calls of half a second open the breaker: before the agent has called it sick
    fleet = make_fleet(janus=("n1",), agent_sets=[f"agent.sick_ms={sick_s * 1000}", "agent.call_timeout_ms=500"])
    owners = fleet.fill()
    fleet.begin()
    at = time.monotonic()
    fleet.janus["n1"][1].signal(signal.SIGSTOP)
    ways_in = fleet.knock_through("r1", of(owners, "n1"))
    fleet.run_until(at, 30 if size.rooms > 1000 else sick_s + 6)
    tries = ways_in.stop()
    thawed = time.monotonic()
    fleet.janus["n1"][1].signal(signal.SIGCONT)
    fleet.run_until(thawed, 3)
    fleet.end()
    figures = judge(fleet, owners, "n1", at, until=thawed)
    refused = [e for e in tries if not e.ok()]
    slow = [e.end - e.start for e in refused]
    words = {}
    for e in refused:
        words[e.code] = words.get(e.code, 0) + 1
    in_again = min((e.end for e in tries if e.ok()), default=0) - at
    say(**figures, sick_s=sick_s, refusals=words, refusal_p50_s=checker.quantile(slow, .5), refusal_max_s=max(slow, default=0.0),
        first_in_again_s=in_again)
    assert fleet.overlap_s == 0 and not figures["led_back"]
    assert figures["others_errors"] < OTHERS_ERRORS_MAX
    assert figures["back_s"] <= sick_s + 2, "not joinable elsewhere once its agent had called it sick"
    assert words.get("breaker_open"), "joins did not fail fast"
    assert checker.quantile(slow, .5) <= 0.01 and max(slow) <= 0.6, "a call's timeout at most, then at once"


# -- identity ---------------------------------------------------------------------------------------------------------------
def test_chaos_two_live_processes_under_one_id(make_fleet, size, say):
    fleet = make_fleet()
    owners = fleet.fill()
    fleet.begin()
    first = fleet.agents["n1"]
    second = fleet.start_agent("n1", "agent.listen=127.0.0.1:0", "agent.control_listen=127.0.0.1:0")
    taken = until("the second is refused", lambda: [e for e in second.events("node_phase") if e["phase"] == "taken"])
    fleet.run_until(time.monotonic(), size.lost_s + 1)
    fleet.end()
    moved = checker.moved(owners, fleet.sweep())
    say(moved=len(moved), overlap_s=fleet.overlap_s, errors=checker.error_share(fleet.joins), refused=len(taken))
    assert not moved and fleet.overlap_s == 0 and not lost(fleet)
    assert checker.error_share(fleet.joins) < OTHERS_ERRORS_MAX and first.child.poll() is None


@pytest.mark.full_only
def test_chaos_agent_restarted_under_a_living_sfu(make_fleet, size, say):
    fleet = make_fleet(janus=("n1",))
    owners = fleet.fill()
    fleet.begin()
    at = time.monotonic()
    fleet.agents["n1"].kill()
    fleet.start_agent("n1")
    back = time.monotonic()
    fleet.run_until(at, 5)
    fleet.end()
    moved = checker.moved(owners, fleet.sweep())
    refused = max((e.end for e in fleet.entries if e.at == "n1" and not e.ok()), default=at) - at
    figures = judge(fleet, owners, "n1", at, until=back)
    say(**figures, moved=len(moved), refused_at_the_gate_for_s=refused)
    assert not moved and fleet.overlap_s == 0
    assert figures["back_s"] <= 1 and refused <= 1


def test_chaos_a_node_reports_a_room_of_another_with_a_huge_epoch(make_fleet, size, say):
    fleet = make_fleet()
    owners = fleet.fill()
    room = min(of(owners, "n1"))
    thief = fleet.stage.add(FakeNode("thief", list(fleet.routers.values()), heartbeat=False))
    thief.rooms[room], thief.report_rooms = 2**53 - 2, True
    thief.start_beating(0.2)
    fleet.begin()
    fleet.run_until(time.monotonic(), 3)
    fleet.end()
    thief.stop_beating()
    after = fleet.sweep()
    epoch_of_next = fleet.routers["r1"].join("made-after").json()["epoch"]
    conflicts = fleet.events("owner_conflict")
    evicted = [row for a in thief.answers if a.status == 200 for row in a.json()["evict"]]
    say(owner_changed=after[room] != owners[room], conflicts=len(conflicts), evict_told=len(evicted),
        next_epoch_ahead_ms=epoch_of_next - int(time.time() * 1000), errors=checker.error_share(fleet.joins))
    assert not {r for r in checker.moved(owners, after)}, "a report changed an owner"
    assert conflicts and evicted
    assert epoch_of_next < int(time.time() * 1000) + 2 * 86400 * 1000, "one node's huge epoch spoiled the epochs of all"


# -- the network ------------------------------------------------------------------------------------------------------------
def test_chaos_node_cut_off_from_routers_and_redis(net, make_fleet, size, say):
    """Participants still reach it: what it holds must be closed to them before anybody else opens it."""
    fleet = make_fleet(net=net)
    owners = fleet.fill()
    fleet.begin()
    knocker = fleet.knock("n1", owners)
    at = net.cut("n1", "r1", "r2", "r3", "redis")
    fleet.run_until(at, size.lost_s + 4)
    healed = time.monotonic()  # begins to be
    net.heal()
    fleet.run_until(healed, 4)
    entries = knocker.stop()
    fleet.end()
    last = max((e.end for e in entries if e.ok() and e.end < healed), default=at) - at
    figures = judge(fleet, owners, "n1", at, until=healed)
    taken = {room for room in of(owners, "n1") if fleet_owner(fleet, room) not in (None, owners[room])}
    say(**figures, last_let_in_s=last, placed_anew=len(taken))
    assert fleet.overlap_s == 0 and not figures["led_back"] and taken
    assert last <= size.lease_ms / 1000, "let in after its lease"
    assert figures["back_s"] <= size.lost_s + 1 and figures["others_errors"] < OTHERS_ERRORS_MAX


def test_chaos_one_router_cut_off_from_one_node(net, make_fleet, size, say):
    fleet = make_fleet(net=net)
    owners = fleet.fill()
    fleet.begin()
    at = net.cut("r1", "n1")
    ways_in = fleet.knock_through("r1", of(owners, "n1"))
    fleet.run_until(at, 12 if size.rooms > 1000 else 6)
    tries = ways_in.stop()
    joined = fleet.routers["r1"].join(min(of(owners, "n1")))
    breakers = (fleet.node("n1") or {}).get("breakers")
    healed = time.monotonic()  # begins to be
    net.heal()
    back = until("a way in again", lambda: fleet.try_through("r1", min(of(owners, "n1"))) == 101 and time.monotonic(), 40)
    fleet.end()
    moved = checker.moved(owners, fleet.sweep())
    refused = [e for e in tries if not e.ok()]
    words = {}
    for e in refused:
        words[f"{e.status} {e.code}"] = words.get(f"{e.status} {e.code}", 0) + 1
    by_r1 = [j for j in fleet.joins if j.router == "r1" and j.room in of(owners, "n1") and at < j.due < healed]
    opened = min(e["at"] for e in fleet.events("breaker_open") if (e["node"], e["detail"]) == ("n1", "signal") and e["at"] > at)
    sent_there = [j for j in by_r1 if j.due > opened + 0.05 and (j.status, j.code) != (503, "breaker_open")]
    elsewhere = [j for j in fleet.joins if j.router != "r1"]
    say(moved=len(moved), lost=len(lost(fleet)), ways_in_refused=words, join_at_r1=f"{joined.status} {joined.code()}",
        opened_after_s=opened - at, joins_at_r1=checker.codes(by_r1), joins_sent_there_once_it_was_open=len(sent_there), others_errors=checker.error_share(elsewhere), back_after_healing_s=back - healed,
        breakers=[(b["router"], b["class"], b["state"]) for b in breakers or []])
    assert not moved and not lost(fleet) and fleet.overlap_s == 0
    assert checker.error_share(elsewhere) < OTHERS_ERRORS_MAX
    assert words.get("503 breaker_open"), "tunnels did not fail fast"
    assert not sent_there and joined.code() == "breaker_open" and "retry-after" in joined.headers, \
        "a join is sent to a node that this router cannot reach"
