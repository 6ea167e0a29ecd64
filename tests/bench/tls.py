# SPDX-License-Identifier: Apache-2.0
"""In turns, several rounds, so that what the machine does meanwhile meets both alike. One thread each: the server on core 0, the
clients and the far side together on core 1, with the same certificate (ECDSA P-256) and TLS 1.3."""
import contextlib
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests" / "scenario"))
os.environ.setdefault("USHER_BUILD", str(ROOT / "build-release"))
from authority import Authority, write  # noqa: E402
from compare.measure import cpu_s, memory_bytes, pin  # noqa: E402
from harness import Stage, free_port, until  # noqa: E402

PATH = "/v1/rooms/bench/signal"
TUNNELS, IDLE = 64, 2000


class Usher:
    name = "usher"

    def __init__(self, stage, ours, backend):
        self.router = stage.router("server.workers=1", "limits.connections_per_address=100000", "limits.connections=100000", "tunnel.idle_ms=3600000",
                                   tls=ours)
        self.pid, self.port = self.router.child.pid, int(self.router.url.rsplit(":", 1)[1])
        stage.node("far", self.router, signal_url=f"ws://127.0.0.1:{backend}/", control=False)
        self.router.wait_placeable("far")


class HAProxy:
    name = "HAProxy"

    def __init__(self, stage, ours, backend):
        self.port = free_port()
        pem, conf = stage.directory / "haproxy.pem", stage.directory / "haproxy.cfg"
        write(pem, b"".join(open(file, "rb").read() for file in (ours.cert, ours.key)))
        text = (HERE / "peers" / "tls.cfg").read_text()
        for word, value in (("PORT", self.port), ("PEM", pem), ("BACKEND", backend)):
            text = text.replace(word, str(value))
        conf.write_text(text)
        process = stage.process("haproxy", [shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", conf])
        self.pid = process.child.pid
        until("HAProxy listens", lambda: b":%04X " % self.port in pathlib.Path(f"/proc/{self.pid}/net/tcp").read_bytes())


@contextlib.contextmanager
def house(directory, kind, backend):
    """A fresh server, so that neither's memory is the other's past."""
    stage = Stage(pathlib.Path(tempfile.mkdtemp(dir=directory)))
    try:
        ca = Authority(stage.directory, "ca", trusted=True)
        server = kind(stage, ca.issue("ours", ["127.0.0.1", "localhost"]), backend)
        pin([server.pid], 0)
        yield server
    finally:
        stage.close()


def load(program, backend, server, tunnels, seconds):
    words = ["taskset", "-c", "1", program, str(backend), "127.0.0.1", str(server.port), PATH, str(tunnels), str(seconds)]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "open\n", "the tunnels do not open"
    return child


def relay(program, directory, kind, seconds):
    backend = free_port()
    with house(directory, kind, backend) as server:
        child = load(program, backend, server, TUNNELS, seconds)
        child.stdout.readline()
        before = cpu_s([server.pid])
        messages, took = (float(word) for word in child.stdout.readline().split())
        used = cpu_s([server.pid]) - before
        child.wait()
        return messages / took, used * 1e6 / messages


def idle(program, directory, kind):
    backend = free_port()
    with house(directory, kind, backend) as server:
        child = load(program, backend, server, TUNNELS, 1)  # what is allocated once is there
        child.wait()
        before = memory_bytes([server.pid])
        child = load(program, backend, server, IDLE, 0)
        grown = (memory_bytes([server.pid]) - before) / IDLE
        child.kill()
        child.wait()
        return grown


def row(name, values, unit):
    print(f"  {name:<8} {min(values):>10.1f} {statistics.median(values):>10.1f} {max(values):>10.1f}  {unit}")


def main():
    rounds, seconds = (int(word) for word in (sys.argv[1:] + ["5", "3"][len(sys.argv) - 1:])[:2])
    kinds = (Usher, HAProxy)
    with tempfile.TemporaryDirectory() as directory:
        program = str(pathlib.Path(directory) / "tls")
        subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", str(HERE / "tls.c"), "-o", program, "-lssl", "-lcrypto"], check=True)
        speeds, costs, sizes = ({kind: [] for kind in kinds} for _ in range(3))
        for n in range(rounds):
            for kind in kinds if n % 2 == 0 else kinds[::-1]:
                speed, cost = relay(program, directory, kind, seconds)
                speeds[kind].append(speed)
                costs[kind].append(cost)
        for n in range(min(rounds, 3)):
            for kind in kinds:
                sizes[kind].append(idle(program, directory, kind))
    print(f"{TUNNELS} tunnels, ping-pong of 200 bytes, {rounds} rounds of {seconds} s in turns     min     median        max")
    for kind in kinds:
        row(kind.name, speeds[kind], "messages/s")
        row(kind.name, costs[kind], "µs of CPU a message")
    print(f"{IDLE} idle tunnels")
    for kind in kinds:
        row(kind.name, sizes[kind], "bytes a tunnel (PSS)")
    ratio = [a / b for a, b in zip(speeds[Usher], speeds[HAProxy])]
    print(f"usher/HAProxy: messages {statistics.median(ratio):.2f}x, CPU a message "
          f"{statistics.median(a / b for a, b in zip(costs[Usher], costs[HAProxy])):.2f}x, memory "
          f"{statistics.median(a / b for a, b in zip(sizes[Usher], sizes[HAProxy])):.2f}x")


main()
