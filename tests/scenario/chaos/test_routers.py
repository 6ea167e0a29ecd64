# SPDX-License-Identifier: Apache-2.0
"""Routers that are killed, stopped at the worst moment, or cut off from the store."""
import signal
import time

import checker
from fleet import ready_after
from harness import until
from test_nodes import OTHERS_ERRORS_MAX, fleet_owner, judge, lost, of


def test_chaos_router_stopped_between_judging_a_node_lost_and_claiming_its_room(stage, make_fleet, size, say):
    """The one that stops has a slow way to the store, so that its claims are under way when it is stopped. Meanwhile the
    node is back and the others have placed its rooms; then the claims arrive."""
    def far(redis_at):
        return f"redis://127.0.0.1:{stage.wire(int(redis_at.rsplit(':', 1)[1]), delay_s=0.04).port}"
    fleet = make_fleet(store={"r1": far})
    owners = fleet.fill(routers=["r2", "r3"])
    fleet.begin()
    at = time.monotonic()
    fleet.agents["n1"].signal(signal.SIGSTOP)
    until("the far router calls it lost", lambda: [e for e in fleet.routers["r1"].events("node_state") if e["to"] == "lost"], size.lost_s + 3)
    fleet.routers["r1"].signal(signal.SIGSTOP)
    awake = time.monotonic()
    fleet.agents["n1"].signal(signal.SIGCONT)
    fleet.run_until(awake, size.lost_s + 1)
    fleet.routers["r1"].signal(signal.SIGCONT)
    fleet.run_until(time.monotonic(), 4)
    fleet.end()
    # A join that the far router refuses for want of time is not another owner; what it says of the room is owed all the same.
    seen, refused = {}, 0
    for router in fleet.router_names:
        for room, owner in fleet.sweep(routers=[router]).items():
            refused += owner is None
            seen.setdefault(room, set()).add(
                owner or until(f"{router} knows where {room} is", lambda room=room, router=router: fleet.where([room], router)[room], 10))
    figures = judge(fleet, owners, "n1", at, until=awake)
    placed = sum(fleet_owner(fleet, room) not in (None, owners[room]) for room in of(owners, "n1"))
    say(overlap_s=fleet.overlap_s, led_back=figures["led_back"], rooms_with_two_answers=sum(len(o) > 1 for o in seen.values()),
        refused_joins=refused, placed_anew=placed)
    assert fleet.overlap_s == 0 and not figures["led_back"]
    assert all(len(o) == 1 for o in seen.values()) and refused < len(seen) / 20


def test_chaos_one_router_and_one_node_cut_off_from_redis_together(net, make_fleet, size, say):
    """The node hears only from a router without a store: that is no reason to go on, as the others may have one."""
    fleet = make_fleet(net=net)
    owners = fleet.fill()
    fleet.begin()
    knocker = fleet.knock("n1", owners)
    at = net.cut("n1", "r2", "r3", "redis")
    net.cut("r1", "redis", "r2", "r3")
    fleet.run_until(at, size.lost_s + 4)
    healed = time.monotonic()  # begins to be
    net.heal()
    fleet.run_until(healed, 4)
    entries = knocker.stop()
    fleet.end()
    last = max((e.end for e in entries if e.ok() and e.end < healed), default=at) - at
    figures = judge(fleet, owners, "n1", at, until=healed)
    taken = sum(fleet_owner(fleet, room) not in (None, owners[room]) for room in of(owners, "n1"))
    healthy = [j for j in fleet.joins if j.router != "r1" and j.room not in of(owners, "n1")]
    say(last_let_in_s=last, lease_s=size.lease_ms / 1000, overlap_s=fleet.overlap_s, led_back=figures["led_back"], placed_anew=taken,
        errors_at_the_others=checker.error_share(healthy))
    assert last <= size.lease_ms / 1000, "let in after its lease"
    assert fleet.overlap_s == 0 and not figures["led_back"] and taken
    assert checker.error_share(healthy) < OTHERS_ERRORS_MAX


def test_chaos_router_stopped(make_fleet, size, say):
    fleet = make_fleet()
    owners = fleet.fill()
    asleep = 10 if size.rooms > 1000 else 4
    fleet.begin()
    at = time.monotonic()
    fleet.routers["r1"].signal(signal.SIGSTOP)
    fleet.run_until(at, asleep)
    awake = time.monotonic()
    fleet.routers["r1"].signal(signal.SIGCONT)
    fleet.run_until(awake, size.lost_s + 1)
    fleet.end()
    moved = checker.moved(owners, fleet.sweep())
    elsewhere = [j for j in fleet.joins if j.router != "r1"]
    waited = [j for j in fleet.joins if j.router == "r1"]
    say(lost=len(lost(fleet)), moved=len(moved), overlap_s=fleet.overlap_s, errors_at_the_others=checker.error_share(elsewhere),
        errors_at_the_stopped=checker.error_share(waited), stopped_s=asleep)
    assert not lost(fleet) and not moved and fleet.overlap_s == 0
    assert checker.error_share(elsewhere) < OTHERS_ERRORS_MAX


def test_chaos_routers_killed_and_started_again(make_fleet, size, say):
    """First one, then all at once."""
    fleet = make_fleet()
    owners = fleet.fill()
    fleet.begin()
    fleet.routers["r1"].kill()
    first = ready_after(fleet.start_router("r1", wait=False))
    fleet.run_until(time.monotonic(), 2)
    one = [j for j in fleet.joins_so_far() if j.router != "r1"]
    for router in fleet.routers.values():
        router.kill()
    again = [fleet.start_router(name, wait=False) for name in fleet.router_names]
    ready = [ready_after(router) for router in again]
    fleet.run_until(time.monotonic(), size.lost_s + 2)
    fleet.end()
    moved = checker.moved(owners, fleet.sweep())
    say(ready_s=max(first, *ready), moved=len(moved), lost=len(lost(fleet)), overlap_s=fleet.overlap_s,
        errors_at_the_others_while_one_was_away=checker.error_share(one), errors=checker.error_share(fleet.joins))
    assert not moved and not lost(fleet) and fleet.overlap_s == 0
    assert max(first, *ready) <= 1
    assert checker.error_share(one) < OTHERS_ERRORS_MAX
