# SPDX-License-Identifier: Apache-2.0
"""Wall clocks that are an hour off, each on one host. They date things; nothing may be owned or end by them.

libfaketime stands for the host's clock: it moves the wall clock and leaves the monotonic ones alone, as a host whose NTP is
broken does. Redis does not start with it; clock.c is the same for that one.
"""
import email.utils
import glob
import time

import pytest

import checker
from fleet import build_helper, ready_after
from harness import call, until
from test_nodes import OTHERS_ERRORS_MAX, lost
from test_redis import fenced, fresh

LIBRARY = next(iter(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")), None)
HOUR = {"ahead": "+3600", "behind": "-3600"}
IDLE = ["rooms.idle_ttl_ms=60000"]  # far over what a room goes unused here, far under an hour
OFF = ["ahead", pytest.param("behind", marks=pytest.mark.full_only)]

pytestmark = pytest.mark.skipif(not LIBRARY, reason="no faketime on this machine")


@pytest.fixture
def set_clock(tmp_path):
    """set_clock(off): how far the clock is off, within a second. What is started with set_clock.env has that clock."""
    def set_to(off):
        (tmp_path / "clock").write_text(off)
    set_to.env = {"LD_PRELOAD": LIBRARY, "FAKETIME_TIMESTAMP_FILE": str(tmp_path / "clock"), "FAKETIME_CACHE_DURATION": "1",
                  "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1"}
    set_to("+0")
    return set_to


@pytest.fixture(scope="session")
def redis_clock(tmp_path_factory):
    library = build_helper(tmp_path_factory.mktemp("chaos-clock"), "clock", "-shared", "-fPIC")
    return lambda off: {"LD_PRELOAD": str(library), "CLOCK_OFF_S": off}


def clock_of(url):
    """By the Date of its answer."""
    return email.utils.parsedate_to_datetime(call("GET", url, timeout=3).headers["date"]).timestamp()


def judge(fleet, owners, say, joins, **more):
    moved = checker.moved(owners, fleet.sweep(routers=["r2"]))
    say(moved=len(moved), lost=len(lost(fleet)), fenced_samples=fenced(fleet), errors=checker.error_share(joins), codes=checker.codes(joins),
        overlap_s=fleet.overlap_s, **more)
    assert not moved and not lost(fleet) and not fenced(fleet) and fleet.overlap_s == 0
    assert checker.error_share(joins) < OTHERS_ERRORS_MAX


@pytest.mark.parametrize("off", OFF)
def test_chaos_clock_of_an_agent(make_fleet, size, say, set_clock, off):
    fleet = make_fleet(router_sets=IDLE)
    fleet.env["n1"] = set_clock.env
    fleet.agents["n1"].stop()
    until("it has left", lambda: (fleet.node("n1") or {"state": "lost"})["state"] == "lost")
    fleet.start_agent("n1")
    fleet.routers["r1"].wait_placeable("n1")
    owners = fleet.fill()
    before = len(lost(fleet))
    fleet.begin()
    set_clock(HOUR[off])
    fleet.run_until(time.monotonic(), 2 * size.lost_s + 1)
    off_s = abs(clock_of(f"http://{fleet.control_at['n1']}/rooms") - time.time())
    fleet.end()
    assert off_s > 3500, "the clock is not off: the test proves nothing"
    moved = checker.moved(owners, fleet.sweep())
    on_it = sum(node == "n1" for node, _ in owners.values())
    say(moved=len(moved), lost=len(lost(fleet)) - before, fenced_samples=fenced(fleet), errors=checker.error_share(fleet.joins),
        rooms_on_it=on_it, overlap_s=fleet.overlap_s)
    assert not moved and len(lost(fleet)) == before and not fenced(fleet) and fleet.overlap_s == 0 and on_it
    assert checker.error_share(fleet.joins) < OTHERS_ERRORS_MAX


@pytest.mark.full_only
@pytest.mark.parametrize("off", HOUR)
def test_chaos_clock_of_a_router(make_fleet, size, say, set_clock, off):
    fleet = make_fleet(router_sets=IDLE)
    owners = fleet.fill()
    fleet.env["r1"] = set_clock.env
    fleet.routers["r1"].kill()
    fleet.begin()
    fleet.start_router("r1")

    def refuses():
        return call("GET", fleet.routers["r1"].url + "/readyz", timeout=2).status == 503
    ready_after(fleet.routers["r1"])
    set_clock(HOUR[off])
    at = time.monotonic()
    left_s = None
    while time.monotonic() - at < 17 and left_s is None:
        left_s = time.monotonic() - at if refuses() else None
        time.sleep(0.1)
    fleet.run_until(at, size.lost_s + 2)
    fleet.end()
    others = [j for j in fleet.joins if j.router != "r1"]
    judge(fleet, owners, say, others, left_readyz_s=left_s)
    assert left_s is not None and left_s <= 15, "a router whose clock is off goes on taking traffic"


@pytest.mark.parametrize("off", OFF)
def test_chaos_clock_of_the_redis_host(make_fleet, size, say, redis_clock, off):
    """The store's clock makes epochs: an hour back, the next ones must still be higher."""
    fleet = make_fleet(router_sets=IDLE)
    owners = fleet.fill()
    fleet.env["redis"] = redis_clock(HOUR[off])
    assert fleet.redis_says("SAVE")
    fleet.begin()
    fleet.redis.kill()
    fleet.start_redis()
    began = int(fleet.redis_says("TIME")[0])
    assert abs(abs(began - time.time()) - 3600) < 60, "the clock is not off: the test proves nothing"
    back = time.monotonic()
    fleet.run_until(back, 2 * size.lost_s)
    ready = [router.get("/readyz").status for router in fleet.routers.values()]
    fleet.end()
    settled = [j for j in fleet.joins if j.due > back + 1]
    made = [j.epoch for j in fresh(settled) if j.ok()]
    moved = checker.moved(owners, fleet.sweep())
    higher = min(made, default=0) > max(epoch for _, epoch in owners.values())
    say(moved=len(moved), lost=len(lost(fleet)), errors=checker.error_share(settled), codes=checker.codes(settled), new_rooms=len(made),
        new_epochs_higher=higher, overlap_s=fleet.overlap_s)
    assert not moved and not lost(fleet) and fleet.overlap_s == 0 and higher
    assert ready == [200] * len(ready), "the store's clock is off, not the routers'"
    assert checker.error_share(settled) < OTHERS_ERRORS_MAX
