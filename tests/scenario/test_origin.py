# SPDX-License-Identifier: Apache-2.0
"""Which pages may open a WebSocket, or go on with a session's cookie: by Origin, as browsers send it and as nobody should."""
import asyncio

import pytest

from http1 import raw
from scripted_sfu import STAY, ScriptedSFU, accept_key
from test_access import House, ticket_of

UPGRADE = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
MUNICH = "https://xn--mnchen-3ya.example"
NAMED = ["server.hosts=rooms.example", "server.public_url=https://rooms.example"]
LISTED = [f"server.origins=https://a.example, {MUNICH}", *NAMED]


def answers(seen):
    if seen.all("upgrade"):
        return f"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept_key(seen)}\r\n\r\n".encode(), STAY
    return ScriptedSFU.OK, STAY


@pytest.fixture(scope="module")
def play(shared_stage):
    """A router of these settings, which change nothing by being used."""
    made = {}

    def of(*sets):
        if sets not in made:
            router, sfu = shared_stage.router(*sets), shared_stage.add(ScriptedSFU())
            sfu.script, router.sfu = answers, sfu
            shared_stage.node("n1", router, control=False, signal_url=sfu.url)
            router.wait_placeable("n1")
            made[sets] = router
        return made[sets]
    return of


def opened(router, host, *origins, more=()):
    lines = ["GET /v1/rooms/r/signal HTTP/1.1", f"Host: {host}", *UPGRADE, *more, *(f"Origin: {o}" for o in origins)]
    return asyncio.run(raw(router.url[7:], ("\r\n".join(lines) + "\r\n\r\n").encode())).status


# the router's settings, Host (None: what it listens on), Origin with {host} for it, the status
ORIGINS = [
    ("own", [], None, ["http://{host}"], 101),
    ("own by https, which ended before us", [], None, ["https://{host}"], 101),
    ("own in other letters", [], "LocalHost:{port}", ["http://localhost:{port}"], 101),
    ("none", [], None, [], 101),
    ("another port", [], None, ["http://127.0.0.1:1"], 403),
    ("no port", [], None, ["http://127.0.0.1"], 403),
    ("a name that ends like ours", [], None, ["http://evil{host}"], 403),
    ("another scheme", [], None, ["ftp://{host}"], 403),
    ("no scheme", [], None, ["://{host}"], 403),
    ("a scheme in capitals", [], None, ["HTTP://{host}"], 403),
    ("with a path", [], None, ["http://{host}/"], 403),
    ("with a user", [], None, ["http://a@{host}"], 403),
    ("empty", [], None, [""], 403),
    ("null", [], None, ["null"], 403),
    ("two, ours first", [], None, ["http://{host}", "https://evil.example"], 403),
    ("two, ours last", [], None, ["https://evil.example", "http://{host}"], 403),
    ("twice ours", [], None, ["http://{host}", "http://{host}"], 403),
    ("both in one", [], None, ["http://{host}, https://evil.example"], 403),
    ("https site, https page", NAMED, "rooms.example", ["https://rooms.example"], 101),
    ("https site, http page", NAMED, "rooms.example", ["http://rooms.example"], 403),
    ("https site, its own port said", NAMED, "rooms.example:443", ["https://rooms.example"], 101),
    ("https site, the page says it", NAMED, "rooms.example", ["https://rooms.example:443"], 101),
    ("https site, http's port", NAMED, "rooms.example", ["https://rooms.example:80"], 403),
    ("https site, trailing dot", NAMED, "rooms.example", ["https://rooms.example."], 403),
    ("https site, below it", NAMED, "rooms.example", ["https://evil.rooms.example"], 403),
    ("https site, above it", NAMED, "rooms.example", ["https://example"], 403),
    ("listed", LISTED, "rooms.example", ["https://a.example"], 101),
    ("listed, capitals", LISTED, "rooms.example", ["https://A.example"], 403),
    ("listed, other scheme", LISTED, "rooms.example", ["http://a.example"], 403),
    ("listed, other port", LISTED, "rooms.example", ["https://a.example:8443"], 403),
    ("listed, trailing dot", LISTED, "rooms.example", ["https://a.example."], 403),
    ("listed, goes on", LISTED, "rooms.example", ["https://a.example.evil.example"], 403),
    ("listed in its xn-- form", LISTED, "rooms.example", [MUNICH], 101),
    ("the same as no browser sends it", LISTED, "rooms.example", ["https://münchen.example"], 403),
    ("any", ["server.origins=*", *NAMED], "rooms.example", ["https://evil.example"], 101),
    ("any, null", ["server.origins=*", *NAMED], "rooms.example", ["null"], 101),
    ("any, but two", ["server.origins=*", *NAMED], "rooms.example", ["https://a.example", "https://b.example"], 403),
]


@pytest.mark.parametrize("sets,host,origins,status", [row[1:] for row in ORIGINS], ids=[row[0].replace(" ", "-") for row in ORIGINS])
def test_websocket(play, sets, host, origins, status):
    router = play(*sets)
    before = len(router.sfu.requests)
    port = router.url.rsplit(":", 1)[1]
    host = (host or router.url[7:]).format(port=port)
    assert opened(router, host, *(o.format(host=host, port=port) for o in origins)) == status
    assert len(router.sfu.requests) - before == (status == 101)


@pytest.mark.parametrize("trusted,proto,status", [(True, "https", 403), (True, "http", 101), (False, "https", 101)])
def test_scheme_is_that_of_the_proxy(play, trusted, proto, status):
    """By a trusted proxy's word the site is https, and a page that came by http is not its own."""
    router = play(*(["server.trusted_proxies=127.0.0.0/8"] if trusted else []))
    host = router.url[7:]
    assert opened(router, host, f"http://{host}", more=[f"X-Forwarded-Proto: {proto}"]) == status


@pytest.mark.parametrize("origins,origin,status", [
    ("*", "https://evil.example", 401), ("*", "null", 401), ("*", None, 200), ("*", "own", 200),
    ("*, https://a.example", "https://a.example", 200), ("https://a.example", "https://a.example", 200), ("https://a.example", "https://b.example", 401)])
def test_session_wants_an_origin_that_is_named(stage, tmp_path, origins, origin, status):
    """With * any page may ask, but not with what its reader's browser adds by itself."""
    house = House(stage, tmp_path, f"server.origins={origins}")
    session = house.ask("GET", f"/v1/rooms/r/signal?ticket={ticket_of(house, 'r')}", None).headers["set-cookie"].split(";")[0]
    said = {} if origin is None else {"Origin": house.router.url if origin == "own" else origin}
    assert house.ask("GET", "/v1/rooms/r/signal", None, None, Cookie=session, **said).status == status
