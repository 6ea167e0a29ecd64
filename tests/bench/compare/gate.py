# SPDX-License-Identifier: Apache-2.0
"""What usher-agent's gate adds: its echo SFU through the gate and at its own port, in turns. One thread of one process carries both, so
what differs is the gate itself and one more pair of sockets."""
import json
import pathlib
import statistics

from harness import free_port

from . import fleet, measure, servers, turns

TUNNELS, FIRST = 1000, 64
ROOM = "bench"


def listening_ports(pid):
    """Of IPv4, as /proc has them."""
    inodes = {link.readlink().name for link in pathlib.Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    rows = (row.split() for row in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:])
    return {int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes}


def sides(stage):
    """The same SFU twice: through the gate, and without it."""
    ours = servers.usher(stage, redis=False, nodes=())
    measure.pin([ours.router.child.pid], 1)
    agent = stage.agent("n1", [ours.router], "agent.tunnel_idle_ms=3600000")
    ours.router.wait_placeable("n1")
    epoch = ours.router.join(ROOM).json()["epoch"]
    gate, control = (int(agent.event("started")[word].rsplit(":", 1)[1]) for word in ("listen", "control_listen"))
    (own,) = listening_ports(agent.child.pid) - {gate, control}
    measure.pin([agent.child.pid], 0)
    says = ["-H", f"X-Usher-Room: {ROOM}\r\nX-Usher-Epoch: {epoch}"]
    return [(servers.Server(name, f"127.0.0.1:{port}", [agent.child.pid]), path, says)
            for name, port, path in (("through the gate", gate, "/signal"), ("at its own port", own, ""))]


def round_trip(side, seconds, kind):
    """µs from the one client's view, and of the agent's CPU: one request or message at a time."""
    server, path, says = side
    if kind == "message":
        told = measure.load("tunnels", server, 1, seconds, "-p", path or "/", "-l", 200, "-f", free_port(), *says, begins=("ready",))
    else:
        told = measure.load("http", server, 1, seconds, "-p", f"{path}/_sha256", "-w", '"sha256":"', *says)
    return 1e6 / told["per_s"], told["cpu_us"]


def tunnel_bytes(directory, i):
    """Of one that is idle, in a fresh agent; FIRST of them have been there before, for what the process allocates once."""
    with turns.stage(directory) as stage:
        side = sides(stage)[i]
        server, path, says = side
        words = ["-p", path or "/", "-f", free_port(), *says]
        measure.load("tunnels", server, FIRST, 0.2, *words, begins=("ready",))
        before = measure.memory_bytes(server.pids)
        with measure.generator("tunnels", server, TUNNELS, *words, "-s", 0) as child:
            measure.line(server, child, "go")
            json.loads(measure.line(server, child))
            return (measure.memory_bytes(server.pids) - before) / TUNNELS


def spread(values, digits=0):
    return f"**{statistics.median(values):,.{digits}f}** ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def gate(directory, rounds, seconds):
    facts = []
    with turns.stage(directory) as stage:
        both = sides(stage)
        for kind, words in (("message", "a WebSocket message of 200 bytes"), ("request", "a plain HTTP request")):
            pairs = [[round_trip(side, seconds, kind) for side in both] for _ in range(rounds)]
            added, cpu = ([with_it[i] - without[i] for with_it, without in pairs] for i in (0, 1))
            alone = statistics.median(without[0] for _, without in pairs)
            facts.append(fleet.fact(f"the round trip of {words}: {spread(added)} µs more than the {alone:,.0f} of the SFU alone, and "
                                    f"{spread(cpu)} µs more CPU", "≤ 60 µs", statistics.median(added) <= 60))
    memory = [[tunnel_bytes(directory, i) for i in (0, 1)] for _ in range(rounds)]
    added = [with_it - without for with_it, without in memory]
    facts.append(fleet.fact(f"an idle tunnel: {spread(added)} bytes more than the SFU's own", "≤ 8 KiB", statistics.median(added) <= 8192))
    return {"title": "The gate in front of an SFU", "samples": {}, "table": [], "facts": facts,
            "what": "usher-agent with its echo SFU, through the gate and at the SFU's own port, in turns: one client, one message or request at "
                    f"a time; memory by {TUNNELS:,} idle tunnels, without the kernel's buffers. Gate and SFU are one thread of one process."}
