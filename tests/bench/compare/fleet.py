# SPDX-License-Identifier: Apache-2.0
"""A fleet that grows: what heartbeats cost, and whether routes, placements, memory and listings notice."""
import contextlib
import json
import statistics
import time

from . import http, measure, servers, turns

NODES, ROOMS = 10000, 50
TAKEN_PER_S = 2500  # rooms that nodes that come may bring: each is written to the store and told, and the others beat meanwhile


@contextlib.contextmanager
def beating(server, nodes, rooms, seconds, coming, interval_ms=1000):
    """Nodes with their rooms, which go on beating; gives how many came, and the generator, whose next line is its account of `seconds`."""
    with measure.generator("beats", server, nodes, "-R", rooms, "-s", seconds, "-W", coming, "-I", interval_ms) as child:
        came = int(measure.line(server, child).split()[0])
        measure.line(server, child, "go")
        yield came, child


def fact(text, aim=None, reached=None):
    return [text, aim, reached]


def lost_nodes(server):
    return sum(row["to"] == "lost" for row in server.router.events("node_state"))


def beats(directory, rounds, seconds):
    """Once and long, as no peer takes turns: what is looked for is one node lost in all that time."""
    nodes = NODES if seconds >= 3 else NODES // 10  # a trial
    seconds, coming = 20 * seconds, nodes * ROOMS // TAKEN_PER_S
    with turns.stage(directory) as stage:
        server = servers.usher(stage, nodes=())
        with beating(server, nodes, ROOMS, seconds, coming) as (came, child):
            lost_before = lost_nodes(server)
            before = [measure.cpu_s([pid]) for pid in server.pids]
            relisted = int(measure.line(server, child).split()[0])
            told = json.loads(measure.line(server, child))
            spent = [measure.cpu_s([pid]) - then for pid, then in zip(server.pids, before)]
        lost = lost_nodes(server) - lost_before
        refused = told["wrong"] + told["lost"]
        us, redis_us = (cpu / max(told["answered"], 1) * 1e6 for cpu in spent)
        facts = [fact(f"p99 {told['p99_ms']:.1f} ms, from when each was due; worst {told['worst_ms']:.0f} ms; the load itself was up to "
                      f"{told['late_ms']:.0f} ms late", "≤ 20 ms", told["p99_ms"] <= 20),
                 fact(f"{lost} nodes called lost in {seconds} s", "0 in 60 s", lost == 0),
                 fact(f"{came:,} nodes beat when that began", "all", came == nodes),
                 fact(f"of {told['answered']:,} heartbeats {refused:,} were refused or not answered", "0", refused == 0),
                 fact(f"{relisted:,} answers asked for the full list again"),
                 fact(f"{spent[0] / seconds:.2f} of a core, and {spent[1] / seconds:.2f} for Redis", "< 1", spent[0] < seconds),
                 fact(f"{us:.0f} µs of CPU a heartbeat, and {redis_us:.0f} of Redis")]
        return {"title": f"{nodes:,} nodes that heartbeat", "samples": {}, "table": [], "facts": facts,
                "what": f"Once a second with the digest of {ROOMS} rooms each ({nodes * ROOMS:,} rooms), one worker; they were to come "
                        f"within {coming} s."}


# -- growth ------------------------------------------------------------------------------------------------------------------
SMALL, LARGE = (10, 100), (10000, 100)  # nodes, rooms on each
RATE, PLACED = 20000, 500
COMING_PER_S = 5000  # rooms


def idle(server, seconds):
    """Of a core, without any request."""
    before = measure.cpu_s(server.pids[:1])
    time.sleep(seconds)
    return (measure.cpu_s(server.pids[:1]) - before) / seconds


def spent_on(server, seconds, *words, rate, rest):
    """CPU of usher alone for one request: what it spends in as long without any, `rest` of a core, is taken off."""
    own = servers.Server(server.name, server.address, server.pids[:1])  # without its Redis
    told = measure.load("http", own, 64, seconds, *words, "-i", server.next, rate=rate)
    server.next = told["next"]
    return told["cpu_us"] - rest / rate * 1e6


def page_ms(server, query, calls=20):
    def one():
        from_s = time.monotonic()
        answer = server.get(f"/v1/rooms?limit=100{query}")
        if answer.status != 200 or not (answer.json()["rooms"] or "prefix" in query):  # a bounded look may find none yet
            raise measure.Wrong(f"a page: {answer.status} {answer.body[:200]}")
        return (time.monotonic() - from_s) * 1000
    return statistics.median(one() for _ in range(calls))


def page_store_ms(server, query, calls=10):
    """What Redis says that its commands took, less what they take without a call."""
    def spent_ms(work):
        client = server.redis.client()
        client.config_resetstat()
        work()
        return sum(row["usec"] for row in client.info("commandstats").values()) / 1000
    from_s = time.monotonic()
    busy = spent_ms(lambda: page_ms(server, query, calls))
    took = time.monotonic() - from_s
    return max(0, busy - spent_ms(lambda: time.sleep(took))) / calls


def used_memory(server):
    return server.redis.client().info("memory")["used_memory"]


def index_bytes(server, nodes, rooms):
    pipe = server.redis.client().pipeline(transaction=False)
    for i in range(nodes):
        pipe.execute_command("MEMORY", "USAGE", f"usher:n:{{node-{i:05}}}:rooms", "SAMPLES", 0)
    sizes = [size for size in pipe.execute() if size]
    if len(sizes) < 0.99 * nodes:  # it is written behind the answers, and not again where the store was late
        raise measure.Wrong(f"only {len(sizes)} of {nodes} nodes have their rooms listed")
    return sum(sizes) / (len(sizes) * rooms)


def recorded(server):
    return sum(1 for _ in server.redis.client().scan_iter("usher:r:*", count=10000))


def grown(stage, stack, nodes, rooms):
    """A router that knows so much, and the bytes of a room without the index and in it. Its nodes beat once a minute: it is not heartbeats
    that are measured here."""
    calm = ["nodes.heartbeat_ms=60000", "nodes.lease_ms=600000", "rooms.table_max=4000000"]
    server = servers.usher(stage, *calm, nodes=(), name=f"{nodes} nodes")
    before = used_memory(server)
    coming = max(1, nodes * rooms // COMING_PER_S)
    came, _ = stack.enter_context(beating(server, nodes, rooms, 0, coming, interval_ms=min(60000, 1000 * coming)))
    if came < nodes:
        raise measure.Wrong(f"only {came} of {nodes} nodes came")
    used, known = used_memory(server) - before, recorded(server)
    if known < 0.99 * nodes * rooms:
        raise measure.Wrong(f"only {known} of {nodes * rooms} rooms are there")
    index = index_bytes(server, nodes, rooms)
    return server, used / known - index, index


def known(rooms):
    return ["-p", "/v1/rooms/room-0{}/route", "-k", rooms, "-w", '"room":"room-']


def growth(directory, rounds, seconds):
    most = LARGE if seconds >= 3 else (LARGE[0] // 10, LARGE[1])  # a trial
    with contextlib.ExitStack() as stack:
        stage = stack.enter_context(turns.stage(directory))
        small, _, _ = grown(stage, stack, *SMALL)
        large, per_room, index = grown(stage, stack, *most)
        sides = [(small, SMALL, [], [], []), (large, most, [], [], [])]
        for server, (nodes, rooms), *_ in sides:  # a room that this router has not been asked for yet may be a read of Redis
            measure.load("http", server, 64, 600, *known(nodes * rooms), "-n", nodes * rooms, "-W", 0)
        for _ in range(rounds):
            for server, (nodes, rooms), routes, places, rests in sides:
                new = ["-m", "POST", "-p", "/v1/rooms/new-{}/join", "-b", http.BODY, "-w", '"created":true']
                rests.append(rest := idle(server, 2 * seconds))
                routes.append(spent_on(server, 2 * seconds, *known(nodes * rooms), rate=RATE, rest=rest))
                places.append(spent_on(server, 2 * seconds, *new, rate=PLACED, rest=rest))
        facts = [grew("CPU a `route`", sides[0][2], sides[1][2], 1.1),
                 grew("CPU a placement (usher's share of a first join)", sides[0][3], sides[1][3], 1.5),
                 fact(f"idle, nodes that beat once a minute: {statistics.median(sides[1][4]):.3f} of a core, "
                      f"{statistics.median(sides[0][4]):.3f} with {SMALL[0]} nodes"),
                 fact(f"Redis memory a room, names of 16 bytes: {per_room:.0f} bytes without the index of nodes' rooms",
                      "≤ 320", per_room <= 320),
                 fact(f"with it {per_room + index:.0f} bytes (nodes' records and Redis's list of whom to tell of changes included)",
                      "≤ 450", per_room + index <= 450)]
        for words, query in (("a page of 100 rooms", ""), ("… with `node=`", "&node=node-00005")):
            pairs = [[page_ms(server, query) for server in (small, large)] for _ in range(rounds)]
            facts.append(grew(words, *zip(*pairs), 1.1, aim_words="the same"))
        store_ms = page_store_ms(large, "&prefix=room-0000000009")
        facts.append(fact(f"… with `prefix=`: {store_ms:.1f} ms of Redis's time a call", "≤ 10 ms", store_ms <= 10))
        return {"title": "Growth", "samples": {}, "table": [], "facts": facts,
                "what": f"{most[0]:,} nodes and {most[0] * most[1]:,} rooms beside {SMALL[0]} nodes and {SMALL[0] * SMALL[1]:,} rooms, a router "
                        f"and a Redis each, in turns: {RATE:,} routes and {PLACED} first joins a second, each for {2 * seconds} s; usher's CPU less what it spends idle. Routes go through all rooms, "
                        "each of which was asked for once before."}


def grew(words, small, large, aim, aim_words=None):
    values = [b / a for a, b in zip(small, large)]
    middle = statistics.median(values)
    return fact(f"{words}: **{middle:.2f}** times ({min(values):.2f} to {max(values):.2f})", aim_words or f"≤ {aim}", middle <= aim)
