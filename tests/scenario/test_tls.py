# SPDX-License-Identifier: Apache-2.0
"""HTTPS and WSS on the listeners: everything that holds without TLS, with it."""
import asyncio
import contextlib
import os
import signal
import socket
import ssl
import struct
import subprocess
import time

import pytest
import websockets

import certs
import http1
from certs import Authority
from echo_sfu import EchoSfu, pattern
from harness import Client, call, fetch, read_answer, together, until


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def ours(ca):
    return ca.issue("router", ["127.0.0.1", "localhost"])


@pytest.fixture
def sfu():
    sfu = EchoSfu()
    yield sfu
    sfu.close()


@pytest.fixture
def pair(stage, sfu, ours):
    """A router that speaks TLS, and a node that echoes."""
    router = stage.router(tls=ours)
    stage.node("n1", router, signal_url=sfu.signal_url, http_url=sfu.http_url, control=False)
    router.wait_placeable("n1")
    return router


def wss(router, room, rest=""):
    return f"wss://{router.url[8:]}/v1/rooms/{room}/signal{rest}"


def connect(router, room="r", **how):
    how = {"max_size": None, "compression": None, "ping_interval": None, **how}
    return websockets.connect(wss(router, room), ssl=how.pop("ssl", http1.TRUST), **how)


def address(router):
    host, port = router.url.rsplit("//", 1)[1].rsplit(":", 1)
    return host, int(port)


def handshake(router, context=None, sock=None):
    sock = sock or socket.create_connection(address(router), 10)
    return (context or http1.TRUST).wrap_socket(sock, server_hostname="127.0.0.1")


def ask(tls, text):
    tls.sendall(text.encode() if isinstance(text, str) else text)


def answer_head(tls):
    data = b""
    while b"\r\n\r\n" not in data:
        more = tls.recv(4096)
        assert more, data
        data += more
    return data


GET = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


# -- everything once ---------------------------------------------------------------------------------------------------
def test_join_route_and_heartbeat_over_https(pair):
    answer = pair.join("standup")
    assert answer.status in (200, 201), answer
    assert answer.json()["signal"]["url"].startswith(f"wss://{pair.url[8:]}/v1/rooms/standup/signal")
    route = pair.get("/v1/rooms/standup/route").json()
    assert route["node"] == "n1"
    assert pair.node("n1")["state"] == "ready"
    assert [r["url"] for r in pair.get("/v1/routers").json()["routers"]] == [pair.url]
    assert pair.metric('usher_tls_handshakes_total{outcome="done"}') > 3


def test_messages_of_all_kinds_cross_a_wss_tunnel(pair):
    async def run():
        async with connect(pair, subprotocols=["janus-protocol"]) as ws:
            for message in ["text", "ümläut 🎉", b"", b"\0\xff" * 100, "x" * 70000, os.urandom(1 << 20)]:
                await ws.send(message)
                assert await asyncio.wait_for(ws.recv(), 10) == message
            await asyncio.wait_for(await ws.ping(b"beat"), 5)
            await ws.close(4321, "so long")
            return ws.close_code, ws.close_reason
    assert asyncio.run(run()) == (4321, "so long")
    until("the tunnel is gone", lambda: not pair.metric("usher_tunnels"))
