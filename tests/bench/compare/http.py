# SPDX-License-Identifier: Apache-2.0
"""route and join of a known room."""
import base64
import json
import os
import pathlib

from test_access import static_line, write_secret

from . import measure, servers, turns

ROUTE = "/v1/rooms/known/route"
JOIN = "/v1/rooms/known/join"
BODY = '{"participant":"ann"}'


def route(directory, rounds, seconds):
    with turns.stage(directory) as stage:
        ours = servers.usher(stage)
        assert ours.router.join("known").status == 200
        all_of_them = [ours, servers.nginx_lua(stage), servers.node_js(stage), servers.haproxy_map(stage),
                       *(servers.bare(stage, how) for how in servers.BARE)]
        for server in all_of_them:
            node = server.get(ROUTE).json()["node"]
            server.words = f'"room":"known","node":"{node}"'
        samples, rate = turns.in_turns(rounds, all_of_them, lambda s: measure.wrk(s, seconds, ROUTE),
                                       lambda s, rate: measure.load("http", s, 64, seconds, "-p", ROUTE, "-w", s.words, rate=rate))
        aims = {"nginx + Lua + Redis": 3.5, "Node.js + ioredis": 5, "HAProxy, map file": 0.9, servers.BARE["loop"]: 0.85}
        return {"title": "`route` of a known room", "samples": samples, "rate": rate, "table": turns.table(aims),
                "memory": {s.name: measure.memory_bytes(s.pids) for s in all_of_them},
                "what": "`GET /v1/rooms/known/route`, keep-alive, 64 connections, one worker. Most: wrk, closed loop. A bare libmicrohttpd (`tests/bench/bare.c`) is "
                        "the floor: on libuv's loop, as usher is, with one answer, made once, of one header; the same on a thread of its own; and with an "
                        "answer made for each request with the six headers that usher's has."}


def secret():
    return base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")


def keyed_usher(stage):
    """A router that looks at a static token, and answers with a ticket for the tunnel."""
    directory, token, node_token = pathlib.Path(stage.directory), secret(), secret()
    lines = [static_line("people", token, "join route admin metrics"), static_line("node", node_token, "node", node="sfu-1")]
    keys = write_secret(directory / "keys.json", json.dumps({"tokens": lines}))
    tickets = write_secret(directory / "ticket.keys", secret() + "\n")
    return servers.usher(stage, "auth.mode=token", f"auth.keys={keys}", f"auth.ticket_keys={tickets}", token=token, node_token=node_token)


def wrk_script(stage, token):
    script = pathlib.Path(stage.directory) / "join.lua"
    script.write_text(f"""wrk.method = "POST"\nwrk.body = '{BODY}'\nwrk.headers["Content-Type"] = "application/json"\n"""
                      f"""wrk.headers["Authorization"] = "Bearer {token}"\n""")
    return script


def join(directory, rounds, seconds):
    with turns.stage(directory) as stage:
        ours, peer = keyed_usher(stage), servers.nginx_lua(stage)
        assert ours.router.join("known").status == 200
        ours.words = '"room":"known","created":false'
        peer.words = f'"room":"known","node":"{peer.get(ROUTE).json()["node"]}"'
        script = wrk_script(stage, ours.router.token)
        posts = ["-m", "POST", "-b", BODY, "-H", f"Authorization: Bearer {ours.router.token}"]

        def most(server):
            return measure.wrk(server, seconds, JOIN, "-s", script) if server is ours else measure.wrk(server, seconds, ROUTE)

        def offered(server, rate):
            words = ["-p", JOIN, *posts] if server is ours else ["-p", ROUTE]
            return measure.load("http", server, 64, seconds, *words, "-w", server.words, rate=rate)
        samples, rate = turns.in_turns(rounds, [ours, peer], most, offered)
        return {"title": "`join` of a known room", "samples": samples, "rate": rate,
                "memory": {s.name: measure.memory_bytes(s.pids) for s in (ours, peer)},
                "what": "`POST …/join` with a small JSON body and a static token, beside nginx doing the bare look-up (`GET`, no body, no "
                        "token). 64 connections, one worker. Most: wrk, closed loop.",
                "table": turns.table({"nginx + Lua + Redis": 1.5})}


def workers(directory, rounds, seconds):
    """On this many cores the load takes part of one, so it is CPU that tells, not throughput."""
    with turns.stage(directory) as stage:
        both = [servers.usher(stage, f"server.workers={n}", name=name) for n, name in ((2, "usher"), (1, "one worker"))]
        for server in both:
            measure.spread(server.pids)
            assert server.router.join("known").status == 200
            server.words = '"room":"known","node":"sfu-1"'
        samples, rate = turns.in_turns(rounds, both, lambda s: measure.wrk(s, seconds, ROUTE),
                                       lambda s, rate: measure.load("http", s, 64, seconds, "-p", ROUTE, "-w", s.words, rate=rate))
        return {"title": "`route` with two workers", "samples": samples, "rate": rate, "table": turns.table({}),
                "what": "The same as `route`, two workers beside one, both on two cores, of which the load has the second, too. What workers "
                        "share shows in CPU a request; instructions with four are in tests/bench/instructions.json."}
