# SPDX-License-Identifier: Apache-2.0
"""Bad input gets the contract's code, names its fault, and changes nothing."""
import asyncio
from urllib.parse import quote

import pytest

from harness import call
from http1 import raw
from test_one_owner import owner


@pytest.fixture(scope="module")
def router(shared_stage):
    router = shared_stage.router("limits.body_bytes=4096")
    shared_stage.node("n1", router)
    router.wait_placeable("n1")
    return router


@pytest.mark.parametrize("body,named", [
    (b"{", "JSON"), (b'{"region":1}', "region"), (b'{"require":[]}', "require"), (b'{"require":{"gpu":1}}', "require"),
    (b'{"exclusive":"yes"}', "exclusive"), (b'{"mode":"magic"}', "mode"), (b'{"expected_participants":-1}', "expected_participants"),
    (b'{"expected_participants":1.5}', "expected_participants"), (b'{"expected_participants":1e99}', "expected_participants"),
    (b'{"region":"a","region":"b"}', "region"), (b'{"region":"\xff"}', ""), (b'{"region":"a"} x', ""), (b"[]", ""), (b"null", ""),
    (b'{"colocate_with":""}', "colocate_with"), (b'{"region":null}', "region")])
def test_a_join_that_is_not_well_said(router, body, named):
    answer = router.join("bad", body, headers={"Content-Type": "application/json"})
    assert answer.code() == "bad_request", answer
    assert named in answer.json()["detail"], answer
    assert router.get("/v1/rooms/bad/route").code() == "not_found"


def test_what_is_refused_before_it_begins_has_taken_no_time(router):
    assert router.call("POST", "/v1/rooms/timed/join", [1]).status == 400
    assert router.join("timed").status == 200
    assert router.metric('usher_requests_total{route="join",code="400"}') >= 1
    assert router.metric('usher_request_seconds_count{route="join"}') >= 1
    assert router.metric('usher_request_seconds_sum{route="join"}') < 60


def test_unknown_members_pass(router):
    assert router.join("fine", {"colour": "red", "nested": {"a": [1, 2]}}).status == 200


def test_a_body_of_another_kind(router):
    assert router.join("bad", b"region=eu", headers={"Content-Type": "text/plain"}).code() == "unsupported_media_type"


def test_a_body_too_large(router):
    answer = call("POST", router.url + "/v1/rooms/bad/join", b"x" * 10_000_000, headers={"Content-Type": "application/json"})
    assert answer.code() == "payload_too_large", answer
    assert router.get("/livez").status == 200


def test_a_chunked_body_too_large(router):
    part = b"400\r\n" + b" " * 1024 + b"\r\n"
    head = b"POST /v1/rooms/bad/join HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = asyncio.run(raw(router.url[7:], head + part * 5 + b"0\r\n\r\n"))
    assert answer.code() == "payload_too_large", answer


@pytest.mark.parametrize("name", ["%00", "%0a", "%ff", "%c0%af", "%ed%a0%80", "a" * 257, "%", "%2", "%zz", ".", "..", "%2e%2e", ""])
def test_names_that_are_none(router, name):
    answer = router.join(name)
    assert answer.code() == "invalid_room", answer


@pytest.mark.parametrize("name", ["a/b", "../x", "{a}", "}{", 'quo"te', "with space", "emoji 🎉", "a" * 256, "ü" * 128, "100%", "?#", "a:b", "*"])
def test_names_that_work(router, name):
    path = quote(name, safe="")
    first = owner(router.join(path))
    assert router.join(path).json()["room"] == name
    assert owner(router.get(f"/v1/rooms/{path}/route")) == first
    assert router.get(f"/v1/rooms/{path}").json()["room"] == name
    assert name in [row["room"] for row in router.get("/v1/nodes/n1/rooms").json()["rooms"]]
    assert router.delete(f"/v1/rooms/{path}?epoch={first[1]}").status == 204


@pytest.mark.parametrize("method,path,code", [
    ("GET", "/", "not_found"), ("GET", "/v2/rooms", "not_found"), ("GET", "/v1/rooms/a/b", "not_found"), ("GET", "/v1/rooms/", "invalid_room"),
    ("DELETE", "/v1/rooms/a/join", "method_not_allowed"), ("PATCH", "/v1/nodes", "method_not_allowed"),
    ("GET", "/v1/nodes/no%20node", "invalid_node"), ("GET", "/v1/nodes/unknown", "unknown_node"), ("GET", "/v1/rooms/unknown", "not_found"),
    ("GET", "/v1/rooms?limit=0", "bad_request"), ("GET", "/v1/rooms?limit=1001", "bad_request"), ("GET", "/v1/rooms?limit=x", "bad_request"),
    ("GET", "/v1/rooms?cursor=zzz", "bad_request"), ("GET", "/v1/rooms/a/route?assign=2", "bad_request"),
    ("DELETE", "/v1/rooms/a?epoch=-1", "bad_request"), ("DELETE", "/v1/rooms/a?epoch=9007199254740992", "bad_request"),
    ("DELETE", "/v1/nodes/n1", "bad_request"), ("POST", "/v1/rooms/a/move", "not_found"),
    ("GET", "/v1/calls", "not_implemented"), ("PUT", "/v1/nodes/nobody/drain", "unknown_node")])
def test_paths_methods_and_queries(router, method, path, code):
    answer = call(method, router.url + path)
    assert answer.code() == code, answer
    if code == "method_not_allowed":
        assert answer.headers["allow"]


@pytest.mark.parametrize("body,named", [
    ({}, "incarnation"), ({"incarnation": "a"}, "signal_url"), ({"incarnation": "a b", "signal_url": "ws://127.0.0.1"}, "incarnation"),
    ({"incarnation": "a", "signal_url": "ftp://127.0.0.1"}, "signal_url"), ({"incarnation": "a", "signal_url": "ws://u:p@127.0.0.1"}, "signal_url"),
    ({"incarnation": "a", "signal_url": "ws://8.8.8.8"}, "signal_url"), ({"incarnation": "a", "signal_url": "ws://[::ffff:8.8.8.8]"}, "signal_url"),
    ({"incarnation": "a", "signal_url": "ws://127.0.0.1", "control_url": "ws://127.0.0.1"}, "control_url"),
    ({"incarnation": "a", "signal_url": "ws://127.0.0.1", "capacity": {"rooms": -1}}, "capacity"),
    ({"incarnation": "a", "signal_url": "ws://127.0.0.1", "fences": "wall"}, "fences")])
def test_a_registration_that_is_not_well_said(router, body, named):
    answer = router.put("/v1/nodes/new", body)
    assert answer.code() == "bad_request" and named in answer.json()["detail"], answer
    assert router.get("/v1/nodes/new").code() == "unknown_node"


@pytest.mark.parametrize("text,status", [
    (b"GET /livez HTTP/1.1\r\n\r\n", 400), (b"GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
    (b"GET http://localhost/livez HTTP/1.1\r\nHost: localhost\r\n\r\n", 400), (b"GET /livez HTTP/1.1\r\nHost: evil.example\r\n\r\n", 400),
    (b"GET /livez HTTP/1.1\r\nHost: localhost\r\nBad Name: x\r\n\r\n", 400),
    (b"POST /v1/rooms/a/join HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST /v1/rooms/a/join HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400),
    (b"GET /livez HTTP/1.0\r\n\r\n", 200), (b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", 200)])
def test_heads_that_are_malformed(router, text, status):
    address = router.url.removeprefix("http://")
    assert asyncio.run(raw(address, text)).status == status
    assert router.get("/livez").status == 200


def test_slim_1777_nodes_register_from_allowed_addresses_only(stage):
    router = stage.router("nodes.allow_cidr=127.0.0.1/32")
    body = {"incarnation": "i", "signal_url": "ws://127.0.0.1:8/", "fences": "gate"}
    for member, url in (("signal_url", "ws://127.0.0.2:8/"), ("control_url", "http://10.0.0.1/"), ("health_url", "http://[::1]/")):
        answer = router.put("/v1/nodes/n1", {**body, member: url})
        assert answer.code() == "bad_request" and answer.json()["detail"].startswith(member), answer
    assert router.node("n1") is None
    assert router.put("/v1/nodes/n1", body).status == 201


def test_too_many_headers(router):
    answer = router.get("/livez", headers={f"X-{i}": "x" for i in range(100)})
    assert answer.code() == "headers_too_large", answer


def test_errors_have_one_shape(router):
    answer = router.get("/v1/rooms/unknown/route", headers={"X-Request-Id": "abc-1"})
    body = answer.json()
    assert answer.headers["x-request-id"] == "abc-1"
    assert set(body) >= {"type", "title", "status", "code", "detail"} and body["status"] == answer.status == 404
