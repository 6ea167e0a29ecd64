# SPDX-License-Identifier: Apache-2.0
"""WebSocket tunnels without TLS: clients and the far side on one thread on core 1, the relay on core 0."""
import json

from harness import free_port

from . import measure, servers, turns

PATH = "/v1/rooms/bench/signal"
TUNNELS, IDLE = 64, 4000


def usher(stage, backend):
    return servers.usher(stage, redis=False, nodes=("far",), control=False, signal_url=f"ws://127.0.0.1:{backend}/")


def haproxy(stage, backend):
    return servers.haproxy(stage, "relay.cfg", BACKEND=backend)


def nginx(stage, backend):
    return servers.nginx(stage, "relay.conf", "nginx", "/alive", BACKEND=backend)


def messages(directory, rounds, seconds, size, aims, title):
    with turns.stage(directory) as stage:
        backends = {}
        relays = []
        for kind in (usher, haproxy, nginx, servers.bare_relay):
            backend = free_port()
            relays.append(kind(stage, backend))
            backends[relays[-1].name] = backend

        def go(server, rate=0):
            words = ["-p", PATH, "-l", size, "-f", backends[server.name]]
            return measure.load("tunnels", server, TUNNELS, seconds, *words, rate=rate, begins=("ready",))
        samples, rate = turns.in_turns(rounds, relays, go, go)
        return {"title": title, "samples": samples, "rate": rate,
                "table": turns.table(aims, work="a message", p99={"HAProxy": 1.0, "nginx": 1.0}),
                "what": f"{TUNNELS} tunnels, ping-pong; a message is there and back. Most: each tunnel as fast as it can. The bare relay "
                        "(`tests/bench/bare_relay.c`) is the floor: epoll_wait, recv and send, and nothing else."}


def small(directory, rounds, seconds):
    return messages(directory, rounds, seconds, 200, {"HAProxy": 1.4, "nginx": 1.2}, "WebSocket relay, 200 bytes")


def large(directory, rounds, seconds):
    return messages(directory, rounds, seconds, 16384, {"HAProxy": 1.8, "nginx": 1.2}, "WebSocket relay, 16 KiB")


def opened(directory, kind):
    """A fresh relay, so that none's memory is its past: what 64 tunnels made it allocate once is there already."""
    with turns.stage(directory) as stage:
        backend = free_port()
        server = kind(stage, backend)
        measure.load("tunnels", server, TUNNELS, 0.2, "-p", PATH, "-f", backend, begins=("ready",))
        before, used = measure.memory_bytes(server.pids), measure.cpu_s(server.pids)
        with measure.generator("tunnels", server, IDLE, "-p", PATH, "-f", backend, "-s", 0) as child:
            measure.line(server, child, "go")
            told = json.loads(measure.line(server, child))
            return server.name, {"opens_per_s": told["per_s"], "open_cpu_us": (measure.cpu_s(server.pids) - used) / IDLE * 1e6,
                                 "tunnel_bytes": (measure.memory_bytes(server.pids) - before) / IDLE}


def idle(directory, rounds, seconds):
    samples = {}
    for _ in range(rounds):
        for kind in (usher, haproxy, nginx, servers.bare_relay):
            name, told = opened(directory, kind)
            if kind is servers.bare_relay:
                del told["tunnel_bytes"]  # it has a table for all there may be
            for key, value in told.items():
                samples.setdefault(name, {}).setdefault(key, []).append(value)
    table = [("opens a second", "opens_per_s", "more", {"HAProxy": 1.0}), ("CPU an open", "open_cpu_us", "less", {}),
             ("memory a tunnel", "tunnel_bytes", "share", {"HAProxy": 0.15})]
    return {"title": f"{IDLE:,} idle tunnels", "samples": samples, "table": table,
            "what": "Opened 64 at a time, then held; memory is what the process grew by, without the kernel's buffers. The bare relay is the floor of "
                    "opening: it accepts, connects, and reads nothing of what it passes on."}


def waiting(directory, rounds, seconds):
    """Requests that wait for the store, at a router that holds tunnels and at one that does not. The rooms do not exist: each is asked for."""
    with turns.stage(directory) as stage:
        backend = free_port()
        crowded, empty = (servers.usher(stage, name=name, nodes=("far",), control=False, signal_url=f"ws://127.0.0.1:{backend}/")
                          for name in ("usher", "usher without tunnels"))

        def go(server, rate=0):
            words = ["-p", "/v1/rooms/none-{}/route", "-e", 404, "-w", '"code":"not_found"']
            return measure.load("http", server, TUNNELS, seconds, *words, rate=rate)
        with measure.generator("tunnels", crowded, IDLE, "-p", PATH, "-f", backend, "-s", 0) as child:
            measure.line(crowded, child, "go")
            measure.line(crowded, child)
            samples, rate = turns.in_turns(rounds, [crowded, empty], go, go)
        return {"title": f"Requests that wait, beside {IDLE:,} tunnels", "samples": samples, "rate": rate,
                "table": turns.table({"usher without tunnels": 0.95}),
                "what": f"`GET …/route` of rooms that do not exist, one Redis read each, {TUNNELS} connections, with {IDLE:,} idle tunnels open at "
                        "the same router, beside one without."}
