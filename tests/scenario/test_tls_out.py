# SPDX-License-Identifier: Apache-2.0
"""TLS that usher speaks as a client: towards SFUs on each of its paths, and from agents towards routers.

An SFU shows a certificate; each path (a control call, a probe, a proxied request, a tunnel) must take it or leave it, and say why.
"""
import asyncio
import concurrent.futures
import contextlib
import json
import os
import select
import socket
import ssl
import subprocess
import threading
import time

import pytest
from cryptography.hazmat.primitives import hashes

from authority import CLIENT_AUTH, DAY, Authority
from harness import BUILD, DEADLINE, free_port, until
from scripted_sfu import CLOSE, RESET, STAY, ScriptedSFU, accept_key

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": KEY}


def answers(seen):
    if seen.all("upgrade"):
        return (f"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept_key(seen)}\r\n\r\n".encode(), STAY)
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", STAY


class Play:
    """A router and an SFU that shows a certificate; a node for each path, so that no failure of one hides another's."""

    def __init__(self, stage, context, *sets, host="127.0.0.1"):
        self.stage, self.sfu = stage, stage.add(ScriptedSFU(context))
        self.sfu.script = answers
        self.at = f"{host}:{self.sfu.port}"
        self.router = stage.router("probe.interval_ms=100", "breaker.failures=1", "breaker.max_ejected=1", "server.park_ms=0", *sets)

    def node(self, name, **info):
        node = self.stage.node(name, self.router, control=False, signal_url=f"wss://{self.at}/sfu", pool=name, **info)
        self.router.wait_placeable(name)
        return node

    def seen(self, path):
        return [r for r in self.sfu.requests if r.target.startswith(path)]

    def control(self):
        self.node("control", control_url=f"https://{self.at}/control")
        return self.router.join("c", {"pool": "control"}).status == 200, self.seen("/control")

    def probe(self):
        self.stage.node("probe", self.router, control=False, signal_url=f"wss://{self.at}/sfu", pool="probe", health_url=f"https://{self.at}/health")

        def told():
            node = self.router.node("probe")  # None: the router has not read of it yet
            return node and (self.seen("/health") or any(b["class"] == "control" and b["state"] != "closed" for b in node["breakers"]))
        until("the probe's end", told)
        return bool(self.seen("/health")), self.seen("/health")

    def placed(self, name):
        self.node(name)
        assert self.router.join(name, {"pool": name}).status == 200

    def proxied(self):
        self.placed("proxied")
        return self.router.get("/v1/rooms/proxied/signal/x").status == 200, self.seen("/sfu/x")

    def tunnel(self):
        self.placed("tunnel")
        return self.router.get("/v1/rooms/tunnel/signal/t", headers=UPGRADE).status == 101, self.seen("/sfu/t")

    def reasons(self, event):
        return [e["why"] for e in self.router.events(event)]


PATHS = ["control", "probe", "proxied", "tunnel"]


@pytest.fixture(autouse=True)
def the_systems_own(monkeypatch):
    """Whatever the machine has in its environment."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


def leaf_of(ca, kind):
    other = Authority(ca.directory, "other")
    return {
        "good": lambda: ca.issue("good"),
        "good RSA": lambda: ca.issue("rsa", bits=2048),
        "another CA": lambda: other.issue("stranger"),
        "expired": lambda: ca.issue("expired", since=-2 * DAY, until=-DAY),
        "not yet valid": lambda: ca.issue("early", since=DAY, until=2 * DAY),
        "wrong name": lambda: ca.issue("elsewhere", names=("sfu.example", "127.0.0.2")),
        "name only in the CN": lambda: ca.issue("cn", names=(), common="127.0.0.1"),
        "self-signed": lambda: ca.self_signed("self"),
        "for clients": lambda: ca.issue("usage", usage=CLIENT_AUTH),
        "signed by SHA-1": lambda: ca.issue("sha1", hashed=hashes.SHA1()),
        "RSA of 512 bits": lambda: ca.issue("tiny", bits=512),
        "RSA of 1024 bits": lambda: ca.issue("small", bits=1024),
    }[kind]()


# what is shown, what of the reason both libraries' words have in common; None: it is taken
CERTIFICATES = [
    ("good", None),
    ("good RSA", None),
    ("another CA", "unable to get local issuer certificate"),
    ("expired", "certificate has expired"),
    ("not yet valid", "certificate is not yet valid"),
    ("wrong name", "IP address mismatch"),
    ("name only in the CN", "IP address mismatch"),
    ("self-signed", "self-signed certificate"),
    ("for clients", ("unsuitable certificate purpose", "unsupported certificate purpose")),
    ("signed by SHA-1", "CA signature digest algorithm too weak"),
    ("RSA of 512 bits", ("certificate key too weak", "connection closed", "SSL_ERROR_SYSCALL")),  # the server fails before us
    ("RSA of 1024 bits", "certificate key too weak"),
]


def has_reason(reasons, why):
    return reasons and all(any(word in reason for word in ([why] if isinstance(why, str) else why)) for reason in reasons)


@pytest.mark.parametrize("kind,why", CERTIFICATES, ids=[c[0].replace(" ", "-") for c in CERTIFICATES])
def test_certificate_on_each_path(stage, tmp_path, kind, why):
    ca = Authority(tmp_path, "ca")
    play = Play(stage, ca.server(leaf_of(ca, kind)), f"sfu.tls_ca={ca.file}")
    for path in PATHS:
        taken, seen = getattr(play, path)()
        assert (taken, len(seen) > 0) == (why is None, why is None), path
    if why:
        until("it is in the log", lambda: play.reasons("dial_tls_failed") and len(play.reasons("call_tls_failed")) >= 3)
        assert has_reason(play.reasons("dial_tls_failed"), why) and len(play.reasons("dial_tls_failed")) == 1
        assert has_reason(play.reasons("call_tls_failed"), why) and len(play.reasons("call_tls_failed")) >= 3
        assert play.sfu.requests == []


@pytest.mark.parametrize("path", PATHS)
def test_name_is_checked_where_the_url_has_one(stage, tmp_path, path):
    ca = Authority(tmp_path, "ca")
    play = Play(stage, ca.server(ca.issue("named", names=("localhost",))), f"sfu.tls_ca={ca.file}", host="localhost")
    assert getattr(play, path)()[0]
    play.at = f"127.0.0.1:{play.sfu.port}"
    other = Play(stage, ca.server(ca.issue("only", names=("127.0.0.1",))), f"sfu.tls_ca={ca.file}", host="localhost")
    assert not getattr(other, path)()[0]


@pytest.mark.parametrize("path", PATHS)
def test_without_own_ca_the_systems_decide(stage, tmp_path, path):
    ca = Authority(tmp_path, "ca")
    assert not getattr(Play(stage, ca.server(ca.issue("leaf"))), path)()[0]


@pytest.mark.parametrize("named", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
@pytest.mark.parametrize("path", PATHS)
def test_own_ca_is_instead_of_the_systems(stage, tmp_path, path, named, monkeypatch):
    """Both paths know the system's by the same names, and forget them where a file is named."""
    ca, other = Authority(tmp_path, "ca"), Authority(tmp_path, "other")
    hashed = tmp_path / "hashed"
    hashed.mkdir()
    (hashed / ca.file.name).write_bytes(ca.file.read_bytes())
    subprocess.run(["openssl", "rehash", hashed], check=True)
    monkeypatch.setenv(named, str(ca.file if named == "SSL_CERT_FILE" else hashed))
    assert getattr(Play(stage, ca.server(ca.issue("leaf"))), path)()[0]
    assert not getattr(Play(stage, ca.server(ca.issue("leaf")), f"sfu.tls_ca={other.file}"), path)()[0]


def test_tls_1_1_is_refused(stage, tmp_path):
    ca = Authority(tmp_path, "ca")
    play = Play(stage, ca.server(ca.issue("leaf"), highest=ssl.TLSVersion.TLSv1_1), f"sfu.tls_ca={ca.file}")
    for path in PATHS:
        assert not getattr(play, path)()[0], path
    low = Play(stage, ca.server(ca.issue("low"), highest=ssl.TLSVersion.TLSv1_2), f"sfu.tls_ca={ca.file}")
    for path in PATHS:
        assert getattr(low, path)()[0], path


# -- pins ----------------------------------------------------------------------------------------------------------------------
def pins_of(kind, leaf, ca):
    wrong = "sha256//" + "A" * 43 + "="
    return {"right": leaf.pin, "wrong": wrong, "second of two": f"{wrong}, {leaf.pin}", "of the CA": ca.pin}[kind]


@pytest.mark.parametrize("kind,good", [("right", True), ("wrong", False), ("second of two", True), ("of the CA", False)])
def test_pins_on_each_path(stage, tmp_path, kind, good):
    ca = Authority(tmp_path, "ca")
    leaf = ca.issue("leaf")
    play = Play(stage, ca.server(leaf), f"sfu.tls_ca={ca.file}", f"sfu.tls_pins={pins_of(kind, leaf, ca)}")
    for path in PATHS:
        taken, seen = getattr(play, path)()
        assert (taken, len(seen) > 0) == (good, good), path
    if not good:
        until("it is in the log", lambda: play.reasons("dial_tls_failed") and play.reasons("call_tls_failed"))
        assert play.reasons("dial_tls_failed") == ["its key is not one of the pins"]
        assert has_reason(play.reasons("call_tls_failed"), "pinned")


@pytest.mark.parametrize("path", PATHS)
def test_pin_does_not_stand_in_for_the_chain(stage, tmp_path, path):
    ca, other = Authority(tmp_path, "ca"), Authority(tmp_path, "other")
    leaf = other.issue("leaf")
    play = Play(stage, ca.server(leaf), f"sfu.tls_ca={ca.file}", f"sfu.tls_pins={leaf.pin}")
    assert not getattr(play, path)()[0]


@pytest.mark.parametrize("words,named", [
    ("sfu.tls_pins=sha256//short", "sfu.tls_pins"), ("sfu.tls_pins=sha1//" + "A" * 43 + "=", "sfu.tls_pins"),
    ("sfu.tls_ca=/nonexistent", "sfu.tls_ca"), ("server.peer_ca=/dev/null", "server.peer_ca")])
def test_what_cannot_be_read_is_a_fault_of_the_configuration(stage, words, named):
    checked = stage.process("check", [BUILD / "router" / "usherd", "--check", "--set", words])
    assert checked.child.wait(10) == 1
    assert named in checked.log.read_text()


def test_ca_is_read_anew_by_sighup(stage, tmp_path):
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    file = tmp_path / "believed.pem"
    file.write_bytes(old.file.read_bytes())
    play = Play(stage, old.server(new.issue("leaf")), f"sfu.tls_ca={file}", "breaker.failures=1000", "breaker.failure_rate=1", "breaker.min_calls=1000",
                "server.workers=1")  # another one would read the file for the first time
    assert not play.proxied()[0] and not play.tunnel()[0]
    file.write_bytes(new.file.read_bytes())
    play.router.signal(1)
    play.router.event("reloaded")
    until("requests pass", lambda: play.router.get("/v1/rooms/proxied/signal/x").status == 200)
    until("tunnels pass", lambda: play.router.get("/v1/rooms/tunnel/signal/t", headers=UPGRADE).status == 101)


def test_calls_read_the_file_at_each_new_connection(stage, tmp_path):
    """Nobody need tell: the file of an agent's CA is renewed under it."""
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    file = tmp_path / "believed.pem"
    file.write_bytes(old.file.read_bytes())
    play = Play(stage, old.server(new.issue("leaf")), f"sfu.tls_ca={file}", "breaker.failures=1000", "breaker.failure_rate=1", "breaker.min_calls=1000",
                "server.workers=1")
    play.placed("proxied")
    assert play.router.get("/v1/rooms/proxied/signal/x").status == 502
    file.write_bytes(new.file.read_bytes())
    assert play.router.get("/v1/rooms/proxied/signal/x").status == 200


# -- streams that end, drip or turn ---------------------------------------------------------------------------------------------
def cut_answer(status):
    return f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{{}}".encode()


@pytest.mark.parametrize("after", [CLOSE, RESET], ids=["close_notify", "cut"])
def test_body_short_of_its_length_is_a_failure(stage, tmp_path, after):
    ca = Authority(tmp_path, "ca")
    play = Play(stage, ca.server(ca.issue("leaf")), f"sfu.tls_ca={ca.file}", "breaker.failures=1000")
    play.placed("proxied")
    play.placed("tunnel")
    play.sfu.script = lambda seen: (cut_answer(200 if not seen.all("upgrade") else 403), after)
    play.node("control", control_url=f"https://{play.at}/control")
    assert play.router.join("c", {"pool": "control"}).status in (502, 503)
    with pytest.raises((asyncio.IncompleteReadError, AssertionError)):
        assert play.router.get("/v1/rooms/proxied/signal/x").status == 200
    assert play.router.get("/v1/rooms/tunnel/signal/t", headers=UPGRADE).status == 502

    def failures(name, kind):
        return next(b["failures"] for b in play.router.node(name)["breakers"] if b["class"] == kind)
    # A proxied answer is judged by its head.
    until("both are counted", lambda: failures("control", "control") >= 1 and failures("tunnel", "signal") >= 1)


class Dripping(ScriptedSFU):
    """Each byte of an answer is a TLS record of its own."""

    async def _turn(self, reader, writer):
        seen = await self._read(reader)
        self.requests.append(seen)
        answer, after = self.script(seen)
        for i in range(len(answer)):
            writer.write(answer[i:i + 1])
            await writer.drain()
        return after


def test_records_of_one_byte(stage, tmp_path):
    ca = Authority(tmp_path, "ca")
    play = Play(stage, ca.server(ca.issue("leaf")), f"sfu.tls_ca={ca.file}")
    play.sfu = stage.add(Dripping(ca.server(ca.issue("drip"))))
    play.sfu.script, play.at = answers, f"127.0.0.1:{play.sfu.port}"
    for path in PATHS:
        assert getattr(play, path)()[0], path


def test_large_bodies_both_ways(stage, tmp_path):
    ca = Authority(tmp_path, "ca")
    play = Play(stage, ca.server(ca.issue("leaf")), f"sfu.tls_ca={ca.file}")
    play.placed("proxied")
    body = bytes(range(256)) * 12000
    play.sfu.script = lambda seen: (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(seen.body) + seen.body, STAY)
    answer = play.router.post("/v1/rooms/proxied/signal/x", body, headers={"Content-Type": "application/octet-stream"})
    assert answer.body == body


class HandFed:
    """openssl's own server, told by hand: it prints what it reads, and sends what it is given. R asks for a new handshake."""

    def __init__(self, leaf):
        self.port = free_port()
        self.child = subprocess.Popen(["openssl", "s_server", "-accept", f"127.0.0.1:{self.port}", "-cert", leaf.cert, "-key", leaf.key, "-tls1_2"],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)
        self.until(b"ACCEPT")

    def until(self, words):
        read, end = b"", time.monotonic() + DEADLINE  # probes make it talk on and on
        while words not in read:
            left = max(end - time.monotonic(), 0)
            more = self.child.stdout.read(1) if select.select([self.child.stdout], [], [], left)[0] and left else b""
            assert more, read
            read += more

    def say(self, text):
        self.child.stdin.write(text)

    def close(self):
        self.child.kill()
        self.child.wait()


@pytest.mark.parametrize("path,headers", [("x", {}), ("t", UPGRADE)], ids=["proxied", "tunnel"])
def test_new_handshake_is_refused(stage, tmp_path, path, headers):
    """TLS 1.2 lets a server begin anew in the middle, with another certificate."""
    ca = Authority(tmp_path, "ca")
    play = Play(stage, ca.server(ca.issue("leaf")), f"sfu.tls_ca={ca.file}", "sfu.response_timeout_ms=3000")
    by_hand = HandFed(ca.issue("hand"))
    try:
        play.at = f"127.0.0.1:{by_hand.port}"
        play.placed("proxied")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            asked = pool.submit(play.router.get, f"/v1/rooms/proxied/signal/{path}", headers=headers)
            by_hand.until(b"X-Usher-Room")
            by_hand.say(b"R\n")
            by_hand.until(b"SSL_do_handshake -> ")
            by_hand.say(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n")
            assert asked.result().status in (502, 504)
    finally:
        by_hand.close()


# -- agents, and routers behind TLS ---------------------------------------------------------------------------------------------
class Front:
    """TLS in front of a router, as a proxy would be: what comes in goes on in the clear."""

    def __init__(self, context, port):
        self.context, self.to, self.listener = context, port, socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"https://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._carry, args=(self.listener.accept()[0],), daemon=True).start()

    def _carry(self, near):
        near.settimeout(10)
        with contextlib.suppress(OSError), self.context.wrap_socket(near, server_side=True, do_handshake_on_connect=False) as near:
            try:
                near.do_handshake()
            except ssl.SSLError:
                socket.socket.shutdown(near, socket.SHUT_WR)  # behind the alert, which a reset would destroy
                while socket.socket.recv(near, 4096):
                    pass
                return
            with socket.create_connection(("127.0.0.1", self.to)) as far:
                self._pump(near, far)

    def _pump(self, near, far):
        while True:
            ready = [near] if near.pending() else select.select([near, far], [], [])[0]
            for end, other in ((near, far), (far, near)):
                if end in ready:
                    data = end.recv(65536)
                    if not data:
                        return
                    other.sendall(data)

    def close(self):
        self.listener.close()


# how the agent is set up (of ca, its own certificate, a stranger's), whether the front asks for certificates, what becomes of it
AGENTS = {
    "own CA": (lambda ca, own, other: [f"agent.tls_ca={ca.file}"], False, None),
    "no CA": (lambda ca, own, other: [], False, "unable to get local issuer certificate"),
    "a certificate that is asked for": (lambda ca, own, other: [f"agent.tls_ca={ca.file}", f"agent.tls_cert={own.cert}", f"agent.tls_key={own.key}"], True, None),
    "no certificate where one is asked for": (lambda ca, own, other: [f"agent.tls_ca={ca.file}"], True, "certificate required"),
    "a stranger's certificate": (lambda ca, own, other: [f"agent.tls_ca={ca.file}", f"agent.tls_cert={other.cert}", f"agent.tls_key={other.key}"], True, "unknown ca"),
}


@pytest.mark.parametrize("how", list(AGENTS))
def test_agent_behind_tls(stage, tmp_path, how):
    sets, asks, why = AGENTS[how]
    ca, strangers = Authority(tmp_path, "ca"), Authority(tmp_path, "strangers")
    own, other = ca.client("sfu-1"), strangers.client("sfu-1-of-others")
    router = stage.router()
    front = stage.add(Front(ca.server(ca.issue("front"), clients=ca if asks else None), int(router.url.rsplit(":", 1)[1])))
    agent = stage.agent("sfu-1", [front], *sets(ca, own, other))
    if why:
        told = lambda: [e for e in agent.events("node_phase") if why in (e.get("detail") or "")]
        until("the agent says why", told)
        assert router.node("sfu-1") is None
    else:
        router.wait_placeable("sfu-1")
        assert router.join("r").status == 200


def agent_checks(stage, *sets):
    words = [w for s in sets for w in ("--set", s)]
    checked = stage.process("check", [BUILD / "client" / "agent" / "usher-agent", "--check", *words])
    return checked.child.wait(10), checked.log.read_text()


def test_key_that_others_may_read_is_refused(stage, tmp_path):
    leaf = Authority(tmp_path, "ca").client("sfu-1")
    assert agent_checks(stage, f"agent.tls_cert={leaf.cert}", f"agent.tls_key={leaf.key}")[0] == 0
    leaf.key.chmod(0o640)
    code, words = agent_checks(stage, f"agent.tls_cert={leaf.cert}", f"agent.tls_key={leaf.key}")
    assert code == 1 and "agent.tls_key" in words and "0600" in words


def test_certificate_and_key_belong_together(stage, tmp_path):
    ca = Authority(tmp_path, "ca")
    one, two = ca.client("one"), ca.client("two")
    for sets in ([f"agent.tls_cert={one.cert}"], [f"agent.tls_key={one.key}"], [f"agent.tls_cert={one.cert}", f"agent.tls_key={two.key}"]):
        code, words = agent_checks(stage, *sets)
        assert code == 1 and "agent.tls_key" in words


@pytest.mark.parametrize("believed", [True, False])
def test_sfu_of_an_agent_speaks_tls(stage, tmp_path, believed):
    """The gate, too, asks for a certificate: Janus may be on another machine after all."""
    ca = Authority(tmp_path, "ca")
    sfu = stage.add(ScriptedSFU(ca.server(ca.issue("sfu"))))
    at = f"127.0.0.1:{sfu.port}"
    sfu.script = janus_answers
    router = stage.router()
    agent = stage.agent("sfu-1", [router], f"agent.sfu_url=wss://{at}/ws", f"agent.sfu_http_url=https://{at}/janus",
                        f"agent.sfu_admin_url=https://{at}/admin", "agent.admin_secret=x", "agent.admin_key=y",
                        *([f"agent.sfu_ca={ca.file}"] if believed else []), adapter="janus")
    if believed:
        until("the SFU is asked", lambda: sfu.requests)
    else:
        assert "certificate" in agent.event("call_tls_failed")["why"]
        assert sfu.requests == []


def janus_answers(seen):
    body = json.dumps({"janus": "server_info", "transaction": "x"}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body, STAY


def ctl(stage, *words, **env):
    run = subprocess.run([BUILD / "client" / "ctl" / "usherctl", *words], capture_output=True, text=True, env={**os.environ, **env}, timeout=20)
    return run.returncode, run.stdout + run.stderr


def test_usherctl_behind_tls(stage, tmp_path):
    ca = Authority(tmp_path, "ca")
    own = ca.client("ops")
    router = stage.router()
    stage.node("sfu-1", router)
    front = stage.add(Front(ca.server(ca.issue("front"), clients=ca), int(router.url.rsplit(":", 1)[1])))
    code, words = ctl(stage, "--url", front.url, "nodes")
    assert code == 5 and "self-signed certificate in certificate chain" in words
    code, words = ctl(stage, "--url", front.url, "--ca", str(ca.file), "nodes")
    assert code == 5 and "certificate required" in words
    shown = ["--ca", str(ca.file), "--cert", str(own.cert), "--cert-key", str(own.key)]
    code, words = ctl(stage, "--url", front.url, *shown, "nodes")
    assert code == 0 and "sfu-1" in words
    code, words = ctl(stage, "nodes", USHER_URL=front.url, USHER_CA_FILE=str(ca.file), USHER_CERT_FILE=str(own.cert), USHER_CERT_KEY_FILE=str(own.key))
    assert code == 0 and "sfu-1" in words
    code, words = ctl(stage, "--url", front.url, "--ca", "/nonexistent", "nodes")
    assert code == 2 and "/nonexistent" in words


@pytest.mark.parametrize("believed", [True, False])
def test_routers_ask_each_other_by_tls(stage, tmp_path, believed):
    """A room that only the first knows, asked of the second, which has lost the store."""
    ca = Authority(tmp_path, "ca")
    front = stage.add(Front(ca.server(ca.issue("front")), None))
    redis = stage.redis()
    wire = stage.wire(redis.port)
    sets = ("nodes.heartbeat_ms=500", "nodes.lease_ms=60000", "registry.timeout_ms=300")
    first = stage.router(f"registry.url={redis.url}", f"server.advertise_url={front.url}", *sets)
    second = stage.router(f"registry.url=redis://127.0.0.1:{wire.port}", *([f"server.peer_ca={ca.file}"] if believed else []), *sets)
    front.to = int(first.url.rsplit(":", 1)[1])
    stage.node("n1", second)
    for router in (first, second):
        router.wait_placeable("n1")
    until("they know each other", lambda: len(second.get("/v1/routers").json()["routers"]) == 2)
    assert first.join("r").status == 200
    wire.cut(refuse=True)
    until("the store is seen as down", lambda: second.metric("usher_store_up") == 0)
    # A busy machine may not be done with the handshake in the time that there is to ask.
    if believed:
        answer = until("the first is asked", lambda: (a := second.join("r")).status == 200 and a)
        assert answer.json()["node"]["id"] == "n1"
    else:
        until("it says why", lambda: second.join("r").code() == "store_unavailable" and second.events("call_tls_failed"))
        assert "certificate" in second.event("call_tls_failed")["why"]
