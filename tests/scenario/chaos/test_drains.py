# SPDX-License-Identifier: Apache-2.0
"""One of five nodes is emptied under load."""
import time

import pytest

import checker
from harness import until
from test_nodes import fleet_owner, of


def drain(fleet, **body):
    answer = fleet.routers["r1"].put("/v1/nodes/n1/drain", body)
    if answer.status == 501:
        pytest.skip("this usherd does not drain yet")
    assert answer.status < 300, answer
    return time.monotonic()


def test_chaos_drain_with_policy_move(make_fleet, size, say):
    fleet = make_fleet()
    owners = fleet.fill()
    fleet.begin()
    at = drain(fleet, deadline_ms=30000, policy="move")
    until("no room is left", lambda: not fleet.holds("n1")[0], 40)
    empty_s = time.monotonic() - at
    fleet.run_until(time.monotonic(), 2)
    fleet.end()
    after = fleet.sweep()
    since = [j for j in fleet.joins if j.due > at]
    slow = checker.quantile([j.end - j.due for j in since], 1)
    say(rooms=len(of(owners, "n1")), empty_s=empty_s, failed_joins=sum(not j.ok() for j in since), slowest_join_s=slow,
        left=len(of(after, "n1")), overlap_s=fleet.overlap_s, led_back=len(checker.entered_twice(fleet.entries)),
        codes=checker.codes(since))
    assert not of(after, "n1") and empty_s <= 30
    assert all(j.ok() for j in since) and fleet.overlap_s == 0
    others = {room: owner for room, owner in owners.items() if owner[0] != "n1"}
    assert not checker.moved(others, after)


@pytest.mark.full_only
def test_chaos_drain_undone_half_way(make_fleet, size, say):
    fleet = make_fleet()
    owners = fleet.fill()
    fleet.begin()
    rooms = of(owners, "n1")
    at = drain(fleet, deadline_ms=30000, policy="move")
    until("half are gone", lambda: len(fleet.holds("n1")[0].keys() & rooms) <= len(rooms) / 2, 40)
    assert fleet.routers["r1"].delete("/v1/nodes/n1/drain").status < 300
    fleet.run_until(time.monotonic(), 3)
    fleet.end()
    fleet.routers["r1"].wait_placeable("n1")
    after = fleet.sweep()
    since = [j for j in fleet.joins if j.due > at]
    stayed = of(after, "n1") & rooms
    say(rooms=len(rooms), stayed=len(stayed), failed_joins=sum(not j.ok() for j in since), overlap_s=fleet.overlap_s, codes=checker.codes(since))
    assert None not in after.values() and all(j.ok() for j in since) and fleet.overlap_s == 0
    assert stayed, "nothing was undone"


@pytest.mark.full_only
def test_chaos_drain_of_a_node_that_dies_meanwhile(make_fleet, size, say):
    fleet = make_fleet()
    owners = fleet.fill()
    fleet.begin()
    drain(fleet, deadline_ms=30000, policy="move")
    at = time.monotonic()
    fleet.agents["n1"].kill()
    fleet.run_until(at, size.lost_s + 4)
    fleet.end()
    after = fleet.sweep()
    back = checker.back_after(fleet.joins, at, of(owners, "n1"), owners)
    say(back_s=back, overlap_s=fleet.overlap_s, left=len(of(after, "n1")))
    assert back <= size.lost_s + 1 and fleet.overlap_s == 0
    assert None not in after.values() and not of(after, "n1")
    last = [fleet_owner(fleet, room, at + size.lost_s + 1) for room in of(owners, "n1")]
    assert all(owner[0] != "n1" for owner in last if owner)
