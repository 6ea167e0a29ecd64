# SPDX-License-Identifier: Apache-2.0
"""CPU of a request of 1 KiB: libcurl's multi handle, the least that could do the same (both bare_client.c), and a router that proxies it."""
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build-release"
CLIENT = BUILD / "bare_client"
CONNECTIONS = 64
sys.path.insert(0, str(ROOT / "tests" / "scenario"))
os.environ.setdefault("USHER_BUILD", str(BUILD))

from compare import measure, proxy, servers, turns  # noqa: E402


def bare(kind, far, requests, *wrap):
    words = ["taskset", "-c", "0", *wrap, CLIENT, kind, far.address.split(":")[1], "/small", CONNECTIONS, requests]
    run = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=True)
    return json.loads(run.stdout), run.stderr


def counted(kind, far):
    """Instructions of one request: what a thousand more take."""
    def collected(requests):
        _, said = bare(kind, far, requests, "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")
        return int(re.search(r"Collected : (\d+)", said)[1])
    return (collected(3000) - collected(2000)) / 1000


def proxied(server, seconds=2):
    """CPU of usher by wrk, split as the kernel does: user and kernel mode."""
    def ticks():
        fields = pathlib.Path(f"/proc/{server.pids[0]}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]), int(fields[12])
    before = ticks()
    told = measure.wrk(server, seconds, proxy.PATH + "small", connections=CONNECTIONS)
    user, kernel = (now - then for now, then in zip(ticks(), before))
    return {"user_us": told["cpu_us"] * user / (user + kernel), "kernel_us": told["cpu_us"] * kernel / (user + kernel)}


def main(rounds="5", requests="50000"):
    with tempfile.TemporaryDirectory() as directory, turns.stage(directory) as stage:
        far = proxy.origin(stage)
        router = servers.usher(stage, redis=False, control=False, signal_url=f"ws://{far.address}/")
        kinds = {"libcurl": lambda: bare("curl", far, requests)[0], "our own": lambda: bare("own", far, requests)[0],
                 "a router": lambda: proxied(router)}
        samples = {name: [] for name in kinds}
        for _ in range(int(rounds)):
            for name, run in kinds.items():
                samples[name].append(run())
        for name, told in samples.items():
            user, kernel = (statistics.median(one[key] for one in told) for key in ("user_us", "kernel_us"))
            print(f"{name:10} {user:6.1f} µs in user mode, {kernel:6.1f} in the kernel, {user + kernel:6.1f} in all")
        for name, kind in (("libcurl", "curl"), ("our own", "own")):
            print(f"{name:10} {counted(kind, far):9,.0f} instructions")
        total = [[one["user_us"] + one["kernel_us"] for one in samples[name]] for name in kinds]
        shares = [(curl - own) / whole for curl, own, whole in zip(*total)]
        print(f"the difference is {statistics.median(shares):.0%} of what a router takes ({min(shares):.0%} to {max(shares):.0%})")


main(*sys.argv[1:])
