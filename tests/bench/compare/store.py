# SPDX-License-Identifier: Apache-2.0
"""What Redis has a part in: a room that is not in the cache, and rooms that are new."""
import subprocess
import threading
import time

from . import measure, servers, turns

TABLE, ROOMS = 1000, 50000  # rooms.table_max at its least, and fifty times as many rooms, asked for one after another
ROUTE = "/v1/rooms/old-{}/route"
JOIN = "/v1/rooms/new-{}/join"
BODY = '{"participant":"ann"}'
AGONES_PER_S = 400  # allocations, as its documentation has it
NEW, CLAIMED, REPLAYED = 1000000000, 50000, 5000  # names to draw from; commands of a kind
PEER = "redis-benchmark"


def reads(server, command):
    return server.redis.client().info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0)


def fill(ours, peers):
    measure.load("http", ours, 64, 600, "-n", ROOMS, "-W", 0, "-m", "POST", "-p", "/v1/rooms/old-{}/join", "-b", BODY)
    for peer in peers:
        pipe = peer.redis.client().pipeline(transaction=False)
        for i in range(ROOMS):
            pipe.set(f"room:old-{i:010}", f"sfu-{1 + i % 2}")
        pipe.execute()


def miss(directory, rounds, seconds):
    with turns.stage(directory) as stage:
        ours, peers = servers.usher(stage, f"rooms.table_max={TABLE}", control=False), [servers.nginx_lua(stage), servers.bare_miss(stage)]
        fill(ours, peers)

        def go(server, rate=0):
            command = "hmget" if server is ours else "get"
            before = reads(server, command)
            told = measure.load("http", server, 64, seconds, "-p", ROUTE, "-w", '"room":"old-', "-k", ROOMS, "-i", server.next, rate=rate)
            server.next = told["next"]
            if reads(server, command) - before < 0.99 * told["answered"]:
                raise measure.Wrong(f"{server.name} did not ask Redis each time")
            return told
        samples, rate = turns.in_turns(rounds, [ours, *peers], go, go)
        return {"title": "`route` of a room that is not in the cache", "samples": samples, "rate": rate,
                "table": turns.table({"nginx + Lua + Redis": 2.3}),
                "what": f"One Redis read each: `rooms.table_max` is {TABLE:,} here, and {ROOMS:,} rooms are asked for one after another, so "
                        "that each has left the table when its turn comes again; Redis's own count of reads says so (0.99 a request at least, "
                        "on all sides). 64 connections. The bare one (`tests/bench/bare_miss.c`) is a floor: it asks Redis for one word, keeps and "
                        "checks nothing; at the most it is the load's core that holds it up.",
                "memory": {s.name: measure.memory_bytes(s.pids) for s in (ours, *peers)}}


# -- new rooms ---------------------------------------------------------------------------------------------------------------
def recorded(ours, room):
    """What a router sends to its Redis for one first join, as Redis saw it."""
    seen = []
    client = ours.redis.client()

    def ask():
        ours.router.join(room)
        time.sleep(0.3)  # what follows the answer: the node's index is written behind it
        client.execute_command("ECHO", "the join is done")
    with ours.redis.client().monitor() as monitor:
        thread = threading.Thread(target=ask)
        thread.start()
        for row in monitor.listen():
            if row["command"].startswith("ECHO"):
                break
            if row["client_type"] != "lua":
                seen.append(row["command"].split(" "))
        thread.join()
    of_it = [words for words in seen if room in " ".join(words) or words[:2] == ["HMGET", "usher:mark"]]
    return [words for i, words in enumerate(of_it) if words not in of_it[:i]]  # a join sends none twice; the router's own rounds do


def prepared(ours):
    """Those commands for rooms of redis-benchmark's own: ones that are new up to the claim, then ones that are claimed already.

    The later ones succeed only with the epoch of the claim, so all are claimed with a floor ahead of the clock: one more than
    that is then the epoch of each. CLIENT CACHING, which stands before some, is left out: redis-benchmark has not opted in."""
    room = f"recorded-{time.monotonic_ns()}"
    sequence = recorded(ours, room)
    at = next(i for i, words in enumerate(sequence) if words[0] == "EVALSHA" and words[3] == f"usher:r:{room}" and len(words) == 13)
    claim, epoch = sequence[at], sequence[at + 1][4]
    claim[11] = str(int(time.time() * 1000) + 3600000)
    pipe = ours.redis.client().pipeline(transaction=False)
    for i in range(CLAIMED):
        pipe.execute_command(*[word.replace(room, f"claimed-{i:012}") for word in claim])
    if not all(won == 1 for won, *_ in pipe.execute()):
        raise measure.Wrong("a claim was not won")
    made = str(int(claim[11]) + 1)
    return [(NEW, [word.replace(room, "fresh-__rand_int__") for word in words]) for words in sequence[:at + 1]] + \
           [(CLAIMED, [word.replace(room, "claimed-__rand_int__").replace(epoch, made) for word in words]) for words in sequence[at + 1:]]


def replay(ours, commands):
    """How often a second redis-benchmark could do the sequence: each command as often as it can, with as many clients."""
    took = 0
    for spread, words in commands:
        argv = ["taskset", "-c", "0", "redis-benchmark", "-p", ours.redis.port, "-c", 64, "-n", REPLAYED, "-r", spread, "--csv", *words]
        run = subprocess.run([str(word) for word in argv], capture_output=True, text=True)
        if run.returncode or run.stderr:
            raise measure.Wrong(f"redis-benchmark: {run.stdout}{run.stderr}")
        took += 1 / float(run.stdout.strip().split('","')[-7])  # the command (with any sign), requests a second, six latencies
    return 1 / took


def first_joins(directory, rounds, seconds):
    with turns.stage(directory) as stage:
        ours = servers.usher(stage, nodes=tuple(f"sfu-{i}" for i in range(10)), control=False)
        store = servers.usher(stage, name="its Redis", control=False)  # its router only shows what is sent
        commands, samples = prepared(store), {"usher": {}, PEER: {}}
        for _ in range(rounds):
            told = measure.load("http", ours, 64, seconds, "-m", "POST", "-p", JOIN, "-b", BODY, "-w", '"created":true', "-i", ours.next)
            ours.next = told["next"]
            for name, value in (("most_per_s", told["per_s"]), ("most_cpu_us", told["cpu_us"]), ("most_p99_ms", told["p99_ms"])):
                samples["usher"].setdefault(name, []).append(value)
            samples[PEER].setdefault("most_per_s", []).append(replay(store, commands))
        slowest = min(samples["usher"]["most_per_s"])
        agones = f"Agones documents {AGONES_PER_S} allocations a second; the slowest round had {slowest / AGONES_PER_S:.1f} times that"
        return {"title": "First joins", "samples": samples, "table": [("sequences a second", "most_per_s", "more", {PEER: 0.5})],
                "what": "New rooms, one Redis, 10 nodes without `control_url`, 64 connections, closed loop; beside redis-benchmark doing "
                        f"the {len(commands)} commands that one such join sends (as Redis's MONITOR saw them, each for rooms in the state it "
                        "finds them in), 64 clients, Redis alone on its core.",
                "facts": [[agones, "10 times", slowest >= 10 * AGONES_PER_S]]}
