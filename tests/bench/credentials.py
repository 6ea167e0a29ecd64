# SPDX-License-Identifier: Apache-2.0
"""Instructions of a join of a known room by each kind of credential, counted by callgrind in a release build.

`check` is access_admit() with all that it calls, `of a join` its share of a join without credentials. A join also makes a ticket
where credentials are asked for; that is in `join`, and in the second table's times. Seen: the worker has checked the token lately.
First: it never saw it. Valgrind's processor has no instructions for SHA-256, which costs 20 instructions a byte there.
"""
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "scenario"))

from harness import Stage, bearer  # noqa: E402
from http1 import head  # noqa: E402
from test_access import House  # noqa: E402

JOINS = int(sys.argv[1]) if len(sys.argv) > 1 else 500
WARM, TIMED = 50, 2000
BUILD = HERE.parent.parent / "build-release"
LONG = ["nodes.heartbeat_ms=5000", "nodes.lease_ms=60000", "server.workers=1", "auth.wrong_per_minute=0"]


def wrapped(directory):
    """A build whose usherd runs under callgrind."""
    program = directory / "router" / "usherd"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nexec valgrind -q --tool=callgrind --callgrind-out-file={directory}/out {BUILD}/router/usherd \"$@\"\n")
    program.chmod(0o755)
    return directory


def joins(router, tokens):
    host, port = router.url[7:].split(":")
    with socket.create_connection((host, int(port))) as s:
        stream = s.makefile("rb")
        for token in tokens:
            body = b'{"participant":"ann"}'
            s.sendall(head("POST", "/v1/rooms/r/join", "localhost", {**bearer(token), "Content-Type": "application/json"}, len(body)) + body)
            assert stream.readline().startswith(b"HTTP/1.1 200 "), "a join failed"
            length = 0
            while (line := stream.readline()) != b"\r\n":
                length = int(line.split(b":")[1]) if line.lower().startswith(b"content-length:") else length
            stream.read(length)


def control(router, *words):
    subprocess.run(["callgrind_control", *words, str(router.child.pid)], check=True, capture_output=True)


def inclusive(path):
    """Total instructions, and of each function with what it calls."""
    text = subprocess.run(["callgrind_annotate", "--inclusive=yes", "--threshold=100", str(path)], capture_output=True, text=True, check=True).stdout
    rows = re.findall(r"^\s*([\d,]+) \([^)]*\)\s+(?:\S+:)?(\S+)", text, re.M)
    counts = {}
    for count, name in rows:
        counts.setdefault(name.split("'")[0], int(count.replace(",", "")))
    return counts


def counted(tokens_of, mode):
    """Instructions of a join, of looking at its credential, and of the signature in that."""
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        stage = Stage(directory)
        try:
            house = House(stage, directory, *LONG, mode=mode, build=wrapped(directory))
            assert house.router.join("r").status == 200
            tokens = tokens_of(house, WARM + JOINS)
            joins(house.router, tokens[:WARM])
            control(house.router, "-z")
            joins(house.router, tokens[WARM:])
            control(house.router, "-d")
            counts = inclusive(sorted(directory.glob("out.*"))[-1])
            return [counts.get(name, 0) / JOINS for name in ("PROGRAM", "access_admit", "sign_verify")]
        finally:
            stage.close()


def cpu_us(router, tokens):
    """CPU time of the router's process for each of these joins, as the scheduler counts it."""
    def spent():
        return sum(int(task.read_text().split()[0]) for task in pathlib.Path(f"/proc/{router.child.pid}/task").glob("*/schedstat"))
    before = spent()
    joins(router, tokens)
    return (spent() - before) / 1000 / len(tokens)


def confine(router):
    """Server on one core, client on another: who wakes whom where would decide otherwise."""
    for task in pathlib.Path(f"/proc/{router.child.pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {0})
    os.sched_setaffinity(0, {1 % os.cpu_count()})


def timed(directory, rounds=9):
    """CPU microseconds of a join by each kind, in turns, beside the kind without a credential in the same round."""
    stage = Stage(directory)
    try:
        houses = {}
        for mode in ("none", "token", "jwt"):
            (directory / mode).mkdir()
            houses[mode] = House(stage, directory / mode, *LONG, mode=mode, build=BUILD)
            assert houses[mode].router.join("r").status == 200
            confine(houses[mode].router)
        took = {kind: [] for kind, _, _ in KINDS}
        for _ in range(rounds):
            for kind, mode, tokens_of in KINDS:
                tokens = tokens_of(houses[mode], TIMED)
                took[kind].append(cpu_us(houses[mode].router, tokens))
        return took
    finally:
        stage.close()


def seen(token_of):
    return lambda house, n: [token_of(house)] * n


def first(alg):
    return lambda house, n: [house.keys.make("join", alg, sub=f"{time.monotonic_ns()}-{i}") for i in range(n)]


def once_made(alg):
    made = {}
    return lambda house: made.setdefault(house, house.keys.make("join", alg))


ALGS = ("HS256", "RS256", "ES256", "EdDSA")
KINDS = [("none", "none", seen(lambda house: None)), ("static", "token", seen(lambda house: house.tokens["join"]))]
KINDS += [(f"{alg} seen", "jwt", seen(once_made(alg))) for alg in ALGS] + [(f"{alg} first", "jwt", first(alg)) for alg in ALGS]


def main():
    print(f"{'credential':12} {'join':>9} {'check':>9} {'of a join':>9} {'signature':>10} {'rest':>7}   instructions, mean of {JOINS}")
    base = None
    for kind, mode, tokens_of in KINDS:
        join, check, verify = counted(tokens_of, mode)
        base = base or join
        print(f"{kind:12} {join:9.0f} {check:9.0f} {check / base:9.1%} {verify:10.0f} {check - verify:7.0f}", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        took = timed(pathlib.Path(directory))
    print(f"\n{'credential':12} {'median':>7} {'least':>7} {'most':>7} {'ratio':>6}   CPU us of a join, its ticket included, {len(took['none'])} rounds of {TIMED}")
    for kind, row in took.items():
        ratio = statistics.median(mine / none for mine, none in zip(row, took["none"]))
        print(f"{kind:12} {statistics.median(row):7.1f} {min(row):7.1f} {max(row):7.1f} {ratio:6.2f}")


main()
