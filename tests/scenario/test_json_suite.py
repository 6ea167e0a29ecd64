# SPDX-License-Identifier: Apache-2.0
"""Every document of JSONTestSuite as the body of a join: what must be refused gets 400 and places no room, and what is JSON is not
refused for its syntax but, unless it is an object, for its type."""
import asyncio
import json
import pathlib

import pytest

from http1 import Client

SUITE = pathlib.Path(__file__).parent.parent / "unit" / "base" / "jsontestsuite"
LONG = {"n_structure_100000_opening_arrays": b"[" * 60000, "n_structure_open_array_object": b"[{\"\":" * 12000}
LIMITED = ("y_string_null_escape", "y_object_escaped_null_in_key")  # U+0000, which no text of ours may have
ACCEPTED = ("i_structure_UTF-8_BOM_empty_object",)


def documents(letter):
    named = {path.stem: path.read_bytes() for path in SUITE.glob("*.json")} | LONG
    return sorted((name, body) for name, body in named.items() if name.startswith(letter))


@pytest.fixture(scope="module")
def router(shared_stage):
    router = shared_stage.router()
    shared_stage.node("n1", router)
    router.wait_placeable("n1")
    return router


def room_of(name):
    return "".join(c if c.isalnum() else "-" for c in name)


def post(router, documents):
    """For each name the answer to a join with this body, all on one connection while it lasts."""
    async def all_of_them():
        client, answers = Client(router.url), {}
        for name, body in documents:
            target = f"/v1/rooms/{room_of(name)}/join"
            answers[name] = await client.request("POST", target, body, {"Content-Type": "application/json"})
        client.close()
        return answers
    return asyncio.run(all_of_them())


def said(answer):
    return answer.json().get("detail", "") if answer.status != 200 else ""


def rooms(router):
    return {room["room"] for room in router.get("/v1/rooms?limit=1000").json()["rooms"]}


def test_what_must_be_refused_is(router):
    got = post(router, [(name, body) for name, body in documents("n") if body])  # an empty body is a fine join
    assert len(got) == 193
    assert [name for name, answer in got.items() if answer.status != 400 or answer.code() != "bad_request"] == []
    assert not rooms(router) & {room_of(name) for name in got}


def test_what_must_be_accepted_is_not_refused_for_its_syntax(router):
    got = post(router, documents("y"))
    assert len(got) == 95
    assert [name for name, answer in got.items() if "not valid JSON" in said(answer)] == []
    for name, body in documents("y"):
        status, detail = got[name].status, said(got[name])
        if name in LIMITED:
            assert (status, detail) == (400, "must not have U+0000 in a string")
        elif isinstance(json.loads(body), dict):
            assert status == 200, (name, got[name])
        else:
            assert (status, detail) == (400, "must be an object"), name


def test_what_is_ours_to_choose_is_chosen(router):
    got = post(router, documents("i"))
    assert len(got) == 35
    assert {name: answer.status for name, answer in got.items()} == {name: 200 if name in ACCEPTED else 400 for name in got}
