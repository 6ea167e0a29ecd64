# SPDX-License-Identifier: Apache-2.0
"""The judge judged: by samples made by hand, and by a router whose claim does not compare before it sets."""
import os
import shutil
import subprocess
import time

import pytest

import checker
import fleet as fleets
from checker import Sample
from harness import BUILD, ROOT

TICK = 0.1


def samples(words, start=0.0, took=0.01):
    """One letter each tenth of a second: r holds the room, f holds it fenced, . does not, x no answer."""
    return [Sample(start + i * TICK, start + i * TICK + took, {"r": 1} if w in "rf" else None if w == "x" else {}, w == "f")
            for i, w in enumerate(words)]


def overlap(*nodes):
    return checker.overlap({f"n{i}": s for i, s in enumerate(nodes)})[0]


def test_chaos_short_checker_sees_what_two_nodes_accept_at_once_and_nothing_else():
    assert overlap(samples("rrrrr....."), samples(".....rrrrr", 0.05)) == 0, "handed over"
    assert overlap(samples("rrrrrrrrrr"), samples("..........", 0.05)) == 0
    assert overlap(samples("rrrrrrfff."), samples("......rrrr", 0.05)) == 0, "fenced, then taken"
    assert overlap(samples("rrrrrr...."), samples("...rrrrrrr", 0.05)) == pytest.approx(0.14)
    assert overlap(samples("rrrrrr...."), samples("...r......", 0.05)) == pytest.approx(0.001), "a moment within a span"
    assert overlap(samples("rrxxxxxxxx"), samples("....rrrrrr", 0.05)) == 0, "one that is gone accepts nothing"


def test_chaos_short_checker_takes_no_sleep_for_consent():
    """Stopped for 3 s in the middle of a question, awake it says what it said before: nobody knows what it would have said meanwhile."""
    stopped = samples("rrr") + [Sample(0.3, 3.3, {"r": 1}, False), Sample(3.4, 3.41, {}, False)]
    assert overlap(stopped, samples("." * 10 + "r" * 15, 0.05)) == 0
    awake = samples("rrr") + [Sample(0.3, 3.3, {"r": 1}, False)] + samples("rrr", 3.31)
    assert overlap(awake, samples("." * 10 + "r" * 40, 0.05)) > 0.1


def test_chaos_short_checker_sees_a_participant_led_back_to_an_older_epoch():
    def entry(start, epoch):
        return checker.Entry(start, start, start, "n", "r", 101, "n", epoch, "-", "-")
    assert checker.entered_twice([entry(1, 5), entry(2, 6), entry(3, 6)]) == set()
    assert checker.entered_twice([entry(1, 5), entry(2, 6), entry(3, 5)]) == {"r"}


@pytest.fixture(scope="module")
def unguarded(tmp_path_factory):
    """A build whose claim sets without comparing."""
    if not shutil.which("meson"):
        pytest.skip("no meson")
    copy = tmp_path_factory.mktemp("unguarded")
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a checkout")
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    for words in (["patch", "-p1", "-s", "-i", ROOT / "tests/guards/claim-compare.patch"], ["meson", "setup", "build"],
                  ["ninja", "-C", "build", "router/usherd", "client/agent/usher-agent"]):
        done = subprocess.run(words, cwd=copy, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return copy / "build"


@pytest.mark.parametrize("guard", [True, False], ids=["as_it_is", "without_compare_and_set"])
def test_chaos_short_checker_tells_get_then_set_from_compare_and_set(stage, helper, say, guard, request):
    """Each room is joined for the first time through all routers at once, and one of them is far from the store: its claim
    comes when another router's room is long open."""
    build = BUILD if guard else request.getfixturevalue("unguarded")
    redis = stage.redis()
    wire = stage.wire(redis.port, delay_s=0.02)
    far = f"redis://127.0.0.1:{wire.port}"
    fleet = fleets.Fleet(stage, fleets.SHORT, helper, redis=False, build=build,
                         store={"r1": redis.url, "r2": redis.url, "r3": far})
    fleet.begin("-1", "-a", "-r", 20, fresh=0)
    fleet.load.wait()
    fleet.run_until(time.monotonic(), 2.5)
    fleet.end()
    owners = {}
    for join in fleet.joins:
        if join.ok():
            owners.setdefault(join.room, set()).add((join.node, join.epoch))
    split = sum(len(found) > 1 for found in owners.values())
    say(overlap_s=fleet.overlap_s, rooms_in_two_places=len(fleet.overlap_rooms), rooms_answered_two_ways=split, rooms=len(owners))
    assert len(owners) == fleets.SHORT.rooms, checker.codes(fleet.joins)
    if guard:
        assert fleet.overlap_s == 0 and split == 0
    else:
        assert fleet.overlap_s > 0 and fleet.overlap_rooms, "the checker is blind"
