# SPDX-License-Identifier: Apache-2.0
"""usher and its peers, each with its own Redis where it uses one: the server on core 0, Redis on core 1 beside the load, so that a
peer that asks it for each request has core 0 to itself."""
import dataclasses
import pathlib
import re
import shutil
import subprocess

from harness import ROOT, call, free_port, until

from . import measure

PEERS = pathlib.Path(__file__).parents[1] / "peers"
NODE_MODULES = ROOT / "build-release" / "peers"
# The harness turns overload control off; here it is on, as it is in production.
MANY = ["server.workers=1", "limits.connections=100000", "limits.connections_per_address=100000", "overload.target_ms=10",
        "tunnel.idle_ms=3600000"]


@dataclasses.dataclass
class Server:
    name: str
    address: str
    pids: list  # its own and those of its Redis
    headers: dict = dataclasses.field(default_factory=dict)
    words: str = None  # in every right answer
    router: object = None
    redis: object = None
    next: int = 0  # number of the next room that nobody has asked for

    def get(self, path, method="GET", body=None):
        return call(method, f"http://{self.address}{path}", body, self.headers)


def place(name, address, process, redis=None, **more):
    """Its processes to their cores."""
    own = measure.family(process.child.pid)
    measure.pin(own, 0)
    stores = [redis.child.pid] if redis else []
    measure.pin(stores, 1)
    return Server(name, address, own + stores, redis=redis, **more)


def answers(url):
    try:
        return call("GET", url).status < 500
    except OSError:
        return False


def usher(stage, *sets, redis=True, token=None, node_token=None, name="usher", nodes=("sfu-1",), control=True, signal_url=None):
    store = stage.redis() if redis else None
    router = stage.router(*MANY, *([f"registry.url={store.url}"] if store else ["registry.allow_memory=true"]), *sets, token=token)
    for node in nodes:
        stage.node(node, router, control=control, signal_url=signal_url, token=node_token)
    router.wait_placeable(*nodes)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return place(name, router.url.split("//")[1], router, store, router=router, headers=headers)


def configured(stage, file, **values):
    """A peer's configuration with its words in capitals filled in."""
    text = (PEERS / file).read_text()
    for word, value in values.items():
        text = re.sub(rf"\b{word}\b", str(value), text)
    made = pathlib.Path(stage.directory) / f"{values['PORT']}-{file}"
    made.write_text(text)
    return made


def nginx(stage, file, name, probe="/", redis=None, **values):
    port = free_port()
    directory = pathlib.Path(stage.directory) / f"nginx-{port}"
    directory.mkdir()
    conf = configured(stage, file, PORT=port, DIRECTORY=directory, MODULES="/usr/lib/nginx/modules", REDIS=redis.port if redis else 0,
                      **values)
    process = stage.process(f"nginx-{port}", [shutil.which("nginx") or "/usr/sbin/nginx", "-c", conf])
    until(f"{name} answers", lambda: answers(f"http://127.0.0.1:{port}{probe}"))
    return place(name, f"127.0.0.1:{port}", process, redis)


def nginx_lua(stage):
    return nginx(stage, "nginx.conf", "nginx + Lua + Redis", "/v1/rooms/known/route", stage.redis())


def node_js(stage):
    redis = stage.redis()
    env = {"NODE_PATH": str(NODE_MODULES / "node_modules"), "NODE_ENV": "production"}
    process = stage.process("node", ["node", PEERS / "get_set.js", redis.port], env=env)
    port = until("Node says its port", lambda: process.log.read_text().strip())
    return place("Node.js + ioredis", f"127.0.0.1:{port}", process, redis)


def haproxy(stage, file, name="HAProxy", **values):
    port = free_port()
    conf = configured(stage, file, PORT=port, **values)
    process = stage.process(f"haproxy-{port}", [shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", conf])
    until("HAProxy listens", lambda: b":%04X " % port in pathlib.Path(f"/proc/{process.child.pid}/net/tcp").read_bytes())
    return place(name, f"127.0.0.1:{port}", process)


def haproxy_map(stage):
    rooms = pathlib.Path(stage.directory) / "rooms.map"
    rooms.write_text("known sfu-1\n" + "".join(f"room-{i} sfu-{1 + i % 2}\n" for i in range(1000)))
    return haproxy(stage, "map.cfg", "HAProxy, map file", MAP=rooms)


def floor(stage, source, name, *words, libraries=(), redis=None):
    """A program of one file that does the least that there is to do."""
    program = pathlib.Path(stage.directory) / "-".join([pathlib.Path(source).stem, *map(str, words)])
    subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", str(PEERS.parent / source), "-o", str(program), *libraries], check=True)
    process = stage.process(program.name, [program, *words])
    port = until(f"{name} says its port", lambda: process.log.read_text().strip())
    return place(name, f"127.0.0.1:{port}", process, redis)


BARE = {"loop": "bare libmicrohttpd", "thread": "bare libmicrohttpd on a thread",
        "headers": "bare libmicrohttpd with usher's headers"}


def bare(stage, how):
    return floor(stage, "bare.c", BARE[how], how, libraries=["-lmicrohttpd", "-luv"])


def bare_miss(stage):
    redis = stage.redis()
    return floor(stage, "bare_miss.c", "bare libmicrohttpd + hiredis", redis.port, libraries=["-lmicrohttpd", "-lhiredis"], redis=redis)


def bare_relay(stage, backend):
    return floor(stage, "bare_relay.c", "a bare relay", backend)
