# SPDX-License-Identifier: Apache-2.0
"""CPU time, memory and load, each read where the kernel or the generator tells it. A wrong answer or an error ends the run."""
import contextlib
import json
import os
import pathlib
import re
import subprocess
import time

PROGRAM = None  # usher-load, built by __main__


class Wrong(Exception):
    """What was measured was not the work."""


def cpu_s(pids):
    """User and kernel time of these processes, all threads, to the nanosecond: their clock as clock_getcpuclockid() makes it, which
    Python lacks. /proc tells ticks of 10 ms."""
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)


def memory_bytes(pids):
    """Resident, shared pages divided among those who share them: nginx's master and worker are not counted twice."""
    def pss(pid):
        rows = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(row.split()[1]) * 1024 for row in rows if row.startswith("Pss:"))
    return sum(pss(pid) for pid in pids)


def family(pid):
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(int(child) for child in children)]


def allow(pids, cores):
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(task), cores)


def pin(pids, core):
    allow(pids, {core % os.cpu_count()})


def spread(pids):
    allow(pids, range(min(2, os.cpu_count())))


def wrk(server, seconds, path, *words, connections=64):
    """Closed loop: requests/s and CPU a request."""
    before = cpu_s(server.pids)
    run = subprocess.run(["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}", *words, f"http://{server.address}{path}"],
                         capture_output=True, text=True)
    spent = cpu_s(server.pids) - before
    if run.returncode or "Non-2xx" in run.stdout or "Socket errors" in run.stdout:
        raise Wrong(f"{server.name}: {run.stdout}{run.stderr}")
    requests = int(re.search(r"(\d+) requests in", run.stdout).group(1))
    return {"per_s": float(re.search(r"Requests/sec:\s*([\d.]+)", run.stdout).group(1)), "cpu_us": spent / requests * 1e6}


@contextlib.contextmanager
def generator(mode, server, connections, *words):
    argv = ["taskset", "-c", "1", PROGRAM, mode, "-t", server.address, "-c", connections, *words]
    child = subprocess.Popen([str(word) for word in argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        child.stdin.close()
        child.kill()
        child.wait()


def line(server, child, wanted=None):
    text = child.stdout.readline()
    if not text or (wanted and text.strip() != wanted):
        raise Wrong(f"{server.name}: the load ended early: {text}")
    return text


def load(mode, server, connections, seconds, *words, rate=0, begins=()):
    """usher-load's account, with CPU a request between its "go" and its end."""
    words = [*words, "-s", seconds, *(["-r", f"{rate:.1f}"] if rate else [])]
    with generator(mode, server, connections, *words) as child:
        for wanted in (*begins, "go"):
            line(server, child, wanted)
        before = cpu_s(server.pids)
        told = json.loads(line(server, child))
        spent = cpu_s(server.pids) - before
    if told["wrong"] or told["lost"] or not told["answered"]:
        raise Wrong(f"{server.name}: {told}")
    if told["unasked"]:
        raise Wrong(f"{server.name} cannot bear {rate:.0f}/s: {told}")
    return {**told, "cpu_us": spent / told["answered"] * 1e6}
