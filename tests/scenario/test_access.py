# SPDX-License-Identifier: Apache-2.0
"""Who may do what: tokens, JSON Web Tokens made by another library, tickets and sessions."""
import asyncio
import base64
import hashlib
import hmac
import json
import os
import re
import signal
import subprocess
import time

import jwt
import pytest
import websockets
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from harness import BUILD, bearer, call, until
from http1 import head, raw, read_answer
from test_one_owner import owner
from test_tunnel import signal_url

SCOPES = ("join", "route", "node", "admin", "metrics")


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(n):
    return b64(n.to_bytes((n.bit_length() + 7) // 8, "big"))


def write_secret(path, text):
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    return path


class Keys:
    """One key of each algorithm, and what the routers know of them."""

    def __init__(self):
        self.secret = os.urandom(32)
        self.rsa, self.ec, self.ed = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
        self.by_alg = {"HS256": self.secret, "RS256": self.rsa, "ES256": self.ec, "EdDSA": self.ed}
        r, e = self.rsa.public_key().public_numbers(), self.ec.public_key().public_numbers()
        d = self.ed.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.jwks = [
            {"kty": "oct", "alg": "HS256", "kid": "HS256", "k": b64(self.secret)},
            {"kty": "RSA", "alg": "RS256", "kid": "RS256", "n": number(r.n), "e": number(r.e), "use": "sig"},
            {"kty": "EC", "alg": "ES256", "kid": "ES256", "crv": "P-256", "x": b64(e.x.to_bytes(32, "big")), "y": b64(e.y.to_bytes(32, "big"))},
            {"kty": "OKP", "alg": "EdDSA", "kid": "EdDSA", "crv": "Ed25519", "x": b64(d)},
        ]

    def make(self, scope, alg="HS256", headers=None, key=None, **claims):
        claims = {"scope": scope, "exp": time.time() + 600, **claims}
        return jwt.encode({k: v for k, v in claims.items() if v is not None}, key or self.by_alg[alg], alg, {"kid": alg, **(headers or {})})


def static_line(name, token, scope, **limits):
    return {"name": name, "sha256": hashlib.sha256(token.encode()).hexdigest(), "scope": scope, **limits}


class House:
    """A router that asks for credentials, with a node that has one."""

    def __init__(self, stage, directory, *sets, mode="jwt", **how):
        self.keys, self.directory = Keys(), directory
        self.tokens = {scope: f"{scope}-{b64(os.urandom(24))}" for scope in SCOPES}
        self.lines = [static_line(s, t, s, **({"node": "n1"} if s == "node" else {})) for s, t in self.tokens.items()]
        self.tokens["all"] = b64(os.urandom(32))
        self.lines.append(static_line("operator", self.tokens["all"], "join route admin metrics"))
        self.rules = write_secret(directory / "keys.json", self.text())
        self.tickets = write_secret(directory / "ticket.keys", b64(os.urandom(32)) + "\n")
        self.sets = [f"auth.mode={mode}", f"auth.keys={self.rules}", f"auth.ticket_keys={self.tickets}", *sets]
        self.router = stage.router(*self.sets, token=self.tokens["all"], **how)
        self.node = stage.node("n1", self.router, token=self.tokens["node"])
        self.router.wait_placeable("n1")

    def text(self, **more):
        return json.dumps({"tokens": self.lines, "keys": self.keys.jwks, **more})

    def ask(self, method, path, token, body=None, **headers):
        return call(method, self.router.url + path, body, {**bearer(token), **headers})


@pytest.fixture(scope="module")
def house(shared_stage, tmp_path_factory):
    house = House(shared_stage, tmp_path_factory.mktemp("access"), "auth.wrong_per_minute=0")
    house.room = owner(house.router.join("r"))
    return house


# -- the matrix -----------------------------------------------------------------------------------------------------------------
def routes():
    """(method, path, scopes) of every route, from the table itself."""
    text = subprocess.run([BUILD / "router" / "usherd", "--print", "routes"], capture_output=True, text=True, check=True).stdout
    rows = re.findall(r"^\| (\w+) \| `([^`]+)` \| ([^|]+) \|", text, re.M)
    for method, path, scopes in rows:
        path = path.replace("{room}", "r").replace("{node}", "n1").replace("*", "x")
        words = set(re.split(r" or |, ", scopes.strip()))
        assert words <= {*SCOPES, "everyone", "", "a join's ticket", "or a join's ticket"}, scopes
        for one in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD") if method == "ANY" else (method,):
            yield one, path, words & {*SCOPES, "everyone"}


@pytest.mark.parametrize("method,path,scopes", routes())
def test_each_route_lets_in_its_scopes_and_no_other(house, method, path, scopes):
    """What a right credential gets instead of 401 and 403 is the verb's own answer: the body that is sent fits none."""
    assert scopes, "a route without a scope"
    body = b"{}" if method in ("POST", "PUT") else None
    headers = {"Content-Type": "text/plain"} if body else {}  # 415 where a body is read, so that nothing is changed
    query = "?epoch=1&incarnation=another" if method == "DELETE" else ""

    async def ask(token):
        reader, writer = await asyncio.open_connection(*house.router.url[7:].split(":"))
        writer.write(head(method, path + query, "localhost", {**bearer(token), **headers}, body and len(body)) + (body or b""))
        try:
            return (await asyncio.wait_for(read_answer(reader, head_only=True), 10)).status  # events have no end
        finally:
            writer.close()

    def status(token):
        return asyncio.run(ask(token))
    assert (status(None) == 401) == ("everyone" not in scopes)
    assert (status("nonsense") == 401) == ("everyone" not in scopes)
    for scope in SCOPES:
        for token in (house.tokens[scope], house.keys.make(scope, node="n1" if scope == "node" else None)):
            got = status(token)
            assert (got not in (401, 403)) == bool(scopes & {scope, "everyone"}), (scope, got)
    house.router.delete("/v1/nodes/n1/cordon")
    assert owner(house.router.join("r")) == house.room, "the matrix has changed something"


@pytest.mark.parametrize("method,path,scopes", routes())
def test_a_preflight_opens_nothing(house, method, path, scopes):
    """It comes without a credential, so it must not get further than itself, with a body or without."""
    asked = len(house.node.requests)
    for body in (None, b"{}"):
        answer = house.ask("OPTIONS", path, None, body, Origin="https://evil.example", **{"Access-Control-Request-Method": method, "Content-Type": "application/json"})
        assert answer.status in (403, 404, 405), answer
    assert [a for a in house.node.requests[asked:] if a[1] != "/"] == []


# -- tokens ---------------------------------------------------------------------------------------------------------------------
def test_no_credential_is_told_how(house):
    answer = house.ask("GET", "/v1/rooms/r/route", None)
    assert answer.code() == "unauthorized" and answer.headers["www-authenticate"].startswith("Bearer")
    assert house.ask("GET", "/v1/rooms/r/route", house.tokens["metrics"]).code() == "forbidden"
    assert house.ask("GET", "/readyz", None).status == 200


@pytest.mark.parametrize("headers", [
    [("Authorization", "Basic dXNlcjpwYXNz")], [("Authorization", "{route}")], [("Authorization", "Bearer")], [("Authorization", "Bearer ")],
    [("Authorization", "Bearer {route} {route}")], [("Authorization", "Bearer {route}"), ("Authorization", "Bearer {route}")],
    [("Authorization", "Bearer {route}x")], [("Authorization", "Bearer \"{route}\"")], [("Authorization", "Token {route}")],
    [("X-Authorization", "Bearer {route}")], [("Cookie", "usher_session={route}")], [("Authorization", "Bearer " + "A" * 4097)],
    [("X-Usher-Asked-By", "router")], [("X-Usher-Asked-By", "router"), ("X-Usher-Ticket", "{route}")],
])
def test_what_is_no_credential(house, headers):
    lines = "".join(f"{k}: {v.replace('{route}', house.tokens['route'])}\r\n" for k, v in headers)
    text = f"GET /v1/rooms/r/route HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}\r\n".encode()
    answer = asyncio.run(raw(house.router.url[7:], text))
    assert answer.status == 401, answer
    assert house.tokens["route"] not in answer.body.decode()


@pytest.mark.parametrize("alg", ["HS256", "RS256", "ES256", "EdDSA"])
def test_each_algorithm_by_its_key_alone(house, alg):
    keys = house.keys
    good = keys.make("route", alg)
    for _ in range(2):  # the second time from memory
        assert house.ask("GET", "/v1/rooms/r/route", good).status == 200
    first, claims, signature = good.split(".")
    more = json.loads(base64.urlsafe_b64decode(claims + "=="))
    others = [f"{first}.{b64(json.dumps({**more, 'scope': 'admin route'}).encode())}.{signature}", f"{first}.{claims}.", f"{first}.{claims}",
              f"{b64(json.dumps({'alg': 'none', 'kid': alg}).encode())}.{claims}.", good + ".", "." + good, good + "=", good[:-1],
              keys.make("route", alg, exp=time.time() - 1), keys.make("route", alg, nbf=time.time() + 60), keys.make("route", alg, exp=None),
              keys.make("route", alg, iat=time.time() + 60), keys.make("route", alg, headers={"kid": "unknown"}),
              keys.make("route", alg, headers={"crit": ["x"], "x": 1}), keys.make("route", alg, aud="somebody"), keys.make("nothing", alg),
              keys.make(None, alg), keys.make("route", alg, room="a\nb"), keys.make("node", alg)]
    for other in keys.by_alg:
        if other != alg:
            others.append(keys.make("route", other, headers={"kid": alg}))
    public = json.dumps(next(k for k in keys.jwks if k["kid"] == alg)).encode()
    if alg != "HS256":
        pem = keys.by_alg[alg].public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        for secret in (pem, pem.strip(), public):
            claims64 = b64(json.dumps({"scope": "route", "exp": time.time() + 60}).encode())
            text = b64(json.dumps({"alg": "HS256", "kid": alg}).encode()) + "." + claims64
            others.append(text + "." + b64(hmac.new(secret, text.encode(), hashlib.sha256).digest()))
    for token in others:
        answer = house.ask("GET", "/v1/rooms/r/route", token)
        assert answer.status == 401, (token, answer)
    assert house.ask("GET", "/v1/rooms/r/route", good).status == 200


def test_a_token_for_a_room_is_for_no_other(house):
    make = house.keys.make
    exact, prefix = make("join", room="r"), make("join", room="team-*")
    assert house.ask("POST", "/v1/rooms/r/join", exact).status == 200
    assert house.ask("POST", "/v1/rooms/r2/join", exact).code() == "forbidden"
    assert house.ask("POST", "/v1/rooms/team-a/join", prefix).status == 200
    for room in ("team", "Team-a", "xteam-a"):
        assert house.ask("POST", f"/v1/rooms/{room}/join", prefix).code() == "forbidden", room
    assert house.ask("GET", "/v1/rooms/r/signal", exact).status == 200
    assert house.ask("GET", "/v1/rooms/team-a/signal", exact).code() == "forbidden"
    answer = house.ask("POST", "/v1/rooms/team-b/join", prefix, {"colocate_with": "r"})
    assert answer.code() == "forbidden" and "colocate_with" in answer.json()["detail"]
    assert house.ask("POST", "/v1/rooms/team-b/join", prefix, {"colocate_with": "team-a"}).status == 200
    bound = make("admin", room="r")
    assert house.ask("GET", "/v1/rooms/r", bound).status == 200
    assert house.ask("GET", "/v1/rooms/team-a", bound).code() == "forbidden"
    for path in ("/v1/rooms", "/v1/nodes", "/v1/nodes/n1", "/v1/routers", "/v1/events"):
        assert house.ask("GET", path, bound).code() == "forbidden", path


def test_a_node_is_itself_and_no_operator(house):
    token = house.tokens["node"]
    body = {"incarnation": "x", "signal_url": "ws://127.0.0.1:9/"}
    assert house.ask("PUT", "/v1/nodes/n2", token, body).code() == "forbidden"
    assert house.ask("POST", "/v1/nodes/n2/heartbeat", token, {}).code() == "forbidden"
    assert house.ask("DELETE", "/v1/nodes/n1?force=true", token).code() == "forbidden"
    assert house.ask("PUT", "/v1/nodes/n1/drain", token, {"policy": "wait"}).code() == "forbidden"
    assert house.ask("DELETE", "/v1/nodes/n1/drain", token).code() == "forbidden"
    assert house.ask("PUT", "/v1/nodes/n1/cordon", token).code() == "forbidden"
    until("nothing was wished", lambda: house.router.node("n1")["wish"] == "enabled")
    assert house.ask("PUT", "/v1/nodes/n1/drain", token, {"policy": "wait", "incarnation": house.node.incarnation}).status == 204
    until("it drains itself", lambda: house.router.node("n1")["wish"] == "draining")
    assert house.ask("DELETE", f"/v1/nodes/n1/drain?incarnation={house.node.incarnation}", token).status == 204
    for method, route in (("PUT", "cordon"), ("DELETE", "uncordon")):
        request = house.router.call(method, "/v1/nodes/n1/cordon").headers["x-request-id"]
        told = until("what operators do is told", lambda: [row for row in house.router.events("operator") if row["request"] == request])[0]
        assert (told["who"], told["method"], told["route"], told["node"]) == ("operator", method, route, "n1")
    until("and is back", lambda: house.router.node("n1")["placeable"])


# -- tickets and sessions -----------------------------------------------------------------------------------------------------------
def ticket_of(house, room, **body):
    answer = house.ask("POST", f"/v1/rooms/{room}/join", house.tokens["join"], body)
    return answer.json()["signal"]["url"].split("?ticket=")[1]


def test_a_ticket_opens_its_room_and_a_session_goes_on(house):
    path, ticket = "/v1/rooms/r/signal", ticket_of(house, "r", participant="ann")
    assert house.ask("GET", path, None).code() == "unauthorized"
    answer = house.ask("GET", f"{path}/more?a=1&ticket={ticket}&b=2", None, None, Cookie="other=1")
    assert answer.status == 200
    cookie = answer.headers["set-cookie"]
    assert re.fullmatch(r"usher_session=[\w-]+; Path=/v1/rooms/r/signal; Max-Age=43200; HttpOnly; SameSite=Lax", cookie), cookie
    session = cookie.split(";")[0]
    assert house.ask("GET", path, None, None, Cookie=f"a=b; {session}; c=d").status == 200
    assert "set-cookie" not in house.ask("GET", path, None, None, Cookie=session).headers
    for name, target, header in (("another room", "/v1/rooms/team-a/signal", session), ("a ticket as a session", path, f"usher_session={ticket}"),
                                 ("changed", path, session[:-1] + ("A" if session[-1] != "A" else "B"))):
        assert house.ask("GET", target, None, None, Cookie=header).code() == "unauthorized", name
    assert house.ask("GET", f"/v1/rooms/team-a/signal?ticket={ticket}", None).code() == "unauthorized"
    assert house.ask("GET", f"{path}?ticket={session.split('=')[1]}", None).code() == "unauthorized"
    assert house.ask("POST", "/v1/rooms/r/join", None, None, Cookie=session).code() == "unauthorized"
    assert house.ask("GET", path, None, None, Cookie=session, Origin="https://elsewhere.example").status == 401
    assert house.ask("GET", path, None, None, Cookie=session, **{"Sec-Fetch-Site": "cross-site"}).status == 401
    assert house.ask("GET", path, None, None, Cookie=session, **{"Sec-Fetch-Site": "same-origin"}).status == 200
    assert house.ask("GET", f"{path}?t%69cket={ticket}&c=3", house.tokens["join"], None, Referer=f"https://x.example/?ticket={ticket}").status == 200
    for rest in ("/../../admin", "/a/%2e%2E/b", "/.", "/a/%2e"):
        assert house.ask("GET", path + rest, house.tokens["join"]).code() == "bad_request", rest
    asked = [(target, headers) for _, target, headers in house.node.requests if target.startswith("/signal")]
    assert asked and all("ticket" not in target and not {"cookie", "authorization", "referer"} & headers.keys() for target, headers in asked)
    assert not any(ticket in target or ".." in target for target, _ in asked)
    assert any(target == "/signal/more?a=1&b=2" for target, _ in asked) and any(target == "/signal?c=3" for target, _ in asked)
    log = house.router.log.read_text()
    assert ticket not in log and session.split("=")[1] not in log and not any(t in log for t in house.tokens.values())


def test_a_tunnel_by_ticket_in_the_url_or_among_the_subprotocols(shared_stage, house):
    offered = []

    async def echo(ws):
        offered.append(ws.request_headers.get("Sec-WebSocket-Protocol"))
        assert "Authorization" not in ws.request_headers and "ticket" not in ws.path
        async for message in ws:
            await ws.send(message)

    async def once(url, **how):
        async with websockets.connect(url, **how) as ws:
            await ws.send("x")
            assert await ws.recv() == "x"
            return ws.subprotocol

    async def run():
        async with websockets.serve(echo, "127.0.0.1", 0, subprotocols=["janus-protocol"]) as server:
            port = server.sockets[0].getsockname()[1]
            line = static_line("w", "node-token-of-w", "node", node="w")
            house.lines.append(line)
            write_secret(house.rules, house.text())
            house.router.signal(signal.SIGHUP)
            await asyncio.to_thread(until, "the token counts", lambda: house.ask("DELETE", "/v1/nodes/w?incarnation=x", "node-token-of-w").status != 401)
            await asyncio.to_thread(shared_stage.node, "w", house.router, signal_url=f"ws://127.0.0.1:{port}/", token="node-token-of-w", pool="ws")
            await asyncio.to_thread(house.router.wait_placeable, "w")
            ticket = await asyncio.to_thread(ticket_of, house, "socket", pool="ws")
            url = signal_url(house.router, "socket")
            assert await once(f"{url}?ticket={ticket}") is None
            assert await once(url, subprotocols=["janus-protocol", f"usher.ticket.{ticket}"]) == "janus-protocol"
            assert await once(url, subprotocols=[f"usher.ticket.{ticket}"]) == f"usher.ticket.{ticket}"
            assert await once(url, extra_headers=bearer(house.keys.make("join", room="socket"))) is None
            for bad in (url, f"{url}?ticket={ticket[:-2]}", f"{signal_url(house.router, 'r')}?ticket={ticket}"):
                with pytest.raises(websockets.InvalidStatusCode) as refused:
                    await once(bad)
                assert refused.value.status_code == 401
    asyncio.run(run())
    assert offered == [None, "janus-protocol", None, None]


# -- rules that change ------------------------------------------------------------------------------------------------------------
def test_reloading_refuses_nobody_who_is_still_known(stage, tmp_path):
    house = House(stage, tmp_path)
    kept, gone = house.tokens["route"], house.keys.make("route")
    assert house.ask("GET", "/v1/rooms/r/route?assign=1", kept).status == 200 and house.ask("GET", "/v1/rooms/r/route", gone).status == 200
    second = os.urandom(32)
    new = house.keys.make("route", key=second, headers={"kid": "second"})
    assert house.ask("GET", "/v1/rooms/r/route", new).status == 401
    ticket, statuses = ticket_of(house, "r"), set()

    def asked(until_status, token):
        statuses.add(house.ask("GET", "/v1/rooms/r/route", kept).status)
        return house.ask("GET", "/v1/rooms/r/route", token).status == until_status
    house.keys.jwks.append({"kty": "oct", "alg": "HS256", "kid": "second", "k": b64(second)})
    write_secret(house.rules, house.text())
    write_secret(house.tickets, b64(os.urandom(32)) + "\n" + house.tickets.read_text())
    house.router.signal(signal.SIGHUP)
    until("the new key counts", lambda: asked(200, new))
    assert house.ask("GET", "/v1/rooms/r/route", gone).status == 200, "two keys are valid at once"
    assert house.ask("GET", f"/v1/rooms/r/signal?ticket={ticket}", None).status == 200, "and two of tickets"
    del house.keys.jwks[0]
    write_secret(house.rules, house.text())
    house.router.signal(signal.SIGHUP)
    until("the old key is gone, and what was remembered with it", lambda: asked(401, gone))
    for told, text in enumerate(("{", json.dumps({"tokens": [], "keys": []}), house.text(tokens=[{"name": "x"}])), 1):
        write_secret(house.rules, text)
        house.router.signal(signal.SIGHUP)
        until("it is told", lambda: len(house.router.events("reload_failed")) == told)
    assert house.ask("GET", "/v1/rooms/r/route", kept).status == 200 and house.ask("GET", "/v1/rooms/r/route", new).status == 200
    assert statuses == {200}


def test_two_routers_know_each_others_tickets_and_ask_each_other(stage, tmp_path):
    redis = stage.redis()
    house = House(stage, tmp_path, f"registry.url={redis.url}", "registry.timeout_ms=300")
    other = stage.router(*house.sets, token=house.tokens["all"])
    other.wait_placeable("n1")
    ticket = ticket_of(house, "r")
    assert call("GET", f"{other.url}/v1/rooms/r/signal?ticket={ticket}").status == 200
    placed = owner(house.router.join("known-to-one"))
    until("they know of each other", lambda: len(other.get("/v1/routers").json()["routers"]) == 2)
    redis.kill()
    until("the store is away", lambda: other.metric("usher_store_up") == 0)
    assert owner(until("the other one answers in time", lambda: (a := other.join("known-to-one")).status == 200 and a)) == placed


# -- how much -------------------------------------------------------------------------------------------------------------------
def test_who_guesses_is_slowed_down_and_his_neighbour_is_not(stage, tmp_path):
    house = House(stage, tmp_path, "auth.wrong_per_minute=1", "server.trusted_proxies=127.0.0.0/8")
    seen, new, wrong = house.keys.make("route"), house.keys.make("route", "ES256"), house.keys.make("route", key=os.urandom(32))

    def ask(token, address):
        return house.ask("GET", "/v1/rooms/r/route?assign=1", token, **{"X-Forwarded-For": address})
    for worker in range(8):  # each remembers for itself
        assert ask(seen, "192.0.2.7").status == 200
    answers = [ask(wrong, "10.1.1.1, 192.0.2.7") for _ in range(22)]
    assert [a.code() for a in answers] == ["unauthorized"] * 20 + ["rate_limited"] * 2
    assert int(answers[-1].headers["retry-after"]) > 10
    assert ask(new, "192.0.2.7").code() == "rate_limited", "a signature that nobody has checked is not checked now"
    assert ask(seen, "192.0.2.7").status == 200 and ask(house.tokens["route"], "192.0.2.7").status == 200
    assert ask(new, "::ffff:192.0.2.7").code() == "rate_limited", "the same address, written as IPv6"
    assert ask(new, "192.0.2.8").status == 200
    lines = f"GET /v1/rooms/r/route HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {wrong}\r\n"
    forged = [asyncio.run(raw(house.router.url[7:], f"{lines}X-Forwarded-For: 9.9.9.{i}\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n".encode())) for i in range(21)]
    assert [a.status for a in forged] == [401] * 20 + [429], "a proxy's own line comes after its client's"
    for _ in range(30):
        assert house.ask("GET", "/v1/rooms/r/signal?ticket=nonsense", None, None, **{"X-Forwarded-For": "192.0.2.10"}).status == 401
    assert ask(house.keys.make("route", "EdDSA"), "192.0.2.10").status == 200, "a ticket that is over is no guess"
    for host in range(20):
        assert ask(wrong, f"2001:db8:0:1::{host:x}").status == 401
    assert ask(wrong, "2001:db8:0:1:ffff::").code() == "rate_limited", "one /64 is one host"
    assert ask(wrong, "2001:db8:0:2::").status == 401
    assert house.router.metric('usher_credentials_total{outcome="limited"}') == 6


def test_the_networks_of_one_site_cannot_fill_the_table_of_guesses(stage, tmp_path):
    house = House(stage, tmp_path, "auth.wrong_per_minute=1", "server.trusted_proxies=127.0.0.0/8", "server.workers=1")
    wrong = house.keys.make("route", key=os.urandom(32))

    def guess(address):
        return house.ask("GET", "/v1/rooms/r/route", wrong, **{"X-Forwarded-For": address}).status
    codes = [guess(f"2001:db8:5:{net:x}::1") for net in range(330)]
    assert codes[:320] == [401] * 320, "each /64 has its own share"
    assert codes.count(429) >= 8, "and a /48 that of sixteen"
    assert guess("2001:db8:5:ffff::1") == 429
    assert guess("2001:db8:6:1::1") == 401 and guess("192.0.2.77") == 401
    assert house.ask("GET", "/v1/rooms/r/route?assign=1", house.tokens["route"], **{"X-Forwarded-For": "2001:db8:5:1::1"}).status == 200


@pytest.mark.parametrize("what,other", [("address", {"X-Forwarded-For": "192.0.2.2"}), ("room", {}), ("credential", {})])
def test_too_many_requests_are_429_and_what_keeps_the_fleet_alive_goes_on(stage, tmp_path, what, other):
    house = House(stage, tmp_path, f"limits.{what}_rate=0.5", "server.trusted_proxies=127.0.0.0/8")
    first, second = house.keys.make("join", sub="ann"), house.keys.make("join", sub="bob")

    def join(token, room="r", **headers):
        return house.ask("POST", f"/v1/rooms/{room}/join", token, **{"X-Forwarded-For": "192.0.2.1", **headers})
    answers = [join(first) for _ in range(4)]
    assert [a.status for a in answers] == [200, 200, 429, 429] and answers[-1].code() == "rate_limited"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 4
    if what == "address":
        url = answers[0].json()["signal"]["url"].replace("ws://", "http://")
        claims = {"X-Usher-Asked-By": "a-router", "X-Usher-Ticket": "of-one", "X-Forwarded-For": "192.0.2.1"}
        assert call("GET", url, headers=claims).code() == "rate_limited", "who says to be a router is one at the routers' question alone"
    assert join(second if what == "credential" else first, "another" if what == "room" else "r", **other).status == 200
    assert all(house.node.beat().status == 200 for _ in range(10)), "nodes are not counted"
    assert all(house.router.get("/v1/nodes").status == 200 for _ in range(10)), "nor operators"


# -- what is refused at the start ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("sets,text,named", [
    (["auth.mode=token"], None, "auth.keys: required"),
    (["auth.mode=jwt", "auth.keys=FILE", "registry.url=redis://127.0.0.1:1"], "good", "auth.ticket_keys: required"),
    (["auth.mode=token", "auth.keys=/nowhere"], None, "cannot be opened"),
    (["auth.mode=token", "auth.keys=FILE"], "open", "0600"),
    (["auth.mode=token", "auth.keys=FILE"], "{}", "no tokens"),
    (["auth.mode=jwt", "auth.keys=FILE"], "{}", "no keys"),
    (["auth.mode=jwt", "auth.keys=FILE"], "nonsense", "auth.keys"),
    (["auth.mode=jwt", "auth.keys=FILE"], '{"keys":[{"kty":"oct","alg":"HS256","kid":"a","k":"c2hvcnQ"}]}', "keys[0] (a): k:"),
    (["auth.mode=jwt", "auth.keys=FILE"], '{"keys":[{"kty":"oct","alg":"HS512","kid":"a","k":"c2hvcnQ"}]}', "alg"),
    (["auth.mode=jwt", "auth.keys=FILE"], '{"keys":[{"kty":"OKP","alg":"EdDSA","kid":"a","crv":"Ed25519","x":"AA","d":"AA"}]}', "private"),
    (["auth.mode=token", "auth.keys=FILE"], '{"tokens":[{"name":"a","sha256":"XYZ","scope":"join"}]}', "sha256"),
    (["auth.mode=token", "auth.keys=FILE"], '{"tokens":[{"name":"a","sha256":"%s","scope":"root"}]}' % ("0" * 64), "scope"),
    (["auth.mode=token", "auth.keys=FILE"], '{"tokens":[{"name":"a","sha256":"%s","scope":"node"}]}' % ("0" * 64), "node"),
    (["auth.mode=token", "auth.keys=FILE"], '{"tokens":[%s,%s]}' % ((json.dumps(static_line("a", "t", "join")),) * 2), "one token"),
    (["auth.mode=jwt", "auth.keys=FILE"], "exponent 1", "65537"),
    (["auth.mode=jwt", "auth.keys=FILE", "auth.ticket_keys=FILE"], "good", "auth.ticket_keys"),
    (["auth.mode=jwt", "auth.keys=FILE", "auth.max_skew_ms=60000"], "good", "auth.max_skew_ms"),
    (["auth.grant_keys=/nowhere"], None, "auth.grant_keys: /nowhere cannot be opened"),
    (["auth.grant_keys=FILE"], "nonsense", "auth.grant_keys"),
    (["auth.grant_keys=FILE"], "open", "0600"),
])
def test_what_does_not_fit_is_refused_at_the_start_in_words(tmp_path, sets, text, named):
    jwks = Keys().jwks
    made = {"good": jwks, "open": jwks, "exponent 1": [{**jwks[1], "e": "AQ"}]}
    file = write_secret(tmp_path / "keys.json", json.dumps({"keys": made[text]}) if text in made else text or "")
    if text == "open":
        file.chmod(0o640)
    words = [word for s in sets for word in ("--set", s.replace("FILE", str(file)))]
    run = subprocess.run([BUILD / "router" / "usherd", "--check", *words], capture_output=True, text=True)
    assert run.returncode == 1 and named in run.stderr, run.stderr
    assert "c2hvcnQ" not in run.stderr


# -- usherctl makes them, the agent shows them ----------------------------------------------------------------------------------------
def test_what_usherctl_makes_lets_in(stage, tmp_path):
    def made(*words):
        run = subprocess.run([BUILD / "client" / "ctl" / "usherctl", "token", *words], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        return run.stdout.splitlines()
    lines, keys, files = [], [], {}
    for name, words in (("node", ["--scope", "node", "--node", "n1"]), ("ops", ["--scope", "admin metrics"])):
        token, line = made("static", "--as", name, *words)
        files[name] = write_secret(tmp_path / name, token + "\n")
        lines.append(json.loads(line))
    for alg in ("HS256", "ES256", "EdDSA"):
        private, public = made("key", "--alg", alg, "--kid", alg)
        files[alg] = write_secret(tmp_path / alg, private)
        keys.append(json.loads(public))
    rules = write_secret(tmp_path / "keys.json", json.dumps({"tokens": lines, "keys": keys}))
    tickets = write_secret(tmp_path / "ticket.keys", made("secret")[0] + "\n")
    router = stage.router("auth.mode=jwt", f"auth.keys={rules}", f"auth.ticket_keys={tickets}", "auth.audience=usher",
                          token=files["ops"].read_text().strip())
    stage.agent("n1", [router], f"agent.token_file={files['node']}")
    router.wait_placeable("n1")
    for alg in ("HS256", "ES256", "EdDSA"):
        token, = made("jwt", "--key", files[alg], "--scope", "join", "--room", f"{alg}-*", "--as", "ann", "--audience", "usher")
        assert call("POST", f"{router.url}/v1/rooms/{alg}-1/join", headers=bearer(token)).status == 200
        assert call("POST", f"{router.url}/v1/rooms/other/join", headers=bearer(token)).status == 403
    run = subprocess.run([BUILD / "client" / "ctl" / "usherctl", "--url", router.url, "nodes"], capture_output=True, text=True,
                         env={**os.environ, "USHER_TOKEN_FILE": str(files["ops"])})
    assert run.returncode == 0 and "n1" in run.stdout
    run = subprocess.run([BUILD / "client" / "ctl" / "usherctl", "--url", router.url, "nodes"], capture_output=True, text=True)
    assert run.returncode == 4 and "credential" in run.stderr
