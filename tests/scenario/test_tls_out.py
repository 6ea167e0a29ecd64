# SPDX-License-Identifier: Apache-2.0
"""TLS that usher speaks as a client: towards SFUs on each of its paths, and from agents towards routers.

An SFU shows a certificate; each path (a control call, a probe, a proxied request, a tunnel) must take it or leave it, and say why.
"""
import asyncio
import datetime
import json
import ssl

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from authority import Authority, NAMES
from harness import BUILD, Process, until
from http1 import read_answer
from scripted_sfu import CLOSE, RESET, STAY, ScriptedSFU, accept_key

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
DAY = datetime.timedelta(days=1)
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
            breakers = {b["class"]: b for b in self.router.node("probe")["breakers"]}
            return self.seen("/health") or breakers["control"]["state"] != "closed"
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
        "for clients": lambda: ca.issue("usage", usage=ExtendedKeyUsageOID.CLIENT_AUTH),
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


@pytest.mark.parametrize("path", PATHS)
def test_own_ca_is_instead_of_the_systems(stage, tmp_path, path, monkeypatch):
    """Both paths know the system's by the same names, and forget them where a file is named."""
    ca, other = Authority(tmp_path, "ca"), Authority(tmp_path, "other")
    monkeypatch.setenv("SSL_CERT_FILE", str(ca.file))
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
    play = Play(stage, old.server(new.issue("leaf")), f"sfu.tls_ca={file}", "breaker.failures=1000", "breaker.failure_rate=1", "breaker.min_calls=1000")
    assert not play.proxied()[0] and not play.tunnel()[0]
    file.write_bytes(new.file.read_bytes())
    play.router.signal(1)
    play.router.event("reloaded")
    until("requests pass", lambda: play.router.get("/v1/rooms/proxied/signal/x").status == 200)
    until("tunnels pass", lambda: play.router.get("/v1/rooms/tunnel/signal/t", headers=UPGRADE).status == 101)
