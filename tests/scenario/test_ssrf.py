# SPDX-License-Identifier: Apache-2.0
"""Where a node's URLs may lead: a canary outside nodes.allow_cidr sees no connection, whatever a node registers."""
import http.server
import pathlib
import selectors
import socket
import sys
import threading

import pytest

from dns import Names
from harness import BUILD, FakeNode, until

sys.path.append(str(pathlib.Path(__file__).parent / "chaos"))
from fleet import RouterAt  # noqa: E402
from named_sfu import Sfu  # noqa: E402

UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}


class Canary:
    """Listens and keeps who came."""

    def __init__(self, *addresses, port=0):
        self.seen, self.selector = [], selectors.DefaultSelector()
        for address in addresses:
            s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((address, port))
            s.listen()
            port = s.getsockname()[1]
            self.selector.register(s, selectors.EVENT_READ, address)
        self.port = port
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            for key, _ in self.selector.select():
                connection, peer = key.fileobj.accept()
                self.seen.append((key.data, self.port, peer))
                connection.close()

    def url(self, scheme, host):
        return f"{scheme}://{host}:{self.port}/"


@pytest.fixture(scope="module")
def one_canary():
    return Canary("127.0.0.2", "127.0.0.1", "::1")


@pytest.fixture
def canary(one_canary):
    """It sees whoever comes; then it has seen nobody."""
    one_canary.seen.clear()
    socket.create_connection(("127.0.0.2", one_canary.port)).close()
    until("the canary sings", lambda: one_canary.seen)
    one_canary.seen.clear()
    return one_canary


@pytest.fixture(scope="module")
def narrow(shared_stage):
    return shared_stage.router("nodes.allow_cidr=127.0.0.9/32", "log.level=debug")


# Hosts that lead to the canary, or would with other libraries or a wider list.
HOSTS = ["127.0.0.2", "[::1]", "[::ffff:127.0.0.2]", "[::ffff:7f00:2]", "[::127.0.0.2]", "[::ffff:0:127.0.0.2]", "[64:ff9b::127.0.0.2]",
         "[64:ff9b:1::127.0.0.2]", "[2002:7f00:2::]", "0.0.0.0", "[::]", "[::ffff:0.0.0.0]", "2130706434", "0x7f000002", "0x7f.0.0.2",
         "0177.0.0.2", "127.2", "127.0.0.2.", "169.254.169.254", "[fd00:ec2::254]", "[fe80::1]", "[fe80::1%25lo]", "224.0.0.1",
         "255.255.255.255", "[ff02::1]", "127.0.0.9@127.0.0.2", "user:word@127.0.0.2", "127.0.0.9#@127.0.0.2", "127.0.0.9\\@127.0.0.2",
         "127.0.0.2%00.example", "127.0.0.2\t", "１２７.0.0.2"]
MEMBERS = {"signal_url": "ws", "http_url": "http", "control_url": "http", "health_url": "https"}


@pytest.mark.parametrize("host", HOSTS)
def test_ssrf_addresses_are_refused_by_name_of_the_member(narrow, canary, host):
    good = {"incarnation": "i", "signal_url": "ws://127.0.0.9:8188/"}
    for member, scheme in MEMBERS.items():
        answer = narrow.put("/v1/nodes/bad", {**good, member: canary.url(scheme, host)})
        assert answer.code() == "bad_request" and answer.json()["detail"].startswith(f"{member}:"), (member, answer)
    assert narrow.node("bad") is None and not canary.seen


@pytest.mark.parametrize("member", [*MEMBERS, "public_signal_url"])
@pytest.mark.parametrize("url", [
    "ftp://127.0.0.9/", "gopher://127.0.0.9/", "file:///etc/passwd", "dict://127.0.0.9:11211/", "//127.0.0.9/", "unix:/run/redis.sock",
    "http://u@127.0.0.9/", "http://127.0.0.9/#f", *(f"http://127.0.0.9:{port}/" for port in (0, 1, 22, 25, 53, 143, 587, 2049, 6000, 6667, 10080))])
def test_ssrf_schemes_ports_and_userinfo_are_refused(narrow, member, url):
    answer = narrow.put("/v1/nodes/bad", {"incarnation": "i", "signal_url": "ws://127.0.0.9:8188/", member: url})
    assert answer.code() == "bad_request" and answer.json()["detail"].startswith(f"{member}:"), answer


def wait_denied(router, port, times=1):
    """Until the router has found so often, at a connect, that it may not. Its log is written behind its back."""
    until(f"{times} connections to port {port} were held back",
          lambda: sum(row["port"] == port for row in router.events("egress_denied")) >= times)


def open_both_ways(router, room):
    """The room's signaling, once as WebSocket and once as HTTP."""
    path = f"/v1/rooms/{room}/signal"
    return router.get(path, headers=UPGRADE), router.get(path)


@pytest.mark.parametrize("host", ["127.0.0.2", "[::1]", "[::ffff:127.0.0.2]", "[::127.0.0.2]"])
def test_ssrf_what_another_router_let_in_is_not_connected_to(stage, canary, host):
    """A record is no proof: the store has it from a router with a wider list."""
    redis = stage.redis()
    wide = stage.router(f"registry.url={redis.url}", "nodes.allow_cidr=0.0.0.0/0,::/0")
    router = stage.router(f"registry.url={redis.url}", "nodes.allow_cidr=127.0.0.9/32", "log.level=debug", "breaker.failures=2")
    stage.node("n1", wide, signal_url=canary.url("ws", host), control=False)
    wide.wait_placeable("n1")
    assert wide.join("r").status == 200
    until("the router knows", lambda: router.node("n1"))
    assert not router.node("n1")["placeable"] and "address_not_allowed" in router.node("n1")["why_not"]
    for answer in open_both_ways(router, "r"):
        assert answer.code() == "node_unavailable", answer
    wait_denied(router, canary.port, 2)
    # Two failures opened its breaker, and its probe is a third way to connect.
    wait_denied(router, canary.port, 3)
    assert not canary.seen


class Redirecting(FakeNode):
    """Sends everybody elsewhere, and keeps the heads of what it was sent."""
    elsewhere = None

    def __init__(self, *args, **how):
        self.heads = []
        super().__init__(*args, labels={"name": args[0]}, **how)

    def register(self, **more):
        return super().register(health_url=f"http://127.0.0.1:{self.port}/health", **more)

    async def _answer(self, method, target, headers, body, writer):
        self.heads.append((target, headers))
        writer.write(f"HTTP/1.1 307 X\r\nLocation: {self.elsewhere}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        return True

    def asked(self, words):
        return [head for head in self.heads if words in head[0]]


def test_ssrf_no_redirect_proxy_or_netrc(stage, canary, tmp_path, monkeypatch):
    there = canary.url("http", "127.0.0.2")
    monkeypatch.setattr(Redirecting, "elsewhere", there)
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login u password p\n")
    proxies = {name: there for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY")}
    # Wide enough for the canary: what is asked of it would come by a redirect or a proxy.
    router = stage.router("nodes.allow_cidr=127.0.0.0/8", "probe.interval_ms=200", env={**proxies, "HOME": str(tmp_path)})
    called, carried = stage.add(Redirecting("called", [router])), stage.add(Redirecting("carried", [router], control=False))
    router.wait_placeable("called", "carried")
    assert router.join("r", {"require": {"name": "called"}}).status != 200
    assert router.join("s", {"require": {"name": "carried"}}).status == 200
    upgrade, plain = open_both_ways(router, "s")
    assert plain.status == 307 and plain.headers["location"] == there, plain
    until("it was probed", lambda: len(called.asked("/health")) > 1)
    assert called.asked("/rooms/r") and len(carried.asked("/signal")) == 2, (upgrade, carried.heads)
    assert not [head for head in called.heads + carried.heads if "authorization" in head[1] or head[0].startswith("http")]
    assert not canary.seen


class Counted(Sfu):
    def log_message(self, *ignored):
        self.server.seen.append(self.server.server_port)


GOOD, EVIL = "10.77.0.2", "10.77.0.3"
SIGNAL, CONTROL, HEALTH, HTTP = 7000, 7001, 7002, 7003


class Split:
    """A router in a network of its own, whose names the test answers; an SFU where it may connect, a canary where not."""

    def __init__(self, net, stage, *sets):
        net.host("router")
        net.resolver("router", "10.77.0.1")
        for address in (GOOD, EVIL):
            net.hub_address(address)
        self.names, self.seen = Names("10.77.0.1"), []
        self.canaries = [Canary(EVIL, port=port) for port in (SIGNAL, CONTROL, HEALTH, HTTP)]
        self.servers = [http.server.ThreadingHTTPServer((GOOD, port), Counted) for port in (SIGNAL, CONTROL, HEALTH, HTTP)]
        for server in self.servers:
            server.seen = self.seen
            threading.Thread(target=server.serve_forever, daemon=True).start()
        at = f"{net.hosts['router']}:8080"
        sets = [f"server.listen={at}", "log.format=json", "server.lame_duck_ms=0", f"server.public_url=http://{at}", "auth.allow_insecure=true",
                f"server.hosts={net.hosts['router']}", "registry.allow_memory=true", f"nodes.allow_cidr={GOOD}/32", "log.level=debug", *sets]
        self.router = stage.add(RouterAt(stage.directory, "router", at, sets, BUILD, net.within("router"))).wait_started()

    def node(self, name, **urls):
        """Registered, with nothing to be called but what is given."""
        return FakeNode(name, [self.router], signal_url=f"ws://{name}.test:{SIGNAL}/s", control=False, labels={"name": name},
                        http_url=f"http://{name}.test:{HTTP}/s", **urls)

    def join(self, room, name):
        self.router.wait_placeable(name)
        return self.router.join(room, {"require": {"name": name}})

    def evil_seen(self):
        return [row for canary in self.canaries for row in canary.seen]


@pytest.fixture
def split(net, stage):
    return Split(net, stage, "breaker.failures=2", "probe.interval_ms=200")


def test_ssrf_rebinding(split, stage):
    """A name that leads where it may when somebody looks, and elsewhere when it is connected to."""
    router, zone, asked = split.router, split.names.zone, split.names.asked
    zone["a.test"] = [GOOD]
    stage.add(split.node("a"))
    assert split.join("r", "a").status == 200
    router.get("/v1/rooms/r/signal", headers=UPGRADE)
    assert split.seen == [SIGNAL] and asked == ["a.test"]
    zone["a.test"] = [EVIL]
    for answer in open_both_ways(router, "r"):
        assert answer.code() == "node_unavailable", answer
    wait_denied(router, SIGNAL)
    wait_denied(router, HTTP)
    wait_denied(router, SIGNAL, 2)  # two failures opened the breaker: its probe
    assert len(asked) >= 4
    assert split.seen == [SIGNAL] and not split.evil_seen()


def test_ssrf_rebinding_of_what_usher_calls(split, stage):
    router, zone = split.router, split.names.zone
    zone.update({"b.test": [GOOD], "c.test": [GOOD], "control.test": [EVIL], "health.test": [EVIL]})
    stage.add(split.node("b", control_url=f"http://control.test:{CONTROL}"))
    assert split.join("r", "b").status in (502, 503)
    wait_denied(router, CONTROL)
    stage.add(split.node("c", health_url=f"http://health.test:{HEALTH}/"))
    wait_denied(router, HEALTH, 2)
    assert not split.seen and not split.evil_seen()


def test_ssrf_of_several_addresses_only_the_allowed_ones(split, stage):
    split.names.zone["c.test"] = [EVIL, GOOD, EVIL]
    stage.add(split.node("c"))
    assert split.join("r", "c").status == 200
    _, plain = open_both_ways(split.router, "r")
    assert plain.status == 200, plain
    assert sorted(split.seen) == [SIGNAL, HTTP] and not split.evil_seen()
