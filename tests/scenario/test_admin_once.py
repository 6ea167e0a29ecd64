# SPDX-License-Identifier: Apache-2.0
"""auth.admin_once: whoever hears an operator's token cannot change anything with it."""
import base64
import json
import os
import subprocess
import time

import pytest

from harness import BUILD, bearer, call
from test_access import House, b64, routes, static_line, write_secret

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
CORDON = "/v1/nodes/n1/cordon"


class Strict(House):
    def __init__(self, stage, directory, *sets):
        super().__init__(stage, directory, "auth.admin_once=true", "auth.wrong_per_minute=0", *sets)

    def once(self, method, target, alg="HS256", **claims):
        return self.keys.make("admin", alg, **{"exp": time.time() + 60, "jti": b64(os.urandom(16)), "method": method, "target": target, **claims})

    def change(self, method, target, body=None):
        return self.ask(method, target, self.once(method, target), body)


@pytest.fixture(scope="module")
def house(shared_stage, tmp_path_factory):
    return Strict(shared_stage, tmp_path_factory.mktemp("once"))


CHANGES = [(method, path) for method, path, scopes in routes() if "admin" in scopes and method != "GET" and "simulate" not in path]


def test_the_table_has_changes():
    assert len(CHANGES) >= 8


@pytest.mark.parametrize("method,path", CHANGES)
def test_each_change_takes_a_token_once(house, method, path):
    """A new route of operators that forgets its first step fails here."""
    path = path.replace("/nodes/n1", "/nodes/nobody").replace("/rooms/r", "/rooms/nowhere")
    token, body = house.once(method, path), {} if method in ("POST", "PUT") else None
    first = house.ask(method, path, token, body)
    assert first.status not in (401, 403), first.body
    again = house.ask(method, path, token, body)
    assert again.status == 401 and again.json()["code"] == "unauthorized" and "token of its own" in again.json()["detail"]


@pytest.mark.parametrize("method,target", [
    ("DELETE", CORDON), ("PUT", "/v1/nodes/n2/cordon"), ("PUT", CORDON + "?x=1"), ("PUT", CORDON + "?"), ("put", CORDON), ("PUT", CORDON + "/"),
    ("PUT", "/v1/nodes/n%31/cordon"), (None, CORDON), ("PUT", None), (None, None), ("", ""),
])
def test_a_token_is_for_the_change_that_it_names(house, method, target):
    """Heard before it was used, or never used: it is for nothing else. One that names no change changes nothing."""
    named = {key: value for key, value in (("method", method), ("target", target)) if value is not None}
    answer = house.ask("PUT", CORDON, house.keys.make("admin", exp=time.time() + 60, **named))
    assert answer.status == 401 and ("method" in answer.json()["detail"])
    assert "cordoned" not in house.router.node("n1")["wish"]


def test_a_query_belongs_to_what_is_named(house):
    target = "/v1/rooms/nowhere?epoch=1"
    assert house.ask("DELETE", "/v1/rooms/nowhere?force=true", house.once("DELETE", target)).status == 401
    assert house.ask("DELETE", target, house.once("DELETE", target)).status == 404


def test_a_token_to_look_with_changes_nothing(house):
    looks = house.once("GET", "/v1/nodes")
    for _ in range(3):
        assert house.ask("GET", "/v1/nodes", looks).status == 200, "looking is free"
    assert house.ask("PUT", CORDON, looks).status == 401
    assert house.ask("GET", "/v1/rooms", looks).status == 401
    assert house.ask("POST", "/v1/rooms/r/join", looks).status in (401, 403)


def test_a_signature_in_another_dress_is_the_same_token(house):
    """(r, s) and (r, n - s) sign the same: who saw the one can write the other, without a key."""
    token = house.once("PUT", CORDON, "ES256")
    text, signature = token.rsplit(".", 1)
    raw = base64.urlsafe_b64decode(signature + "==")
    s = int.from_bytes(raw[32:], "big")
    twin = f"{text}.{b64(raw[:32] + (P256_ORDER - s).to_bytes(32, 'big'))}"
    assert house.ask("PUT", CORDON, twin).status == 204, "a right one, else this tests nothing"
    assert house.ask("PUT", CORDON, token).status == 401
    assert house.change("DELETE", CORDON).status == 204


@pytest.mark.parametrize("what", ["lives too long", "static"])
def test_what_cannot_be_remembered_changes_nothing(house, what):
    token = house.tokens["admin"] if what == "static" else house.once("PUT", CORDON, exp=time.time() + 700)
    answer = house.ask("PUT", CORDON, token)
    assert answer.status == 401 and ("10 minutes" if what != "static" else "method, and target") in answer.json()["detail"]
    if what == "static":
        assert house.ask("GET", "/v1/nodes", token).status == 200


def test_a_token_is_used_up_at_all_routers(stage, tmp_path):
    redis = stage.redis()
    house = Strict(stage, tmp_path, f"registry.url={redis.url}", "registry.timeout_ms=300")
    other = stage.router(*house.sets, token=house.tokens["all"])
    other.wait_placeable("n1")
    token, client = house.once("PUT", CORDON), redis.client()
    assert house.ask("PUT", CORDON, token).status == 204
    assert call("PUT", other.url + CORDON, headers=bearer(token)).status == 401
    kept = [key for key in client.scan_iter("usher:once:*")]
    assert len(kept) == 1 and 60000 < client.pttl(kept[0]) <= 71000, "longer than it lives, as clocks differ"
    redis.kill()
    answer = house.change("DELETE", CORDON)
    assert answer.status == 503 and answer.json()["code"] == "store_unavailable", "nobody can say that it was not used"


def test_it_is_refused_where_tokens_cannot_be_made_anew(tmp_path):
    rules = write_secret(tmp_path / "keys.json", json.dumps({"tokens": [static_line("a", "t" * 40, "admin")]}))
    run = subprocess.run([BUILD / "router" / "usherd", "--check", "--set", "auth.mode=token", "--set", f"auth.keys={rules}",
                          "--set", "auth.admin_once=true"], capture_output=True, text=True)
    assert run.returncode == 1 and "auth.admin_once: needs auth.mode jwt" in run.stderr


def test_usherctl_signs_a_token_for_each_call(shared_stage, house, tmp_path):
    key = write_secret(tmp_path / "signing.key", json.dumps({"kty": "oct", "alg": "HS256", "kid": "HS256", "k": b64(house.keys.secret)}))

    def ctl(*words, **env):
        run = subprocess.run([BUILD / "client" / "ctl" / "usherctl", "--url", house.router.url, *words], capture_output=True, text=True,
                             env={**os.environ, **env})
        return run.returncode, run.stdout + run.stderr
    for words in (["cordon", "n1"], ["uncordon", "n1"], ["cordon", "n1"], ["uncordon", "n1"], ["nodes"], ["rooms", "--prefix", "a b/ü"], ["join", "by-key"]):
        assert ctl("--key", str(key), *words)[0] == 0
        assert ctl(*words, USHER_KEY_FILE=str(key))[0] == 0
    assert ctl("--key", str(key), "close", "by-key", "--force")[0] == 0
    assert ctl("--key", str(tmp_path / "none"), "nodes")[0] == 1
    token = write_secret(tmp_path / "token", house.once("PUT", CORDON) + "\n")
    assert ctl("cordon", "n1", USHER_TOKEN_FILE=str(token))[0] == 0
    code, said = ctl("cordon", "n1", USHER_TOKEN_FILE=str(token))
    assert code == 4 and "token of its own" in said
    assert ctl("--key", str(key), "uncordon", "n1")[0] == 0
