# SPDX-License-Identifier: Apache-2.0
"""Counts what instructions.sh says, and compares with instructions.json. Nothing here is a time.

One connection makes its operations one after another; once it is warm, BATCHES of N are counted, of all threads of the router, and the
least is taken: where the machine lets a thread wait, the others wake and sleep more often. Left out, as they are not the operation's:

- what timers do (alarm_rings() of the loop and all it calls): that goes by time and not by operation;
- memset: libmicrohttpd zeroes its pool of 32 KiB after each request, and `rep stosb` counts as an instruction for each byte;
- the insides of malloc: how long it looks for a block depends on what the heap has become by chance. Its calls are counted instead.

Which variants of memcpy and SHA-256 run is pinned, so that one processor counts as another.
"""
import base64
import collections
import hashlib
import json
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build-release"
RECORD = HERE / "instructions.json"
os.environ["USHER_BUILD"] = str(BUILD)
os.environ.setdefault("USHER_TEST_DEADLINE", "60")
sys.path.insert(0, str(ROOT / "tests" / "scenario"))
import harness  # noqa: E402
from http1 import head  # noqa: E402

GROWTH = 1.10   # more of the recorded count is a failure
WORKERS = 1.02  # four workers beside one
SKIPPED = 77
PINNED = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-ERMS", "OPENSSL_ia32cap": ":0"}
SETS = ["nodes.heartbeat_ms=5000", "nodes.lease_ms=60000", "nodes.unfenced_ms=60000", "rooms.trust_ms=60000", "rooms.idle_ttl_ms=3600000",
        "placement.slow_start_ms=0", "placement.ramp_ms=192000", "placement.room_cost=0.0001", "auth.wrong_per_minute=0"]
TOKEN = "join-" + "x" * 32
WARM, N, BATCHES = 100, 200, 5
MESSAGE = 200
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 1024\r\n\r\n" + b"a" * 1024
FOUR = "route, 4 workers"


# -- what callgrind wrote --------------------------------------------------------------------------------------------------------
LEFT_OUT = re.compile(r"memset|^(_int_malloc|_int_free|_int_realloc|malloc_consolidate|unlink_chunk.*|alloc_perturb|sysmalloc|systrim.*)$")
NOTHING = re.compile(r"(?!)")
ALLOCATIONS = ("libc.so.6", "calls of malloc")


def read_profile(path, left_out=LEFT_OUT):
    """Instructions of each (program or library, function) itself, but for what is left out; and the calls of malloc."""
    names, costs, place, called = {"ob": {}, "fn": {}}, collections.Counter(), None, False
    for line in path.read_text().splitlines():
        if match := re.match(r"(c?)(ob|fn)=\((\d+)\)(?: (.*))?$", line):
            of_callee, kind, number, name = match.groups()
            name = names[kind].setdefault(number, name)
            if kind == "ob" and not of_callee:
                ob = pathlib.Path(name).name
            elif kind == "fn" and not of_callee:
                place = (ob, name.split("'")[0])  # without the depth of recursion
            elif kind == "fn":
                callee = name
        elif line.startswith("calls="):
            called = True  # the next line is what the callee took, which has lines of its own
            if callee in ("malloc", "calloc", "realloc"):
                costs[ALLOCATIONS] += int(line[6:].split()[0])
        elif match := re.match(r"[+\-*\d]\S* (\d+)$", line):
            costs[place] += 0 if called else int(match[1])
            called = False
    return collections.Counter({place: n for place, n in costs.items() if not left_out.search(place[1])})


def entered(path, library):
    """Instructions from where the library is called to where it returns, what it calls included, but for our own functions that it calls."""
    names, ob, callee_ob, total, called = {}, None, None, 0, False
    for line in path.read_text().splitlines():
        if match := re.match(r"(c?)ob=\((\d+)\)(?: (.*))?$", line):
            name = names[match[2]] = match[3] or names[match[2]]
            if match[1]:
                callee_ob = pathlib.Path(name).name
            else:
                ob = pathlib.Path(name).name
        elif re.match(r"fn=", line):
            callee_ob = ob
        elif line.startswith("calls="):
            called = True
        elif match := re.match(r"[+\-*\d]\S* (\d+)$", line):
            inside, goes_in = ob.startswith(library), (callee_ob or ob).startswith(library)
            if called and goes_in and not inside:
                total += int(match[1])
            elif called and inside and callee_ob == "usherd":
                total -= int(match[1])
            called, callee_ob = False, ob
    return total


class Counted:
    """A router under callgrind, and what it has taken since it was asked last."""

    def __init__(self, stage, directory, *sets, timers=False, **how):
        self.directory, self.dumps = pathlib.Path(tempfile.mkdtemp(dir=directory)), 0
        left_out = [] if timers else ["--toggle-collect=alarm_rings", "--collect-atstart=yes"]
        harness.WRAP = ["valgrind", "-q", "--tool=callgrind", *left_out, f"--callgrind-out-file={self.directory}/out"]
        self.router = stage.router(*SETS, *sets, env=PINNED, **how)

    def taken(self):
        self.dumps += 1
        subprocess.run(["callgrind_control", "-d", str(self.router.child.pid)], check=True, capture_output=True)
        return read_profile(self.dumped())

    def dumped(self):
        return self.directory / f"out.{self.dumps}"


# -- operations: each makes them one after another on a connection of its own ------------------------------------------------------
class Connection:
    def __init__(self, router):
        host, port = router.url[7:].split(":")
        self.socket = socket.create_connection((host, int(port)))
        self.stream = self.socket.makefile("rb")

    def ask(self, request, status=b"200"):
        self.socket.sendall(request)
        line, length = self.stream.readline(), 0
        while (row := self.stream.readline()) not in (b"\r\n", b""):
            length = int(row.split(b":")[1]) if row.lower().startswith(b"content-length:") else length
        body = self.stream.read(length)
        assert line.split(b" ")[1] == status, (line, body)
        return body


def request(method, path, body=None, **headers):
    if body is None:
        return head(method, path, "localhost", headers, None)
    text = json.dumps(body).encode()
    return head(method, path, "localhost", {"Content-Type": "application/json", **headers}, len(text)) + text


def same(router, text):
    link = Connection(router)

    def run(count):
        for _ in range(count):
            link.ask(text)
    return run


def route(router):
    return same(router, request("GET", "/v1/rooms/known/route"))


def join(router, **headers):
    return same(router, request("POST", "/v1/rooms/known/join", {"participant": "ann"}, **headers))


def first_join(router, node):
    """With two heartbeats for each 50: a router goes through what a node was charged with and has not yet told that it saw."""
    link, rooms, beat = Connection(router), iter(range(10000, 99999)), heartbeat(router, node, node.rooms)

    def run(count):
        for i in range(count):
            if i % 50 == 0:
                beat(2)
            link.ask(request("POST", f"/v1/rooms/new-{next(rooms)}/join", {"participant": "ann"}))
    return run


def digest(rooms):
    total = 0
    for room, epoch in rooms.items():
        total ^= int.from_bytes(hashlib.sha256(f"{room}\0{epoch}".encode()).digest()[:8], "big")
    return f"{len(rooms)}:{total:016x}"


def heartbeat(router, node, rooms):
    link = Connection(router)

    def run(count):
        for _ in range(count):
            node.seq += 1
            body = {"incarnation": node.incarnation, "registration": node.registration, "seq": node.seq, "state": "ready",
                    "load": {"cpu": 0.1, "memory": 0.2, "participants": 50}, "seen": node.charged, "rooms_digest": digest(rooms)}
            answer = json.loads(link.ask(request("POST", f"/v1/nodes/{node.name}/heartbeat", body)))
            assert answer["renewed"] and not answer["want_rooms"]
            node.charged = answer["charged"]
    return run


class EchoSfu:
    """The SFU: an answer of 1 KiB to each request, or a tunnel's end: the handshake, then each message back without its mask. By hand, so
    that an answer and a message are one write each."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self.listener.getsockname()[1]}/"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            peer, _ = self.listener.accept()
            threading.Thread(target=self._echo, args=(peer,), daemon=True).start()

    def _echo(self, peer):
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream, accept = peer.makefile("rb"), None
        while line := stream.readline():
            if line.lower().startswith(b"sec-websocket-key:"):
                accept = websocket_accept(line.split(b":")[1].strip())
            if line == b"\r\n" and accept:
                break
            if line == b"\r\n":
                peer.sendall(ANSWER)
        if not accept:
            return
        peer.sendall(b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        while len(frame := stream.read(8 + MESSAGE)) == 8 + MESSAGE:
            peer.sendall(bytes([0x82, 126, *frame[2:4]]) + frame[8:])  # the mask was zero
        peer.shutdown(socket.SHUT_WR)


def proxied(router):
    return same(router, request("GET", "/v1/rooms/known/signal/file"))


def websocket_accept(key):
    return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


def tunnel(router):
    link = Connection(router)
    link.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.ask(request("GET", "/v1/rooms/known/signal", **{"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
                                                         "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}), b"101")
    return link


def opened(router):
    """A connection, a tunnel, and its end."""
    def run(count):
        for _ in range(count):
            link = tunnel(router)
            link.socket.shutdown(socket.SHUT_WR)
            assert link.stream.read() == b""
            link.socket.close()
    return run


def relay(router):
    """A message there and its echo back: two relayed messages."""
    link = tunnel(router)
    message = bytes([0x82, 0x80 | 126, 0, MESSAGE, 0, 0, 0, 0]) + b"m" * MESSAGE

    def run(count):
        for _ in range(count // 2):
            link.socket.sendall(message)
            assert len(link.stream.read(4 + MESSAGE)) == 4 + MESSAGE
    return run


# -- the counting -----------------------------------------------------------------------------------------------------------------
def per_operation(counted, node, run):
    """Of each function. `run` makes as many operations as it is told."""
    assert node.beat().status == 200  # and it lives until the end of this
    run(WARM)
    counted.taken()
    batches = []
    for _ in range(BATCHES):
        run(N)
        batches.append(counted.taken())
    return {place: count / N for place, count in min(batches, key=collections.Counter.total).items()}


def settle(stage, counted, name, echo):
    """A node whose incarnation has always the same length, as the answers have then."""
    node = stage.node(name, counted.router, control=False, heartbeat=False, signal_url=echo.url, incarnation="one",
                      token=counted.router.token)
    node.incarnation, node.seq = "one", 10000
    node.beat()
    counted.router.wait_placeable(name)
    return node


def open_rooms(counted, node, count):
    """Rooms of the node, one of them `known`, and all of them told by it once."""
    for name in ("known", *(f"room-{i}" for i in range(1, count))):
        node.rooms[name] = counted.router.join(name).json()["epoch"]
    node.report_rooms = True
    assert node.beat().status == 200


def plain(stage, directory, echo):
    counted = Counted(stage, directory, "server.workers=1")
    router, node = counted.router, settle(stage, counted, "full", echo)
    open_rooms(counted, node, 50)
    yield "route", per_operation(counted, node, route(router))
    yield "join", per_operation(counted, node, join(router))
    yield "heartbeat, 50 rooms", per_operation(counted, node, heartbeat(router, node, node.rooms))
    yield "relayed message", per_operation(counted, node, relay(router))
    yield "tunnel, its opening and end", per_operation(counted, node, opened(router))
    yield "proxied request", per_operation(counted, node, proxied(router))
    yield "first join", per_operation(counted, node, first_join(router, node))
    idle = settle(stage, counted, "idle", echo)
    yield "heartbeat, no rooms", per_operation(counted, idle, heartbeat(router, idle, {}))


def with_token(stage, directory, echo):
    keys, tickets = directory / "keys.json", directory / "ticket.keys"
    line = {"name": "bench", "sha256": hashlib.sha256(TOKEN.encode()).hexdigest(), "scope": "join route node admin", "node": "full"}
    for path, text in ((keys, json.dumps({"tokens": [line]})), (tickets, "0" * 43 + "\n")):
        path.write_text(text)
        path.chmod(0o600)
    counted = Counted(stage, directory, "server.workers=1", "auth.mode=token", f"auth.keys={keys}", f"auth.ticket_keys={tickets}",
                      token=TOKEN)
    node = settle(stage, counted, "full", echo)
    assert counted.router.join("known").status == 200
    yield "join, static token", per_operation(counted, node, join(counted.router, Authorization=f"Bearer {TOKEN}"))


def four_workers(stage, directory, echo):
    counted = Counted(stage, directory, "server.workers=4")
    node = settle(stage, counted, "full", echo)
    open_rooms(counted, node, 50)
    yield FOUR, per_operation(counted, node, route(counted.router))


def measure():
    """Of each operation, the counts of its functions."""
    with tempfile.TemporaryDirectory() as directory:
        directory, echo, profiles = pathlib.Path(directory), EchoSfu(), {}
        for kinds in (plain, with_token, four_workers):
            stage = harness.Stage(directory)
            try:
                profiles.update(kinds(stage, directory, echo))
            finally:
                stage.close()
        return profiles



# -- what to do with them -------------------------------------------------------------------------------------------------------------
def versions():
    """What decides the numbers beside our own source, and what else may move them a little."""
    words = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', pathlib.Path("/etc/os-release").read_text(), re.M))
    decides = {"system": f"{words['ID']} {words['VERSION_ID']}", "machine": os.uname().machine,
               "compiler": subprocess.run(["cc", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]}
    libraries = ["libc6", "libmicrohttpd12", "libuv1", "libcjson1", "libcurl4", "libssl3", "valgrind"]
    query = ["dpkg-query", "-W", "-f", "${Package} ${Version}\\n", *libraries]
    rows = subprocess.run(query, capture_output=True, text=True, check=False).stdout.splitlines()
    return decides, dict(row.split(" ") for row in rows)


def totals(profiles):
    """Of each kind its instructions, and how often it allocates."""
    rows = {}
    for kind, profile in profiles.items():
        rows[kind] = round(sum(count for place, count in profile.items() if place != ALLOCATIONS))
        rows[f"{kind}: allocations"] = round(profile.get(ALLOCATIONS, 0), 1)
    return rows


def verdict(old, new):
    if old is None:
        return 0, "NOT RECORDED"
    ratio = new / old if old else 1 + new
    return ratio, "GREW BY MORE THAN 10 %" if ratio > GROWTH else ""


def compare(old, new):
    """Prints each; True if none grew too much."""
    rows = {kind: verdict(old.get(kind), count) for kind, count in new.items()}
    print(f"{'instructions, or allocations':32} {'recorded':>9} {'now':>9} {'ratio':>6}")
    for kind, (ratio, words) in rows.items():
        print(f"{kind:32} {old.get(kind, 0):9} {new[kind]:9} {ratio:6.3f} {words}".rstrip())
    return not any(words for _, words in rows.values())


def compare_workers(new):
    ratio = new[FOUR] / new["route"]
    print(f"route with 4 workers beside 1: {ratio:.3f} (at most {WORKERS})")
    return ratio <= WORKERS


def passes(record, new):
    good = compare(record["instructions"], new)
    return compare_workers(new) and good


def check():
    record, (decides, libraries) = json.loads(RECORD.read_text()), versions()
    if decides != record["decides"]:
        print(f"not compared: recorded with {', '.join(record['decides'].values())}; here is {', '.join(decides.values())}")
        return SKIPPED
    for name, version in record["libraries"].items():
        if libraries.get(name) != version:
            print(f"{name}: recorded with {version}, here is {libraries.get(name)}")
    new = totals(measure())
    if passes(record, new):
        return 0
    print("\nonce more, and the least of both: the machine may have let threads wait in all batches of one operation")
    again = totals(measure())
    return 0 if passes(record, {kind: min(count, again[kind]) for kind, count in new.items()}) else 1


def record():
    decides, libraries = versions()
    new = totals(measure())
    RECORD.write_text(json.dumps({"decides": decides, "libraries": libraries, "instructions": new}, indent="\t") + "\n")
    print(RECORD.read_text())
    return 0 if compare_workers(new) else 1


def spread(rounds):
    """How far apart whole runs are."""
    runs = [totals(measure()) for _ in range(rounds)]
    for kind in runs[0]:
        row = [run[kind] for run in runs]
        print(f"{kind:32} {min(row):9} {max(row):9} {(max(row) - min(row)) / (statistics.median(row) or 1):7.2%}   of {rounds}")
    return 0


def profile(most):
    """Where they go: by program or library, and the functions that take most."""
    for kind, places in measure().items():
        allocations, objects = places.pop(ALLOCATIONS, 0), collections.Counter()
        for (ob, _), count in places.items():
            objects[ob] += count
        print(f"\n{kind}: {sum(places.values()):.0f}, {allocations:.1f} allocations")
        print("  " + ", ".join(f"{ob} {count:.0f}" for ob, count in objects.most_common() if count >= 1))
        for (ob, name), count in collections.Counter(places).most_common(most):
            print(f"  {count:8.0f}  {name} ({ob})")
    return 0


def client():
    """How much of a proxied request of 1 KiB is libcurl's."""
    with tempfile.TemporaryDirectory() as directory:
        stage = harness.Stage(pathlib.Path(directory))
        try:
            counted = Counted(stage, directory, "server.workers=1", timers=True)
            settle(stage, counted, "full", EchoSfu())
            assert counted.router.join("known").status == 200
            run = proxied(counted.router)
            run(WARM)
            counted.taken()
            run(N)
            counted.taken()
            places = read_profile(counted.dumped(), NOTHING)  # what libcurl calls is counted whole, too
            all_of_it = sum(n for place, n in places.items() if place != ALLOCATIONS) / N
            print(f"a proxied request: {all_of_it:,.0f} instructions, {places[ALLOCATIONS] / N:.1f} allocations; "
                  f"of which between libcurl being called and its return {entered(counted.dumped(), 'libcurl') / N:,.0f}")
        finally:
            stage.close()
    return 0


def main(word="check", number="5"):
    return {"check": check, "client": client, "record": record, "spread": lambda: spread(int(number)),
            "profile": lambda: profile(int(number))}[word]()


sys.exit(main(*sys.argv[1:]))
