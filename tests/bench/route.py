# SPDX-License-Identifier: Apache-2.0
"""In turns, several rounds: so that what the machine does meanwhile meets all three alike."""
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests" / "scenario"))
os.environ.setdefault("USHER_BUILD", str(ROOT / "build-release"))
from harness import Stage, call, free_port, until  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")


def cpu_s(pids):
    total = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def family(pid):
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(int(child) for child in children)]


def start_nginx(stage, redis):
    port, directory = free_port(), stage.directory
    text = (HERE / "nginx.conf").read_text()
    for word, value in (("DIRECTORY", str(directory)), ("MODULES", "/usr/lib/nginx/modules"), ("PORT", str(port)), ("REDIS", str(redis.port))):
        text = text.replace(word, value)
    conf = pathlib.Path(directory) / "nginx.conf"
    conf.write_text(text)
    stage.process("nginx", [shutil.which("nginx") or "/usr/sbin/nginx", "-c", conf])
    url = f"http://127.0.0.1:{port}"

    def answers():
        try:
            return call("GET", url + "/v1/rooms/known/route").status == 200
        except OSError:
            return False
    until("nginx answers", answers)
    return url, stage.things[-1].child.pid


def start_bare(stage):
    program = pathlib.Path(stage.directory) / "bare"
    subprocess.run(["cc", "-O2", str(HERE / "bare.c"), "-o", str(program), "-lmicrohttpd"], check=True)
    process = stage.process("bare", [program])
    port = until("the responder says its port", lambda: process.log.read_text().strip())
    return f"http://127.0.0.1:{port}", process.child.pid


def start_usher(stage, redis):
    router = stage.router(f"registry.url={redis.url}", "server.workers=1", "limits.connections_per_address=100000")
    stage.node("sfu-1", router)
    router.wait_placeable("sfu-1")
    assert router.join("known").status == 200
    assert call("GET", router.url + "/v1/rooms/known/route").headers["x-usher-node"] == "sfu-1"
    return router.url, router.child.pid



def measure(url, pids, seconds):
    before = cpu_s(pids)
    out = subprocess.run(["taskset", "-c", "1", "wrk", "-t1", "-c64", f"-d{seconds}", url + "/v1/rooms/known/route"],
                         capture_output=True, text=True, check=True).stdout
    spent = cpu_s(pids) - before
    if "Non-2xx" in out or "Socket errors" in out:
        raise SystemExit(out)
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    rate = float(re.search(r"Requests/sec:\s*([\d.]+)", out).group(1))
    return rate, spent / requests * 1e6


def row(name, samples, floor):
    rates, costs = zip(*samples)
    ratio = statistics.median(r / f for r, f in zip(rates, (s[0] for s in floor)))
    spread = lambda values, form: " / ".join(format(v, form) for v in (min(values), statistics.median(values), max(values)))
    print(f"| {name} | {spread(rates, ',.0f')} | {spread(costs, '.1f')} | {ratio:.2f} |")


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    with tempfile.TemporaryDirectory() as directory:
        stage = Stage(directory)
        try:
            redis = stage.redis()
            servers = {"bare libmicrohttpd": start_bare(stage), "usher route": start_usher(stage, redis),
                       "nginx + Lua + Redis": start_nginx(stage, redis)}
            for _, pid in servers.values():
                for member in family(pid):
                    subprocess.run(["taskset", "-a", "-cp", "0", str(member)], check=True, capture_output=True)
            samples = {name: [] for name in servers}
            for _ in range(rounds):
                for name, (url, pid) in servers.items():
                    samples[name].append(measure(url, family(pid), seconds))
        finally:
            stage.close()
    print(f"{rounds} rounds of {seconds} s in turns, 64 connections; minimum / median / maximum\n")
    print("| server | requests/s | CPU µs a request | of the bare responder |\n|---|---|---|---|")
    for name in samples:
        row(name, samples[name], samples["bare libmicrohttpd"])


main()
