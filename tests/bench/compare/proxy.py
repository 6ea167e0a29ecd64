# SPDX-License-Identifier: Apache-2.0
"""Plain HTTP carried to a room's node, beside HAProxy; nginx with two files is the far side, on the load's core."""
import pathlib

from . import measure, servers, turns

PATH = "/v1/rooms/bench/signal/"


def origin(stage):
    files = pathlib.Path(stage.directory) / "files"
    files.mkdir()
    (files / "small").write_bytes(b"usher" * 204 + b"1024")
    (files / "large").write_bytes(b"usher" * (2 << 20))
    directory = pathlib.Path(stage.directory)
    directory.chmod(0o755)  # nginx's worker is another user when root runs this
    directory.parent.chmod(0o755)
    server = servers.nginx(stage, "origin.conf", "the far side", "/alive", FILES=files)
    measure.pin(server.pids, 1)
    return server


def answers(directory, rounds, seconds, file, connections, aim, title):
    with turns.stage(directory) as stage:
        far = origin(stage).address
        ours = servers.usher(stage, redis=False, control=False, signal_url=f"ws://{far}/")
        peer = servers.haproxy(stage, "relay.cfg", BACKEND=far.split(":")[1])
        words = ["-p", PATH + file, "-w", "usherusherusher"]
        samples, rate = turns.in_turns(rounds, [ours, peer], lambda s: measure.wrk(s, seconds, PATH + file, connections=connections),
                                       lambda s, rate: measure.load("http", s, connections, seconds, *words, rate=rate))
        return {"title": title, "samples": samples, "rate": rate, "table": turns.table({"HAProxy": aim}),
                "what": f"`GET` of a file behind the proxy, {connections} connections kept on both sides. Most: wrk, closed loop.",
                "memory": {s.name: measure.memory_bytes(s.pids) for s in (ours, peer)}}


def small(directory, rounds, seconds):
    return answers(directory, rounds, seconds, "small", 64, 0.6, "Streaming HTTP proxy, 1 KiB")


def large(directory, rounds, seconds):
    return answers(directory, rounds, seconds, "large", 8, 0.75, "Streaming HTTP proxy, 10 MiB")
