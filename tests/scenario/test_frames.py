# SPDX-License-Identifier: Apache-2.0
"""Frames and messages that are too big or break RFC 6455, from either side: nothing of them passes, each side hears its own code."""
import asyncio
import contextlib
import struct

import pytest

from harness import until
from http1 import head, read_answer
from scripted_sfu import ScriptedSFU, accept_key
from test_one_owner import owner
from test_tunnel import gate_of

UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
LIMITS = ["limits.frame_bytes=2000", "limits.message_bytes=5000"]
GATE_LIMITS = ["agent.frame_bytes=2000", "agent.message_bytes=5000"]


def frame(first, payload=b"", masked=True, length=None):
    length = len(payload) if length is None else length
    text = bytes([first, (0x80 if masked else 0) | (length if length < 126 else 126 if length < 65536 else 127)])
    text += struct.pack(">H", length) if 126 <= length < 65536 else struct.pack(">Q", length) if length >= 65536 else b""
    return text + (b"\0\0\0\0" if masked else b"") + payload


def frames(data):
    """(opcode, payload) of each whole frame."""
    while len(data) >= 2:
        length, at = data[1] & 127, 2
        if length > 125:
            size = 2 if length == 126 else 8
            length, at = int.from_bytes(data[2:2 + size], "big"), 2 + size
        mask = data[at:at + 4] if data[1] & 128 else b"\0\0\0\0"
        at += 4 if data[1] & 128 else 0
        if len(data) < at + length:
            return
        yield data[0], bytes(b ^ mask[i % 4] for i, b in enumerate(data[at:at + length]))
        data = data[at + length:]


def code_of(seen):
    return next((int.from_bytes(payload[:2], "big") for first, payload in seen if first == 0x88), None)


class SocketSFU(ScriptedSFU):
    """After the handshake it says `says`, and keeps all that it hears."""

    says, extensions = b"", ""

    def __init__(self):
        self.heard, self.over = b"", False
        super().__init__()

    async def _turn(self, reader, writer):
        seen = await self._read(reader)
        self.requests.append(seen)
        writer.write(f"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{self.extensions}Sec-WebSocket-Accept: {accept_key(seen)}\r\n\r\n".encode())
        writer.write(self.says)
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                self.heard += data
        self.over = True


async def talk(address, target, said, headers=None, drip=False):
    """Opens a WebSocket, says the bytes, and gives what was heard until the far side ended it, or fell silent."""
    host, port = address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 24)
    writer.write(head("GET", target, address, {**UPGRADE, **(headers or {})}, None))
    assert (await read_answer(reader)).status == 101
    for piece in [said[i:i + 1] for i in range(len(said))] if drip else [said]:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    heard = b""
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        while data := await asyncio.wait_for(reader.read(65536), 0.5 if not said else 5):
            heard += data
            if any(first == 0x88 for first, _ in frames(heard)):
                break
    writer.close()
    return list(frames(heard))


GOOD = [(0x81, b"good")]
# what is said behind a good text frame, as a client says it (masked), and the code that its sender hears
OFFENCES = [
    ("a frame over the limit", lambda m: frame(0x82, b"x" * 2001, m), 1009),
    ("a frame over it of which only the head comes", lambda m: frame(0x82, b"", m, 1 << 40), 1009),
    ("a frame of all the bits", lambda m: frame(0x82, b"", m, (1 << 64) - 1), 1009),
    ("a message over the limit", lambda m: frame(0x01, b"x" * 2000, m) + frame(0x00, b"x" * 2000, m) + frame(0x80, b"x" * 1001, m), 1009),
    ("a ping over 125 bytes", lambda m: frame(0x89, b"x" * 126, m), 1002),
    ("a close in fragments", lambda m: frame(0x08, b"", m), 1002),
    ("a reserved opcode", lambda m: frame(0x83, b"", m), 1002),
    ("a reserved opcode of control", lambda m: frame(0x8b, b"", m), 1002),
    ("a reserved bit", lambda m: frame(0xc1, b"", m), 1002),
    ("the other side's masking", lambda m: frame(0x81, b"abcd", not m), 1002),
    ("a continuation of nothing", lambda m: frame(0x80, b"x", m), 1002),
    ("a message within a message", lambda m: frame(0x01, b"x", m) + frame(0x81, b"x", m), 1002),
]
IDS = [row[0].replace(" ", "-") for row in OFFENCES]


@pytest.fixture(scope="module")
def router(shared_stage):
    router = shared_stage.router("server.workers=1", *LIMITS)
    router.sfu = shared_stage.add(SocketSFU())
    shared_stage.node("n1", router, control=False, signal_url=router.sfu.url)
    router.wait_placeable("n1")
    return router


def before(router):
    router.sfu.heard, router.sfu.over, router.sfu.says, router.sfu.extensions = b"", False, b"", ""
    return len(router.events("tunnel_closed"))


def ended(router, since):
    return until("the tunnel's end", lambda: router.events("tunnel_closed")[since:])[0]


@pytest.mark.parametrize("drip", [False, True], ids=["whole", "byte-by-byte"])
@pytest.mark.parametrize("offence,code", [row[1:] for row in OFFENCES], ids=IDS)
def test_client_that_breaks_the_rules(router, offence, code, drip):
    since, fault = before(router), {1009: "too_big", 1002: "protocol"}[code]
    counted = router.metric(f'usher_tunnel_faults_total{{offender="client",fault="{fault}"}}')
    heard = asyncio.run(talk(router.url[7:], "/v1/rooms/r/signal", frame(0x81, b"good") + offence(True), drip=drip))
    assert code_of(heard) == code
    until("the SFU hears the end", lambda: router.sfu.over)
    passed = list(frames(router.sfu.heard))
    assert passed[0] == GOOD[0] and code_of(passed) == 1001
    assert all(first & 15 != 8 and len(payload) <= 2000 for first, payload in passed[1:-1]) and passed[-1][0] == 0x88
    event = ended(router, since)
    assert (event["why"], event["offender"], event["fault"]) == ("broke_rules", "client", fault)
    assert router.metric(f'usher_tunnel_faults_total{{offender="client",fault="{fault}"}}') == counted + 1


@pytest.mark.parametrize("offence,code", [row[1:] for row in OFFENCES], ids=IDS)
def test_sfu_that_breaks_the_rules(router, offence, code):
    since, fault = before(router), {1009: "too_big", 1002: "protocol"}[code]
    router.sfu.says = frame(0x81, b"good", False) + offence(False)
    heard = asyncio.run(talk(router.url[7:], "/v1/rooms/r/signal", b""))
    assert heard[0] == GOOD[0] and code_of(heard) == 1011 and heard[-1][0] == 0x88
    until("the SFU hears why", lambda: router.sfu.over)
    assert code_of(frames(router.sfu.heard)) == code
    event = ended(router, since)
    assert (event["why"], event["offender"], event["fault"]) == ("broke_rules", "server", fault)
    assert (router.node("n1")["breakers"] or [{"failures": 0}])[0]["failures"] == 0  # a tunnel is judged by its opening


def test_reserved_bits_belong_to_an_extension_that_was_agreed_on(router):
    before(router)
    router.sfu.extensions = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
    router.sfu.says = frame(0xc1, b"squeezed", False) + frame(0x88, b"\x03\xe8", False)
    heard = asyncio.run(talk(router.url[7:], "/v1/rooms/r/signal", b"", {"Sec-WebSocket-Extensions": "permessage-deflate"}))
    assert heard == [(0xc1, b"squeezed"), (0x88, b"\x03\xe8")]


def test_the_log_says_whose_tunnel_has_ended(router):
    before(router)
    router.sfu.says = frame(0x88, b"\x03\xe8", False)
    asyncio.run(talk(router.url[7:], "/v1/rooms/r/signal", frame(0x88, b"\x03\xe8"), {"X-Request-Id": "its-own"}))
    until("its line", lambda: ("its-own", "r", "n1") in [(e.get("request"), e["room"], e["node"]) for e in router.events("tunnel_closed")])


def test_what_keeps_to_the_limits_passes(router):
    before(router)
    said = b"".join([frame(0x01, b"a" * 2000), frame(0x89, b"p" * 125), frame(0x00, b"b" * 2000), frame(0x80, b"c" * 1000),
                     frame(0x82, b"d" * 2000), frame(0x82), frame(0x88, b"\x03\xe8")])
    router.sfu.says = frame(0x88, b"\x03\xe8", False)
    asyncio.run(talk(router.url[7:], "/v1/rooms/r/signal", said))
    until("all of it arrives", lambda: router.sfu.heard == said)


@pytest.mark.parametrize("offence,code", [row[1:] for row in OFFENCES], ids=IDS)
def test_gate_holds_them_too(shared_stage, gate, offence, code):
    address, room, epoch, agent = gate
    since = len(agent.events("tunnel_closed"))
    said = frame(0x81, b"good") + offence(True)
    heard = asyncio.run(talk(address, "/signal", said, {"X-Usher-Room": room, "X-Usher-Epoch": str(epoch)}))
    assert code_of(heard) == code
    event = until("the tunnel's end", lambda: agent.events("tunnel_closed")[since:])[0]
    assert (event["why"], event["offender"]) == ("broke_rules", "client")


@pytest.fixture(scope="module")
def gate(shared_stage):
    router = shared_stage.router()
    agent = shared_stage.agent("n2", [router], *GATE_LIMITS)
    router.wait_placeable("n2")
    _, epoch = owner(router.join("r"))
    return gate_of(router, "n2")[5:].split("/")[0], "r", epoch, agent
