# SPDX-License-Identifier: Apache-2.0
"""A fleet of real programs under load: 3 routers of 2 workers, 5 agents, one Redis, joins at a fixed rate, a recorder.

Each program keeps its address when it is started again. On loopback by default; with a Net each has a namespace of its own.
"""
import contextlib
import dataclasses
import datetime
import http.client
import json
import pathlib
import subprocess
import time

import checker
from harness import BUILD, REDIS_SERVER, Process, Router, call, free_port, until
from janus_server import JanusConf
from recorder import Knocker, Recorder

HERE = pathlib.Path(__file__).parent
NODES, ROUTERS, ENTER_EVERY, FRESH_EVERY = 5, 3, 10, 10


@dataclasses.dataclass(frozen=True)
class Size:
    rooms: int
    rate: int  # joins per second
    lease_ms: int
    heartbeat_ms: int
    grace_ms: int = 500

    @property
    def lost_s(self):
        """From a node's silence to its rooms being free, at the latest."""
        return (self.lease_ms + self.grace_ms) / 1000


SHORT = Size(rooms=200, rate=100, lease_ms=1500, heartbeat_ms=300, grace_ms=300)
FULL = Size(rooms=2000, rate=200, lease_ms=4000, heartbeat_ms=1000)


def build_helper(directory, name, *words):
    made = pathlib.Path(directory) / name
    subprocess.run(["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", *words, "-o", made, HERE / f"{name}.c"], check=True)
    return made


class RouterAt(Router):
    """As the harness's, at an address that stays, and possibly elsewhere."""

    def __init__(self, directory, name, address, sets, build, within=(), env=None):
        Router.count += 1
        self.url = f"http://{address}"
        argv = [*within, build / "router" / "usherd"] + [word for s in sets for word in ("--set", s)]
        self.born = time.monotonic()
        Process.__init__(self, f"{name}-{Router.count}", argv, directory, env)

    def wait_started(self):
        self.event("started")
        return self


def ready_after(router):
    """Seconds from its start to the first /readyz that says 200."""
    def ready():
        with contextlib.suppress(OSError, AssertionError, EOFError, TimeoutError):
            return call("GET", router.url + "/readyz", timeout=1).status == 200
        return False
    until(f"{router.name} is ready", ready, 30)
    return time.monotonic() - router.born


def known_share(fleet, owners, router):
    """The share of rooms that this router says are where they were, each asked twice over new connections: those are dealt to
    its workers in turn."""
    right = 0
    for _ in range(2):
        load = fleet._load("-1", "-c", "-r", 1000, routers=[router]).wait()
        right += sum(j.ok() and (j.node, j.epoch) == owners[j.room] for j in load.joins)
    return right / len(owners) / 2


class Load:
    """The generator's process and what it wrote."""

    def __init__(self, process, path):
        self.process, self.path, self.began = process, path, time.monotonic()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(40)
        assert self.process.returncode == 0, self.process.returncode
        self.joins, self.entries = checker.read_rows(self.path)
        return self

    def wait(self):
        self.process.wait(120)
        return self.stop()


def resident_kib(process):
    for line in pathlib.Path(f"/proc/{process.child.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])


def rate_of(times):
    """Events per second between the 5th and the 95th of a hundred."""
    times = sorted(times)
    cut = len(times) // 20
    middle = times[cut:len(times) - cut]
    return (len(middle) - 1) / max(middle[-1] - middle[0], 1e-9)


class Herd:
    """Participants that come back at once (herd.c)."""

    def __init__(self, fleet, program, tunnels, rooms):
        self.tunnels, self.path = tunnels, fleet.directory / f"herd-{fleet.serial()}.tsv"
        listed = fleet.directory / f"herd-{fleet.count}.rooms"
        listed.write_text("\n".join(rooms))
        with open(self.path, "wb") as out, open(listed) as rooms_in:
            self.process = subprocess.Popen([program, str(tunnels), *fleet.at.values()], stdin=rooms_in, stdout=out)

    def rows(self):
        found = []
        for line in self.path.read_text().splitlines():
            at, _, what = line.partition("\t")
            found.append((int(at) / 1e9, what))
        return found

    def inside(self):
        whats = [what for _, what in self.rows()]
        return whats.count("in") - whats.count("out")

    def entries(self):
        return [at for at, what in self.rows() if what == "in"]

    def wait_back(self, since, seconds):
        """Until as many as there are have come in since; or until it is too late."""
        while time.monotonic() < since + seconds and sum(at > since for at in self.entries()) < self.tunnels:
            time.sleep(0.5)

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        return self.rows()


class Fleet:
    def __init__(self, stage, size, helper, *, net=None, nodes=NODES, routers=ROUTERS, janus=(), router_sets=(), agent_sets=(),
                 redis=True, redis_password=None, store=None, build=BUILD, janus_owned=False):
        self.stage, self.size, self.helper, self.net, self.build = stage, size, helper, net, build
        self.directory = pathlib.Path(stage.directory)
        self.agent_sets, self.janus_owned = list(agent_sets), janus_owned
        # A node beside a real Janus reports this machine's load: the others are made about as busy, so that it gets its share.
        self.echo_load = 0.7 if janus else 0.1
        self.count, self.load, self.recorder, self.janus, self.env, self.log_directory = 0, None, None, {}, {}, {}
        self.names = [f"n{i + 1}" for i in range(nodes)]
        self.router_names = [f"r{i + 1}" for i in range(routers)]
        self.at = {name: self.place(name, 9000) for name in self.router_names}
        self.gate_at = {name: self.place(name, 7000) for name in self.names}
        self.control_at = {name: self.place(name, 7001) for name in self.names}
        self.redis_at, self.redis_password = self.place("redis", 6379), redis_password
        if redis:
            self.start_redis(*(["--requirepass", redis_password] if redis_password else []))
        # router -> its registry.url, where it is not the Redis itself; or what makes it of the Redis' address
        self.store = {name: url(self.redis_at) if callable(url) else url for name, url in (store or {}).items()}
        self.router_sets = [
            f"nodes.lease_ms={size.lease_ms}", f"nodes.heartbeat_ms={size.heartbeat_ms}", f"nodes.grace_ms={size.grace_ms}",
            "rooms.idle_ttl_ms=86400000", "placement.max_load=1000", "limits.connections_per_address=100000", *router_sets]
        self.routers = {}
        for name in self.router_names:
            self.start_router(name, wait=False)
        for router in self.routers.values():
            router.wait_started()
        self.agents = {}
        for name in self.names:
            if name in janus:
                self.start_janus(name)
            self.start_agent(name)
        for router in self.routers.values():
            router.wait_placeable(*self.names)

    def place(self, name, port):
        return f"{self.net.host(name)}:{port}" if self.net else f"127.0.0.1:{free_port()}"

    def within(self, name):
        return self.net.within(name) if self.net else []

    def serial(self):
        self.count += 1
        return self.count

    # -- programs -------------------------------------------------------------------------------------------------------
    def start_redis(self, *more, name="redis"):
        host, port = self.redis_at.split(":")
        argv = [*self.within(name), REDIS_SERVER, "--port", port, "--bind", host, "--save", "", "--appendonly", "no",
                "--protected-mode", "no", "--dir", self.directory, *more]
        self.redis = self.stage.process(f"{name}-{self.serial()}", argv, env=self.env.get(name))
        until("redis answers", lambda: self.redis_says("PING") in ("PONG", True))
        return self.redis

    def redis_client(self, at=None):
        import redis
        host, port = (at or self.redis_at).split(":")
        return redis.Redis(host=host, port=int(port), socket_timeout=2, decode_responses=True, password=self.redis_password)

    def redis_says(self, *words):
        import redis
        with contextlib.suppress(redis.RedisError, OSError), contextlib.closing(self.redis_client()) as client:
            return client.execute_command(*words)
        return None

    def start_router(self, name, *more, wait=True):
        host = self.at[name].split(":")[0]
        login = f":{self.redis_password}@" if self.redis_password else ""
        url = self.store.get(name) or f"redis://{login}{self.redis_at}"
        # The listener of a namespace is not loopback: what that requires is said here.
        sets = [f"server.listen={self.at[name]}", "log.format=json", "server.workers=2", "server.lame_duck_ms=0", f"registry.url={url}",
                f"server.public_url=http://{self.at[name]}", f"server.hosts={host}", "auth.allow_insecure=true",
                "nodes.allow_cidr=127.0.0.0/8,10.0.0.0/8", *self.router_sets, *more]
        router = RouterAt(self.log_directory.get(name, self.directory), name, self.at[name], sets, self.build, self.within(name), self.env.get(name))
        self.stage.add(router)
        self.routers[name] = router
        return router.wait_started() if wait else router

    def start_agent(self, name, *more, **how):
        conf = self.janus.get(name)
        sets = [f"agent.node={name}", "agent.routers=" + ",".join(f"http://{at}" for at in self.at.values()),
                f"agent.adapter={'janus' if conf else 'echo'}", f"agent.listen={self.gate_at[name]}",
                f"agent.control_listen={self.control_at[name]}", f"agent.echo_load={self.echo_load}", "log.format=json", "agent.drain_ms=100",
                *self.agent_sets, *more]
        if conf:
            sets += conf[0].settings()
            if self.janus_owned:
                sets.append(conf[0].command())
        argv = [*self.within(name), self.build / "client" / "agent" / "usher-agent"] + [word for s in sets for word in ("--set", s)]
        self.agents[name] = self.stage.process(f"agent-{name}-{self.serial()}", argv, env=self.env.get(name), **how)
        return self.agents[name]

    def start_janus(self, name):
        if name not in self.janus:
            self.janus[name] = [JanusConf(self.directory, f"janus-{name}-{self.serial()}"), None]
        if self.janus_owned:
            return None
        conf = self.janus[name][0]
        self.janus[name][1] = self.stage.process(f"{conf.name}-{self.serial()}", [*self.within(name), *conf.argv])
        return self.janus[name][1]

    # -- load -----------------------------------------------------------------------------------------------------------
    def _load(self, *words, routers=None):
        path = self.directory / f"load-{self.serial()}.tsv"
        gates = [word for name, at in self.gate_at.items() for word in ("-g", f"{name}={at}")]
        with open(path, "wb") as out, open(f"{path}.err", "wb") as err:
            process = subprocess.Popen([str(w) for w in (self.helper, "-n", self.size.rooms, *gates, *words,
                                                         *(f"{name}={self.at[name]}" for name in routers or self.router_names))],
                                       stdout=out, stderr=err)
        return Load(process, path)

    def sweep(self, routers=None, rate=400):
        """Joins each room once: {room: (node, epoch)}; None for a room that could not be joined."""
        load = self._load("-1", "-r", rate, routers=routers).wait()
        return {j.room: (j.node, j.epoch) if j.ok() else None for j in load.joins}

    def fill(self, routers=None):
        owners = self.sweep(routers)
        if None in owners.values():  # a cluster that began as whole may be doubted a moment later: for lease and grace
            time.sleep(self.size.lost_s)
            owners = self.sweep(routers)
        assert len(owners) == self.size.rooms and None not in owners.values(), "not all rooms could be placed"
        return owners

    def begin(self, *more, fresh=FRESH_EVERY, enter=ENTER_EVERY):
        """Load and recorder run from here to end()."""
        self.load = self._load("-r", self.size.rate, "-f", fresh, "-e", enter, *more)
        self.recorder = Recorder(self.control_at)
        time.sleep(1.0)  # so that there is a before
        return self

    def end(self):
        self.load.stop()
        self.samples = self.recorder.stop()
        self.joins, self.entries = self.load.joins, self.load.entries
        self.overlap_s, self.overlap_rooms = checker.overlap(self.samples)
        for room in sorted(self.overlap_rooms)[:5]:
            print(checker.story(self.samples, self.joins, room))  # shown by pytest where the test fails
        return self

    def joins_so_far(self):
        return checker.read_rows(self.load.path)[0]

    def run_until(self, since, seconds):
        """The load goes on until so long after `since`: the one thing here that is a matter of time."""
        time.sleep(max(0.0, since + seconds - time.monotonic()))

    def knock(self, node, owners, **how):
        return Knocker(self.gate_at[node], {room: epoch for room, (at, epoch) in owners.items() if at == node}, **how)

    def knock_through(self, router, rooms, **how):
        """As a participant does: at the router's signal URL."""
        return Knocker(self.at[router], dict.fromkeys(sorted(rooms), 0), path="/v1/rooms/{}/signal", **how)

    def try_through(self, router, room):
        knocker = Knocker(self.at[router], {room: 0}, path="/v1/rooms/{}/signal", start=False)
        knocker.knock(room, 0)
        return knocker.entries[-1].status

    # -- asking ---------------------------------------------------------------------------------------------------------
    def node(self, name, router="r1"):
        with contextlib.suppress(OSError, AssertionError, TimeoutError):
            answer = call("GET", f"http://{self.at[router]}/v1/nodes/{name}", timeout=3)
            return answer.json() if answer.status == 200 else None
        return None

    def holds(self, name):
        """(rooms, fenced) by the node's own word."""
        answer = call("GET", f"http://{self.control_at[name]}/rooms", timeout=3).json()
        return {r["room"]: r.get("epoch") for r in answer["rooms"]}, answer["fenced"]

    def where(self, rooms, router):
        """{room: (node, epoch)} by that router's word; placed by nobody: None."""
        link, found = http.client.HTTPConnection(self.at[router], timeout=10), {}
        for room in rooms:
            link.request("GET", f"/v1/rooms/{room}/route")
            answer = link.getresponse()
            said = json.loads(answer.read())
            found[room] = (said["node"], said["epoch"]) if answer.status == 200 else None
        link.close()
        return found

    def events(self, kind, since=0):
        """Of all routers' logs; "at" is their time on the monotonic clock, as the tests have it."""
        ahead = time.time() - time.monotonic()
        rows = [row for router in self.stage.things if isinstance(router, Router) for row in router.events(kind)]
        return [{**row, "at": datetime.datetime.fromisoformat(row["time"]).timestamp() - ahead} for row in rows]

    def metric(self, router, line):
        return self.routers[router].metric(line)
