# SPDX-License-Identifier: Apache-2.0
"""A primary that Sentinels replace: found, followed, and left as soon as it is one no more."""
import time

import pytest

from harness import until
from redis_fleet import FakeRedis, Sentinels, info
from test_one_owner import owner

NEW_ROOMS_S = 6  # from the loss of the primary to the first new room


@pytest.fixture
def sentinels(stage):
    return Sentinels(stage)


def routers_on(stage, url, count=2, *sets):
    routers = [stage.router(f"registry.url={url}", "server.park_ms=200", *sets) for _ in range(count)]
    node = stage.node("n1", *routers, heartbeat=False)
    node.report_rooms = True
    node.beat()
    node.start_beating()
    for router in routers:
        router.wait_placeable("n1")
        until("the store is whole", lambda: router.join("first").status == 200)
    return routers, node


def placed(router, other, room):
    """Both know it: whose it is."""
    until("the room is placed", lambda: router.join(room).status == other.join(room).status == 200)
    held = owner(router.join(room))
    assert owner(other.join(room)) == held
    return held


def new_rooms_from(router, name):
    """Seconds until a room that was never heard of can be joined."""
    started, count = time.monotonic(), 0

    def joined():
        nonlocal count
        count += 1
        return router.join(f"{name}-{count}").status == 200
    until("new rooms", joined, 15)
    return time.monotonic() - started


def followed(routers, server):
    until("all routers are at the primary", lambda: all(
        r.events("store_primary")[-1]["port"] == server.port and r.metric("usher_store_up") == 1 for r in routers))


@pytest.mark.parametrize("wait_replicas", [0, 1])
def test_livekit_1559_new_rooms_return_in_6_s_after_the_primary_was_killed(stage, sentinels, wait_replicas):
    (router, other), node = routers_on(stage, sentinels.url, 2, f"registry.wait_replicas={wait_replicas}")
    known = placed(router, other, "known")
    sentinels.redis.in_step()
    old = sentinels.primary()
    old.kill()
    seconds = [new_rooms_from(router, "after"), 0]
    for r in (router, other):
        assert owner(r.join("known")) == known
        assert r.get("/livez").status == 200
    seconds[1] = seconds[0] + new_rooms_from(other, "also-after")
    assert max(seconds) < NEW_ROOMS_S, seconds
    assert sentinels.primary() is not old
    followed((router, other), sentinels.primary())
    until("the node renews", lambda: router.node("n1")["state"] == "ready")  # with its next heartbeat; once the replicas have it
    assert all(r.metric('usher_events_total{type="node_lost"}') == 0 for r in (router, other))


def test_livekit_2464_a_demoted_primary_is_left_by_every_connection(stage, sentinels):
    (router, other), node = routers_on(stage, sentinels.url)
    known = placed(router, other, "known")
    old = sentinels.switch()
    started = time.monotonic()
    until("another primary", lambda: sentinels.primary() is not old)
    assert new_rooms_from(router, "after") + time.monotonic() - started < NEW_ROOMS_S + 2  # the switch itself takes its time
    new_rooms_from(other, "also-after")
    followed((router, other), sentinels.primary())
    for r in (router, other):
        assert owner(r.join("known")) == known
    # What was written went to the new one: the old one is its replica, and has it from there.
    until("the old one follows", lambda: info(old, "replication", "role") == "slave")
    until("no connection of ours is left", lambda: b"cmd=role" not in old.command("CLIENT", "LIST") and
          b"cmd=subscribe user" not in old.command("CLIENT", "LIST", "TYPE", "normal"))


def test_redis_client_260_a_primary_demoted_by_hand_is_left_by_all(stage):
    """Nobody cuts the connections; the one that hears of changes gets no error, ever: it leaves because another one did."""
    primary, second = stage.redis(), stage.redis()
    router = stage.router(f"registry.url={primary.url}")
    until("the store is up", lambda: router.metric("usher_store_up") == 1)
    connected = info(primary, "clients", "connected_clients")
    assert primary.command("REPLICAOF", "127.0.0.1", str(second.port)) == b"+OK\r\n"
    assert int(connected) > 1
    until("it is refused", lambda: any("replica" in e["why"] for e in router.events("store_unreachable")), 4)
    assert router.metric("usher_store_up") == 0 or until("it counts as down", lambda: router.metric("usher_store_up") == 0)
    assert primary.command("REPLICAOF", "NO", "ONE") == b"+OK\r\n"
    until("the store is up again", lambda: router.metric("usher_store_up") == 1)


def naming(server, epoch):
    """A Sentinel that names this server at this epoch; change .names and .epoch to say otherwise."""
    def answer(words):
        if words[0] != "SENTINEL":
            return None
        if fake.mute:
            return b""
        port = str(fake.names.port).encode()
        if words[1] == "master":
            return b"*2\r\n$12\r\nconfig-epoch\r\n$%d\r\n%d\r\n" % (len(str(fake.epoch)), fake.epoch)
        return b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%s\r\n" % (len(port), port)
    fake = FakeRedis(answer)
    fake.names, fake.epoch, fake.mute = server, epoch, False
    return fake


def on_fakes(stage, *fakes, sets=()):
    hosts = ",".join(f"127.0.0.1:{f.port}" for f in fakes)
    return stage.router(f"registry.url=redis+sentinel://{hosts}/m", *sets)


def test_a_replica_that_a_sentinel_names_is_not_taken(stage):
    primary = stage.redis()
    replica = stage.redis(words=("--replicaof", f"127.0.0.1 {primary.port}"))
    sentinel = naming(replica, 1)
    router = on_fakes(stage, sentinel)
    until("it is refused", lambda: any("replica" in e["why"] for e in router.events("store_unreachable")))
    assert router.metric("usher_store_up") == 0
    sentinel.names, sentinel.epoch = primary, 2
    until("the primary is taken", lambda: router.metric("usher_store_up") == 1, 3)
    sentinel.close()


def test_livekit_2539_a_stale_sentinel_does_not_lead_back(stage):
    """One that was cut off goes on naming the primary of before, which still takes itself for one."""
    old, new = stage.redis(), stage.redis()
    stale, right = naming(old, 3), naming(old, 3)
    router = on_fakes(stage, stale, right)
    until("the store is up", lambda: router.metric("usher_store_up") == 1)
    right.names, right.epoch = new, 4
    until("the new one is followed", lambda: router.events("store_primary")[-1]["port"] == new.port)
    asked = stale.count("SENTINEL")
    until("the stale one was asked again", lambda: stale.count("SENTINEL") >= asked + 6)
    assert [e["port"] for e in router.events("store_primary")] == [old.port, new.port]
    assert router.metric("usher_store_up") == 1
    # Set up anew, Sentinels begin at epoch 0 again: followed once nobody else says anything for a while.
    right.close()
    stale.names, stale.epoch = old, 0
    until("they are followed again", lambda: router.events("store_primary")[-1]["port"] == old.port, 12)
    stale.close()


def test_activepieces_14626_a_sentinel_that_never_answers_holds_nothing_up(stage):
    primary = stage.redis()
    mute, good = naming(primary, 1), naming(primary, 1)
    mute.mute = True
    router = on_fakes(stage, mute, good)
    until("the store is up", lambda: router.metric("usher_store_up") == 1, 3)
    mute.close(), good.close()


def test_activepieces_14626_a_primary_that_never_answers_ends_by_the_timeout(stage):
    primary = stage.redis()
    silent = FakeRedis(lambda words: b"")
    sentinel = naming(silent, 1)
    router = on_fakes(stage, sentinel, sets=("registry.timeout_ms=300", "server.park_ms=200"))
    until("it is given up", lambda: router.events("store_unreachable"))
    started = time.monotonic()
    assert router.join("room").status == 503
    assert time.monotonic() - started < 1.5
    sentinel.names, sentinel.epoch = primary, 2
    until("the next one is taken", lambda: router.metric("usher_store_up") == 1, 3)
    silent.close(), sentinel.close()


def test_a_name_that_no_sentinel_knows_is_said(stage, sentinels):
    router = stage.router(f"registry.url={sentinels.url}x")
    assert "knows no primary" in router.event("sentinel_fails")["why"]
    assert router.get("/readyz").status == 503


def test_redis_py_460_a_password_is_given_to_the_primary_after_a_switch_too(stage):
    fleet = Sentinels(stage, password="se:cret")
    (router,), node = routers_on(stage, fleet.url, 1)
    fleet.primary().kill()
    assert new_rooms_from(router, "after") < NEW_ROOMS_S


def test_a_wrong_password_is_tried_once_a_second_by_the_whole_router(stage):
    fake = FakeRedis(lambda words: b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
                     if words[0] in ("AUTH", "ROLE", "INFO", "PING") else None)
    router = stage.router(f"registry.url=redis://:wrong@127.0.0.1:{fake.port}", "server.workers=4", "registry.wait_replicas=1")
    until("it was tried four times", lambda: fake.count("AUTH") >= 4)
    times = fake.times("AUTH")
    assert min(b - a for a, b in zip(times, times[1:])) > 0.9, times
    assert "password" in router.event("store_unreachable")["why"]
    fake.answer = lambda words: None
    until("the right one opens all connections", lambda: router.metric("usher_store_up") == 1)
    fake.close()


def test_a_password_that_is_changed_meanwhile_is_tried_once_a_second_too(stage):
    fake = FakeRedis()
    router = stage.router(f"registry.url=redis://:good@127.0.0.1:{fake.port}", "server.workers=4")
    until("the store is up", lambda: router.metric("usher_store_up") == 1 and fake.count("AUTH") >= 6)
    fake.answer = lambda words: b"-WRONGPASS changed\r\n" if words[0] in ("AUTH", "ROLE", "PING") else None
    before = len(fake.times("AUTH"))
    for link in list(fake.links):
        link.shutdown(2)
    until("it was tried again and again", lambda: fake.count("AUTH") >= before + 3)
    times = fake.times("AUTH")[before:]
    assert min(b - a for a, b in zip(times, times[1:])) > 0.9, times
    assert router.metric("usher_store_up") == 0
    fake.close()


def test_sentinels_with_a_password_of_their_own_are_given_it(stage):
    """Of their own, not the data servers': and those are logged in to as the user of the URL."""
    fleet = Sentinels(stage, own_password="of:sentinels", words=("--user", "app", "on", ">of@data", "~*", "&*", "+@all"))
    url = fleet.url.replace("//", "//app:of%40data@")
    without = stage.router(f"registry.url={url}")
    assert "password is required" in without.event("sentinel_fails")["why"] or "NOAUTH" in without.event("sentinel_fails")["why"]
    wrong = stage.router(f"registry.url={url}", "registry.sentinel_password=of@data")
    assert "password" in wrong.event("sentinel_fails")["why"].lower()
    env = {"USHER_REGISTRY_SENTINEL_PASSWORD": "of:sentinels"}
    router = stage.router(f"registry.url={url}", env=env)
    until("the store is up", lambda: router.metric("usher_store_up") == 1)
    assert without.metric("usher_store_up") == wrong.metric("usher_store_up") == 0
    stage.node("n1", router)
    router.wait_placeable("n1")
    until("the store is whole", lambda: router.join("first").status == 200)
    old = fleet.primary()
    old.kill()
    assert new_rooms_from(router, "after") < NEW_ROOMS_S
    until("all Sentinels name another", lambda: fleet.primary() is not old)
    until("all connections are the user's", lambda: sum(
        row["user"] == "app" for row in fleet.primary().client().client_list()) >= 3)
    assert "of:sentinels" not in router.log.read_text()


def test_a_user_of_an_acl_is_logged_in(stage):
    redis = stage.redis(words=("--user", "default", "off", "--user", "app", "on", ">p:w", "~*", "&*", "+@all"))
    router = stage.router(f"registry.url=redis://app:p:w@127.0.0.1:{redis.port}")
    until("the store is up", lambda: router.metric("usher_store_up") == 1)
    other = stage.router(f"registry.url=redis://:p:w@127.0.0.1:{redis.port}")
    assert "password" in other.event("store_unreachable")["why"]
