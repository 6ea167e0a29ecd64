# SPDX-License-Identifier: Apache-2.0
"""What Redis can answer instead of an answer: each row of `usherd --print redis-errors` once, and memory, and replicas."""
import re
import signal
import subprocess
import time

import pytest

from harness import BUILD, REDIS_SERVER, until
from redis_fleet import FakeRedis, Replicas, info
from test_one_owner import owner

SETS = ("registry.timeout_ms=400", "server.park_ms=100", "nodes.lease_ms=60000")


def table():
    """The printed table: how an answer begins, and what the router says it does."""
    text = subprocess.run([BUILD / "router" / "usherd", "--print", "redis-errors"], capture_output=True, text=True, check=True).stdout
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): row[2] for row in rows}


TABLE = table()


def test_each_error_that_this_redis_can_give_has_a_row():
    text = open(REDIS_SERVER, "rb").read()
    codes = set(re.findall(rb"\0-([A-Z]{2,}) [A-Za-z'%]", text))
    assert {b"MOVED", b"OOM"} - codes <= {b"MOVED"}, "the server's strings are not where they were"
    assert {code.decode() for code in codes} - {"DB"} <= set(TABLE)
    assert {"MOVED", "ASK", "ERR max number of clients"} <= set(TABLE)


@pytest.fixture(scope="module")
def fake_pair(shared_stage):
    """A router on a server that answers scripts with the error that is set; and how it usually answers."""
    fake = FakeRedis()
    router = shared_stage.router(f"registry.url={fake.url}", "registry.timeout_ms=400", "server.park_ms=100", "server.workers=1")
    yield fake, router
    fake.close()


@pytest.mark.parametrize("begins", sorted(TABLE))
def test_an_error_is_treated_as_its_row_says(fake_pair, begins):
    fake, router = fake_pair
    until("the store answers", lambda: router.get("/v1/rooms/nobody/route").code() != "store_unavailable")
    does, links = TABLE[begins], len(fake.links)
    text = {"MOVED": "MOVED 1 127.0.0.1:1", "ASK": "ASK 1 127.0.0.1:1"}.get(begins, f"{begins} and so on")
    fake.answer = lambda words: f"-{text}\r\n".encode() if words[0] == "HMGET" else None
    started = time.monotonic()
    answer = router.get("/v1/rooms/nobody/route")
    took = time.monotonic() - started
    asked = [words for at, words in fake.asked if at >= started and words[0] == "HMGET" and "r:nobody" in words[1]]
    fake.answer = lambda words: None
    assert answer.code() == "store_unavailable", answer
    assert took < 1.5
    if "each 50 ms" in does:
        assert len(asked) >= 3 and took >= 0.3
    else:
        assert len(asked) == 1 and took < 0.3
    if "connection is given up" in does or "one login a second" in does:
        until("a new connection is made", lambda: len(fake.links) > links)
    elif "each 50 ms" not in does:
        until("it is told", lambda: any(e["why"].startswith(text) for e in router.events("store_error")) or
              len(router.events("store_error")) > 0)
    until("the store is up", lambda: router.metric("usher_store_up") == 1)
    assert router.get("/livez").status == 200


@pytest.mark.parametrize("text", ["BUSY Redis is busy running a script", "LOADING Redis is loading", "MASTERDOWN Link with MASTER is down",
                                  "NOAUTH Authentication required.", "ERR max number of clients reached", "DENIED protected mode"])
def test_a_server_that_greets_with_an_error_is_tried_again(stage, text):
    fake = FakeRedis(lambda words: f"-{text}\r\n".encode())
    router = stage.router(f"registry.url={fake.url}")
    assert until("it is told", lambda: router.events("store_unreachable"))[-1]["why"].startswith(text[:40])
    assert router.metric("usher_store_up") == 0
    fake.answer = lambda words: None
    until("the store is up", lambda: router.metric("usher_store_up") == 1)
    fake.close()


# -- a server that would lose what it is told ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_an_evicting_redis_is_refused_at_start(stage, policy):
    redis = stage.redis(words=("--maxmemory", "100mb", "--maxmemory-policy", policy))
    router = stage.process("usherd-refused", [BUILD / "router" / "usherd", "--set", "server.listen=127.0.0.1:0", "--set",
                                              f"registry.url={redis.url}", "--set", "log.format=json"])
    assert router.child.wait(10) == 1
    why = router.events("refused_to_start")[-1]["why"]
    assert policy in why and "noeviction" in why


def test_a_redis_that_evicts_from_some_day_on_is_not_used(stage):
    redis = stage.redis()
    router = stage.router(f"registry.url={redis.url}", *SETS)
    stage.node("n1", router)
    router.wait_placeable("n1")
    until("rooms are placed", lambda: router.join("known").status == 200)
    known = owner(router.join("known"))
    redis.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    redis.command("CLIENT", "KILL", "TYPE", "normal")
    redis.command("CLIENT", "KILL", "TYPE", "pubsub")
    assert "allkeys-lfu" in router.event("store_unfit")["why"]
    assert owner(router.join("known")) == known
    until("new rooms are refused", lambda: router.join("new").code() == "store_unavailable")
    redis.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    until("new rooms again", lambda: router.join("new").status == 200)


def test_a_redis_that_is_no_cluster_is_refused_at_start(stage):
    redis = stage.redis()
    router = stage.process("usherd-refused", [BUILD / "router" / "usherd", "--set", "server.listen=127.0.0.1:0", "--set",
                                              f"registry.url=redis+cluster://127.0.0.1:{redis.port}", "--set", "log.format=json"])
    assert router.child.wait(10) == 1
    assert "use redis://" in router.events("refused_to_start")[-1]["why"]


# -- out of memory -------------------------------------------------------------------------------------------------------------------

def test_a_redis_out_of_memory_keeps_every_lease(stage):
    redis = stage.redis()
    router = stage.router(f"registry.url={redis.url}", "nodes.lease_ms=2000", "nodes.heartbeat_ms=500", "server.park_ms=100")
    node = stage.node("n1", router, heartbeat=False)
    node.report_rooms = True
    node.beat()
    node.start_beating(0.3)
    router.wait_placeable("n1")
    until("rooms are placed", lambda: router.join("known").status == 200)
    known = owner(router.join("known"))
    assert redis.command("CONFIG", "SET", "maxmemory", "1") == b"+OK\r\n"
    assert redis.command("SET", "x", "y").startswith(b"-OOM")
    assert router.join("new").code() == "store_unavailable"
    beats = len(node.answers)
    until("more than two leases pass", lambda: len(node.answers) >= beats + 15)
    late = node.answers[beats:]
    assert all(a.status == 200 and a.json()["renewed"] for a in late), [a for a in late if a.status != 200][:1]
    assert router.node("n1")["state"] == "ready"
    assert owner(router.join("known")) == known
    # What ends rooms works, too: it is what frees memory.
    assert router.delete(f"/v1/rooms/known?epoch={known[1]}").status == 204
    assert redis.command("CONFIG", "SET", "maxmemory", "0") == b"+OK\r\n"
    until("new rooms again", lambda: router.join("new").status == 200)


# -- replicas -------------------------------------------------------------------------------------------------------------------------

def test_an_assignment_that_the_replicas_do_not_have_sends_nobody_there(stage):
    fleet = Replicas(stage, 2)
    router, other = [stage.router(f"registry.url={fleet.primary.url}", "registry.wait_replicas=2", "registry.wait_ms=200", *SETS)
                     for _ in range(2)]
    node = stage.node("n1", router, heartbeat=False)
    node.report_rooms = True
    assert until("renewed, with both replicas", lambda: node.beat().json().get("renewed"))
    node.start_beating()
    router.wait_placeable("n1"), other.wait_placeable("n1")
    until("rooms are placed", lambda: router.join("before").status == 200)
    known = owner(router.join("before"))
    node.stop_beating()
    fleet.replicas[0].signal(signal.SIGSTOP)
    started = time.monotonic()
    refused = router.join("room")
    assert refused.code() == "store_unavailable" and 0.15 < time.monotonic() - started < 1.5, refused
    # Whoever asks again, and whoever helps: the primary alone has it, and that counts for nothing.
    for i in range(6):
        answer = (router, other)[i % 2].join("room")
        assert answer.code() == "store_unavailable", (i, answer)
        assert (router, other)[i % 2].get("/v1/rooms/room/route").status in (404, 503)
    assert "room" not in node.rooms, "a failover would forget it"
    beat = node.beat()
    assert beat.status != 200 or not beat.json()["renewed"]
    assert owner(router.join("before")) == known
    fleet.replicas[0].signal(signal.SIGCONT)
    fleet.in_step()
    until("the room is placed", lambda: router.join("room").status == 200)
    assert owner(other.join("room")) == owner(router.join("room"))
    assert until("renewed again", lambda: node.beat().json().get("renewed"))
