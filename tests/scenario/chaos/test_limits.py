# SPDX-License-Identifier: Apache-2.0
"""What runs out: descriptors, the log's disk, names; and a herd that comes back at once."""
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

import checker
import fleet as fleets
from harness import until
from test_nodes import OTHERS_ERRORS_MAX, of

STALL_MAX_S = 0.05


class StallWatch:
    """The longest turn of any loop of one router, asked twice a second: the metric covers the last second."""

    def __init__(self, router):
        self.router, self.worst = router, 0.0

    def look(self):
        with contextlib.suppress(OSError, AssertionError, EOFError, TimeoutError):
            for line in self.router.get("/metrics", timeout=3).body.decode().splitlines():
                if line.startswith("usher_loop_stall_seconds{"):
                    self.worst = max(self.worst, float(line.rsplit(" ", 1)[1]))

    def watch(self, since, seconds):
        while time.monotonic() < since + seconds:
            self.look()
            time.sleep(0.5)


def limit(process, number):
    subprocess.run(["prlimit", "--pid", str(process.child.pid), f"--nofile={number}:{number}"], check=True)


def descriptors(process):
    return len(os.listdir(f"/proc/{process.child.pid}/fd"))


def test_chaos_router_out_of_descriptors(make_fleet, size, say):
    """What cannot be accepted waits or is shed; when descriptors are there again, so is the router."""
    fleet = make_fleet()
    owners = fleet.fill()
    router = fleet.routers["r1"]
    fleet.begin("-c")  # each join needs a descriptor
    limit(router, descriptors(router) + 20)
    host, port = fleet.at["r1"].split(":")
    at = time.monotonic()
    hoard = []
    for _ in range(200):
        with contextlib.suppress(OSError):
            hoard.append(socket.create_connection((host, int(port)), 2))
    watch = StallWatch(router)
    fleet.run_until(at, 3)
    for link in hoard:
        link.close()
    freed = time.monotonic()  # the metric covers the second before it is asked
    watch.watch(freed, 3)
    fleet.end()
    mine = [j for j in fleet.joins if j.router == "r1"]
    short = [j for j in mine if at < j.due < freed]
    back = max((j.end for j in mine if j.end > freed and (not j.ok() or j.end - j.due > 0.5)), default=freed) - freed
    elsewhere = [j for j in fleet.joins if j.router != "r1"]
    moved = checker.moved(owners, fleet.sweep())
    say(meanwhile=checker.codes(short), meanwhile_slowest_s=checker.quantile([j.end - j.due for j in short], 1), back_s=back, stall_s=watch.worst, errors_at_the_others=checker.error_share(elsewhere), moved=len(moved))
    assert router.child.poll() is None and back <= 1 and not moved
    assert {j.status for j in short} <= {200, 503} and any(j.status == 503 for j in short), "nothing was shed"
    assert checker.error_share(elsewhere) < OTHERS_ERRORS_MAX
    assert watch.worst <= STALL_MAX_S


@pytest.fixture
def small_disk(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "chaos", path], check=True)
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_chaos_log_disk_full(small_disk, make_fleet, size, say):
    """A line that cannot be written is counted and gone; nobody waits for it."""
    fleet = make_fleet()
    owners = fleet.fill()
    fleet.routers["r1"].kill()
    fleet.log_directory["r1"] = small_disk
    router = fleet.start_router("r1", "log.level=debug")
    disk = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(b"x" * (disk.f_bavail * disk.f_bsize - 16384))
    fleet.begin(fresh=2)
    watch = StallWatch(router)
    full = lambda: os.statvfs(small_disk).f_bavail == 0
    until("the disk is full", full, 60)
    at = time.monotonic()
    watch.watch(at, 4)
    dropped = sum(float(line.rsplit(" ", 1)[1]) for line in router.get("/metrics").body.decode().splitlines()
                  if line.startswith("usher_log_dropped_total"))
    (small_disk / "filler").unlink()
    freed = time.monotonic()
    size_then = router.log.stat().st_size
    until("lines are written again", lambda: router.log.stat().st_size > size_then, 5)
    back = time.monotonic() - freed
    fleet.end()
    mine = [j for j in fleet.joins if j.router == "r1" and j.due > at]
    moved = checker.moved(owners, fleet.sweep())
    say(dropped_lines=int(dropped), written_again_s=back, errors=checker.error_share(mine), p99_s=checker.quantile([j.end - j.due for j in mine], .99),
        stall_s=watch.worst, moved=len(moved))
    assert dropped > 0 and checker.error_share(mine) < OTHERS_ERRORS_MAX and not moved
    assert watch.worst <= STALL_MAX_S and back <= 1


NAMES_S = 10  # what the C library asks before it gives a name up: resolv.conf of net.py
CLOSED_S = 8   # of a breaker that opened three times: 1 + 2 + 4 s, and its jitter


class NamedNode:
    """A node whose URLs have names, whose heartbeats go through one router."""

    def __init__(self, router):
        info = {"incarnation": "named", "signal_url": "ws://sfu.example.org:7000/signal", "control_url": "http://sfu.example.org:7001",
                "labels": {"named": "yes"}}
        answer = router.put("/v1/nodes/named", info)
        assert answer.status == 201, answer
        self.router, self.registration, self.seq, self.slowest_s = router, answer.json()["registration"], 0, 0.0

    def beat(self):
        self.seq, start = self.seq + 1, time.monotonic()
        body = {"incarnation": "named", "registration": self.registration, "seq": self.seq, "load": {"cpu": 0.01}}
        self.router.post("/v1/nodes/named/heartbeat", body)
        self.slowest_s = max(self.slowest_s, time.monotonic() - start)
        time.sleep(0.2)

    def takes_a_room(self):
        self.beat()
        return self.router.join(f"named-{self.seq}", {"require": {"named": "yes"}}).status == 200


@pytest.mark.full_only
def test_chaos_dns_dead(net, make_fleet, size, say):
    """A node whose URLs have names, in a network whose name server does not answer: that node cannot be reached, and nothing
    else notices. Once names are answered it takes rooms again, by itself."""
    server = net.host("names")
    net.resolver("r1", server)
    fleet = make_fleet(net=net)
    owners = fleet.fill()
    router = fleet.routers["r1"]
    fleet.begin()
    named_sfu = subprocess.Popen([*net.within("names"), sys.executable, pathlib.Path(__file__).with_name("named_sfu.py"), server],
                                 stdout=subprocess.PIPE)
    try:
        assert named_sfu.stdout.readline() == b"ready\n"
        node, watch, at = NamedNode(router), StallWatch(router), time.monotonic()
        while time.monotonic() < at + 6:
            assert not node.takes_a_room(), "without a name"
            watch.look()
        named_sfu.send_signal(signal.SIGUSR1)
        back = time.monotonic()
        until("the node takes rooms", node.takes_a_room, NAMES_S + CLOSED_S)
        back_s = time.monotonic() - back
    finally:
        named_sfu.kill()
        named_sfu.wait()
    fleet.end()
    mine = [j for j in fleet.joins if j.router == "r1" and j.due > at]
    rest = [j for j in mine if "new-" not in j.room]
    new = [j for j in mine if "new-" in j.room]
    moved = checker.moved(owners, fleet.sweep(routers=["r2"]))
    say(known_errors=checker.error_share(rest), known_p99_s=checker.quantile([j.end - j.due for j in rest], .99), new=checker.codes(new),
        new_max_s=checker.quantile([j.end - j.due for j in new], 1), heartbeat_max_s=node.slowest_s, stall_s=watch.worst, back_s=back_s,
        moved=len(moved))
    assert checker.error_share(rest) < OTHERS_ERRORS_MAX and not moved
    assert watch.worst <= STALL_MAX_S


# -- the herd -------------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="session")
def herder(tmp_path_factory):
    return fleets.build_helper(tmp_path_factory.mktemp("chaos-herd"), "herd")


@pytest.mark.parametrize("tunnels", [5000, pytest.param(20000, marks=pytest.mark.full_only)])
def test_chaos_clients_of_a_dead_node_reconnect_at_once(make_fleet, size, say, herder, tunnels):
    if tunnels == 20000 and (os.cpu_count() or 1) < 8:
        pytest.skip("20,000 tunnels are for machines with 8 cores")
    fleet = make_fleet(router_sets=["limits.connections=100000"])
    owners = fleet.fill()
    rooms = sorted(of(owners, "n1"))
    memory = {name: fleets.resident_kib(r) for name, r in fleet.routers.items()}
    herd = fleets.Herd(fleet, herder, tunnels, rooms)
    until("all are in", lambda: herd.inside() == tunnels, 60)
    first = herd.entries()
    grown = sum(fleets.resident_kib(r) - memory[name] for name, r in fleet.routers.items())
    at = time.monotonic()
    fleet.agents["n1"].kill()
    herd.wait_back(at, 70)
    rows = herd.stop()
    # Goodput: tunnels opened per second, over the time from the first to the last of the middle 90 %.
    peak = fleets.rate_of([t for t in first])
    again = sorted(t for t, what in rows if what == "in" and t > at)
    goodput = fleets.rate_of(again)
    all_in = (again[-1] - at) if len(again) >= tunnels else float("inf")
    say(tunnels=tunnels, peak_per_s=peak, goodput_per_s=goodput, share=goodput / peak, all_in_s=all_in, came_back=len(again),
        router_kib_per_tunnel=grown / tunnels)
    assert len(again) >= tunnels and all_in <= 60
    assert goodput >= 0.7 * peak
    assert grown / tunnels <= 200, "KiB for each tunnel"
