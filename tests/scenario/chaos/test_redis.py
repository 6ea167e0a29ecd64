# SPDX-License-Identifier: Apache-2.0
"""A Redis that is away, hangs, is full, forgets, is replaced by another, or is several."""
import dataclasses
import signal
import subprocess
import time

import pytest

import checker
from fleet import FULL, known_share
from harness import BUILD, until
from test_nodes import OTHERS_ERRORS_MAX, fresh, lost

KNOWN_MIN = 0.999


def accepts(url):
    """Whether this build starts with such a registry.url (what it names need not be there)."""
    words = [BUILD / "router" / "usherd", "--set", f"registry.url={url}", "--set", "server.listen=127.0.0.1:0", "--set", "server.lame_duck_ms=0"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        try:
            return child.wait(0.7) == 0
        except subprocess.TimeoutExpired:
            child.kill()
            return True


needs_sentinel = pytest.mark.skipif(not accepts("redis+sentinel://127.0.0.1:1/m"), reason="this usherd knows no redis+sentinel://")
needs_cluster = pytest.mark.skipif(not accepts("redis+cluster://127.0.0.1:1"), reason="this usherd knows no redis+cluster://")


def fenced(fleet):
    return sum(s.fenced for samples in fleet.samples.values() for s in samples)


def known(joins):
    return [j for j in joins if "new-" not in j.room]


def during(joins, since, until_s):
    return [j for j in joins if since < j.due < until_s]


def latency(joins, q):
    return checker.quantile([j.end - j.due for j in joins], q)


def misled(fleet, owners):
    """Joins that named another owner than the room has had all the time."""
    return [j for j in fleet.joins if j.ok() and j.room in owners and (j.node, j.epoch) != owners[j.room]]


def new_back_s(fleet, since):
    """From `since` to the last refused join of a new room."""
    return max((j.end for j in fresh(fleet.joins) if not j.ok() and j.end > since), default=since) - since


def settle_s(size):
    """Two heartbeats and one budget of the store: by then every router has heard of every room, also of those that it was
    never asked for. Until then it knows those of its own table."""
    return 2 * size.heartbeat_ms / 1000 + 0.6


# -- away, hanging, full, forgetful ------------------------------------------------------------------------------------------
def test_chaos_redis_away_for_all_and_a_router_restarted_meanwhile(stage, make_fleet, size, say):
    """livekit#4663: minutes without Redis are no outage for rooms that are known. A router that is away is one that may have a
    store: so it must be back within the lease, which is the default one here."""
    size = dataclasses.replace(size, lease_ms=FULL.lease_ms, heartbeat_ms=FULL.heartbeat_ms)
    wires = []

    def wired(redis_at):
        wires.append(wires[0] if wires else stage.wire(int(redis_at.rsplit(":", 1)[1])))
        return f"redis://127.0.0.1:{wires[0].port}"
    fleet = make_fleet(size=size, store={name: wired for name in ("r1", "r2", "r3")})
    owners = fleet.fill()
    away_s = 600 if size.rooms > 1000 else 8
    fleet.begin()
    wires[0].cut(refuse=True)
    at = time.monotonic()
    fleet.run_until(at, away_s / 2)
    fleet.routers["r3"].kill()
    fleet.start_router("r3")
    restarted = time.monotonic()
    fleet.run_until(restarted, 2 * size.heartbeat_ms / 1000)
    asked_s = time.monotonic() - restarted
    shares = {name: known_share(fleet, owners, name) for name in fleet.router_names}
    fleet.run_until(at, away_s)
    shares_last = {name: known_share(fleet, owners, name) for name in fleet.router_names}
    back = time.monotonic()
    wires[0].heal()
    fleet.run_until(back, size.lost_s + 3)
    fleet.end()
    moved = checker.moved(owners, fleet.sweep())
    away = during(fleet.joins, at, back)
    served = [j for j in known(away) if not (j.router == "r3" and at + away_s / 2 - 1 < j.due < restarted + asked_s)]
    say(away_s=away_s, known_share=1 - checker.error_share(served), known_at_each_router=shares, at_the_end=shares_last,
        new_rooms=checker.codes(fresh(away)), lost=len(lost(fleet)), fenced_samples=fenced(fleet), moved=len(moved),
        new_rooms_back_s=new_back_s(fleet, back), overlap_s=fleet.overlap_s)
    assert set(shares.values()) == {1.0} and set(shares_last.values()) == {1.0}
    assert served and checker.error_share(served) == 0
    assert not lost(fleet) and not moved and fleet.overlap_s == 0 and not fenced(fleet)


def test_chaos_redis_stopped(make_fleet, size, say):
    """activepieces#14626: a Redis that accepts and never answers."""
    fleet = make_fleet()
    owners = fleet.fill()
    stopped_s = 10 if size.rooms > 1000 else 5
    fleet.begin()
    at = time.monotonic()
    fleet.redis.signal(signal.SIGSTOP)
    fleet.run_until(at, stopped_s)
    back = time.monotonic()
    fleet.redis.signal(signal.SIGCONT)
    fleet.run_until(back, size.lost_s + 2)
    fleet.end()
    moved = checker.moved(owners, fleet.sweep())
    away = during(fleet.joins, at, back - 1)
    all_settled = during(fleet.joins, at + settle_s(size) + 1, back - 1)
    settled = fresh(all_settled)
    say(stopped_s=stopped_s, known_share=1 - checker.error_share(known(away)), known_share_settled=1 - checker.error_share(known(all_settled)),
        known_p99_s=latency(known(away), .99),
        new_max_s=latency(fresh(away), 1), new_max_once_known_s=latency(settled, 1), new=checker.codes(fresh(away)),
        fenced_samples=fenced(fleet), lost=len(lost(fleet)), moved=len(moved), new_back_s=new_back_s(fleet, back), overlap_s=fleet.overlap_s)
    assert checker.error_share(known(all_settled)) == 0
    assert not fenced(fleet) and not lost(fleet) and not moved and fleet.overlap_s == 0
    assert latency(fresh(away), 1) <= 0.6
    assert latency(settled, 1) <= 0.01
    assert new_back_s(fleet, back) <= 3


def test_chaos_redis_out_of_memory(make_fleet, size, say):
    fleet = make_fleet()
    owners = fleet.fill()
    fleet.begin()
    at = time.monotonic()
    assert fleet.redis_says("CONFIG", "SET", "maxmemory", "1mb")
    fleet.run_until(at, size.lost_s + 3)
    back = time.monotonic()
    assert fleet.redis_says("CONFIG", "SET", "maxmemory", "0")
    fleet.run_until(back, 3)
    fleet.end()
    moved = checker.moved(owners, fleet.sweep())
    full = during(fleet.joins, at, back)
    say(known_share=1 - checker.error_share(known(full)), new=checker.codes(fresh(full)), new_max_s=latency(fresh(full), 1),
        fenced_samples=fenced(fleet), lost=len(lost(fleet)), moved=len(moved), new_back_s=new_back_s(fleet, back))
    assert checker.error_share(known(full)) <= 1 - KNOWN_MIN
    assert not fenced(fleet) and not lost(fleet) and not moved and fleet.overlap_s == 0
    assert checker.error_share(fresh(during(fleet.joins, at + 0.5, back))) == 1, "the test did not fill the memory"
    assert latency(fresh(full), 1) <= 0.6 and new_back_s(fleet, back) <= 1


def test_chaos_redis_forgets_its_scripts(make_fleet, size, say):
    fleet = make_fleet()
    owners = fleet.fill()
    fleet.begin()
    for _ in range(5):
        assert fleet.redis_says("SCRIPT", "FLUSH")
        time.sleep(0.5)
    fleet.end()
    moved = checker.moved(owners, fleet.sweep())
    say(errors=checker.error_share(fleet.joins), codes=checker.codes(fleet.joins), moved=len(moved), max_s=latency(fleet.joins, 1))
    assert checker.error_share(fleet.joins) == 0 and not moved and fleet.overlap_s == 0


def test_chaos_redis_with_another_password(make_fleet, size, say):
    fleet = make_fleet(redis_password="right")
    owners = fleet.fill()
    fleet.begin()
    client = fleet.redis_client()
    client.config_set("requirepass", "another")
    auths = lambda: int(client.info("commandstats")["cmdstat_auth"]["calls"])
    before = auths()
    client.client_kill_filter(_type="normal", skipme=True)
    client.client_kill_filter(_type="pubsub")
    at = time.monotonic()
    fleet.run_until(at, size.lost_s + 5)
    logins, tried_s = (auths() - before) / len(fleet.routers), time.monotonic() - at
    client.config_set("requirepass", "right")
    back = time.monotonic()
    fleet.run_until(back, 4)
    fleet.end()
    moved = checker.moved(owners, fleet.sweep())
    away = during(fleet.joins, at, back)
    settled = during(fleet.joins, at + settle_s(size), back)
    say(known_share=1 - checker.error_share(known(away)), known_share_settled=1 - checker.error_share(known(settled)),
        new=checker.codes(fresh(away)), new_max_s=latency(fresh(away), 1), logins_per_router=logins, tried_s=tried_s,
        fenced_samples=fenced(fleet), lost=len(lost(fleet)), moved=len(moved), new_back_s=new_back_s(fleet, back))
    assert checker.error_share(known(settled)) == 0
    assert not fenced(fleet) and not lost(fleet) and not moved and fleet.overlap_s == 0
    assert new_back_s(fleet, back) <= 3
    assert 1 <= logins <= tried_s + 1, "more than one try per second and router: the first is at once"


# -- data loss ---------------------------------------------------------------------------------------------------------------
def judge_loss(fleet, size, say, owners, at, **more):
    """All rooms that anybody was told of before must be where they were, two heartbeats after `at`."""
    taken = [e for agent in fleet.agents.values() for e in agent.events("room_taken")]
    after = fleet.where(owners, "r1")
    anew = {room for room, owner in owners.items() if after.get(room) and after[room] != owner}
    missing = {room for room in owners if not after.get(room)}
    say(rooms=len(owners), placed_anew=len(anew), missing=len(missing), told_to_give_up=len(taken), lost=len(lost(fleet)),
        overlap_s=fleet.overlap_s, known=checker.codes(known([j for j in fleet.joins if j.end > at])),
        new=checker.codes(fresh([j for j in fleet.joins if j.end > at])), fenced_samples=fenced(fleet), **more)
    assert not anew and not missing and not taken and fleet.overlap_s == 0


def test_chaos_redis_flushed_and_a_router_started_in_the_same_second(make_fleet, size, say):
    """scalelite#313: the registry vanished with Redis's memory."""
    fleet = make_fleet()
    owners = fleet.fill()
    fleet.begin(fresh=0)
    fleet.routers["r3"].kill()
    at = time.monotonic()
    assert fleet.redis_says("FLUSHALL")
    fleet.start_router("r3", wait=False)
    fleet.run_until(at, 2 * size.heartbeat_ms / 1000 + 0.2)
    early = fleet.where(owners, "r1")
    in_time = sum(early.get(room) == owner for room, owner in owners.items())
    fleet.run_until(at, size.lost_s + 3)
    fleet.end()
    judge_loss(fleet, size, say, owners, at, back_within_two_heartbeats=in_time)
    assert in_time == len(owners)


@pytest.mark.full_only
def test_chaos_redis_restarted_from_an_old_snapshot(make_fleet, size, say):
    fleet = make_fleet()
    owners = fleet.fill()
    assert fleet.redis_says("SAVE")
    fleet.begin(fresh=2)  # rooms that the snapshot does not have
    time.sleep(3)
    fleet.load.stop()
    owners.update({j.room: (j.node, j.epoch) for j in fleet.load.joins if j.ok()})
    fleet.load = fleet._load("-r", size.rate, "-n", size.rooms)
    at = time.monotonic()
    fleet.redis.kill()
    fleet.start_redis()
    fleet.run_until(at, 2 * size.heartbeat_ms / 1000 + 0.5)
    early = fleet.where(owners, "r1")
    in_time = sum(early.get(room) == owner for room, owner in owners.items())
    fleet.run_until(at, size.lost_s + 3)
    fleet.end()
    judge_loss(fleet, size, say, owners, at, back_within_two_heartbeats=in_time)
    assert in_time == len(owners)


# -- several -----------------------------------------------------------------------------------------------------------------
def sentinel_fleet(stage, make_fleet, *sets):
    from redis_fleet import Sentinels
    sentinels = Sentinels(stage)
    return sentinels, make_fleet(redis=False, store=dict.fromkeys(("r1", "r2", "r3"), sentinels.url), router_sets=sets)


def told(joins):
    """room -> every owner that somebody was told."""
    owners = {}
    for j in joins:
        if j.ok():
            owners.setdefault(j.room, set()).add((j.node, j.epoch))
    return owners


@needs_sentinel
def test_chaos_sentinel_primary_killed(stage, make_fleet, size, say):
    sentinels, fleet = sentinel_fleet(stage, make_fleet)
    owners = fleet.fill()
    fleet.begin()
    at = time.monotonic()
    sentinels.primary().kill()
    fleet.run_until(at, 8)
    fleet.end()
    moved = checker.moved(owners, fleet.sweep())
    since = [j for j in fleet.joins if j.due > at]
    say(known_share=1 - checker.error_share(known(since)), new=checker.codes(fresh(since)), new_back_s=new_back_s(fleet, at),
        moved=len(moved), lost=len(lost(fleet)), fenced_samples=fenced(fleet), overlap_s=fleet.overlap_s)
    assert checker.error_share(known(since)) <= 1 - KNOWN_MIN
    assert new_back_s(fleet, at) <= 6
    assert fleet.overlap_s == 0 and not lost(fleet) and not moved


@needs_sentinel
@pytest.mark.full_only
def test_chaos_sentinel_primary_killed_with_wait_replicas(stage, make_fleet, size, say):
    """What was acknowledged is on all replicas, whichever is promoted. With fewer than two left nothing new is acknowledged
    until the third is back."""
    sentinels, fleet = sentinel_fleet(stage, make_fleet, "registry.wait_replicas=2")
    owners = fleet.fill()
    fleet.begin()
    at = time.monotonic()
    old = sentinels.primary()
    old.kill()
    until("another primary", lambda: sentinels.primary() is not old, 20)
    stage.redis(port=old.port, words=("--replicaof", f"127.0.0.1 {sentinels.primary().port}"))
    fleet.run_until(at, 15)
    fleet.end()
    acknowledged = told(fleet.joins)
    after = fleet.where(acknowledged, "r1")
    lost_rooms = {room for room, owners_told in acknowledged.items() if len(owners_told) > 1 or after.get(room) not in owners_told}
    since = [j for j in fleet.joins if j.due > at]
    say(known_share=1 - checker.error_share(known(since)), acknowledged_then_lost=len(lost_rooms), acknowledged=len(acknowledged),
        new=checker.codes(fresh(since)), new_back_s=new_back_s(fleet, at), lost=len(lost(fleet)), fenced_samples=fenced(fleet),
        overlap_s=fleet.overlap_s, moved=len(checker.moved(owners, after | fleet.sweep())))
    assert not lost_rooms and fleet.overlap_s == 0
    assert checker.error_share(known(since)) <= 1 - KNOWN_MIN


@needs_sentinel
@pytest.mark.full_only
@pytest.mark.parametrize("wait_replicas", [2, 0])
def test_chaos_old_primary_left_with_one_router_and_one_replica(net, stage, make_fleet, size, say, wait_replicas):
    """Both sides have clients for a while; what the old side acknowledged must not be lost when they meet again."""
    from split import SplitRedis
    split = SplitRedis(stage, net)
    fleet = make_fleet(net=net, redis=False, store=dict.fromkeys(("r1", "r2", "r3"), split.url),
                       router_sets=[f"registry.wait_replicas={wait_replicas}"])
    fleet.fill()
    fleet.begin(fresh=3)
    at = time.monotonic()
    for one in ("p", "s1", "r1"):
        net.cut(one, "s2", "q1", "q2", "q3", "r2", "r3")
    fleet.run_until(at, 10)
    healed = time.monotonic()  # begins to be
    net.heal()
    fleet.run_until(healed, 8)
    fleet.end()
    acknowledged = told(fleet.joins)
    after = fleet.where(acknowledged, "r2")
    lost_rooms = {room for room, owners_told in acknowledged.items() if len(owners_told) > 1 or after.get(room) not in owners_told}
    by_r1 = [j for j in fresh(fleet.joins) if j.router == "r1" and at < j.due < healed]
    say(acknowledged_then_lost=len(lost_rooms), acknowledged=len(acknowledged), new_at_the_old_side=checker.codes(by_r1),
        overlap_s=fleet.overlap_s, led_back=len(checker.entered_twice(fleet.entries)), lost=len(lost(fleet)), fenced_samples=fenced(fleet))
    if wait_replicas == 2:
        assert not lost_rooms and fleet.overlap_s == 0
    else:  # which the nodes' reports give back; without their confirmation nothing else would
        assert any(j.ok() for j in by_r1), "nothing was at stake: the old side placed no room"


def cluster_fleet(stage, make_fleet, replicas):
    from redis_fleet import Cluster
    cluster = Cluster(stage, replicas=replicas)
    return cluster, make_fleet(redis=False, store=dict.fromkeys(("r1", "r2", "r3"), cluster.url))


@needs_cluster
@pytest.mark.full_only
def test_chaos_cluster_primary_killed(stage, make_fleet, size, say):
    cluster, fleet = cluster_fleet(stage, make_fleet, 1)
    owners = fleet.fill()
    fleet.begin()
    at = time.monotonic()
    dead = cluster.primaries[0]
    dead.kill()
    until("the cluster's own failover", lambda: cluster.owner(0) not in (None, dead), 30)
    failover_s = time.monotonic() - at
    fleet.run_until(at, failover_s + 5)
    fleet.end()
    moved = checker.moved(owners, fleet.sweep())
    since = [j for j in fleet.joins if j.due > at]
    say(failover_s=failover_s, new_back_s=new_back_s(fleet, at), known_share=1 - checker.error_share(known(since)),
        new=checker.codes(fresh(since)), moved=len(moved), misled=len(misled(fleet, owners)), lost=len(lost(fleet)), overlap_s=fleet.overlap_s)
    assert new_back_s(fleet, at) <= failover_s + 3 and not misled(fleet, owners)
    assert not moved and fleet.overlap_s == 0 and checker.error_share(known(since)) <= 1 - KNOWN_MIN


@needs_cluster
@pytest.mark.full_only
def test_chaos_cluster_slots_move_under_load(stage, make_fleet, size, say):
    cluster, fleet = cluster_fleet(stage, make_fleet, 0)
    owners = fleet.fill()
    fleet.begin()
    at = time.monotonic()
    to = cluster.primaries[1]
    slots = range(0, 200 if size.rooms > 1000 else 60)
    for slot in slots:
        source = cluster.begin_move(slot, to)
        cluster.move_keys(slot, source, to)
        cluster.end_move(slot, to)
    ended = time.monotonic()
    fleet.run_until(ended, 4)
    fleet.end()
    moved = checker.moved(owners, fleet.sweep())
    since = [j for j in fleet.joins if j.due > at]
    say(slots=len(slots), moving_s=ended - at, known_share=1 - checker.error_share(known(since)), new=checker.codes(fresh(since)),
        new_back_s=new_back_s(fleet, ended), moved=len(moved), misled=len(misled(fleet, owners)), overlap_s=fleet.overlap_s)
    assert not misled(fleet, owners)
    assert not moved and fleet.overlap_s == 0 and checker.error_share(known(since)) <= 1 - KNOWN_MIN
    assert new_back_s(fleet, ended) <= 3


@needs_cluster
def test_chaos_cluster_one_shard_flushed(stage, make_fleet, size, say):
    cluster, fleet = cluster_fleet(stage, make_fleet, 0)
    owners = fleet.fill()
    fleet.begin(fresh=0)
    fleet.routers["r3"].kill()
    at = time.monotonic()
    assert cluster.primaries[1].command("FLUSHALL") == b"+OK\r\n"
    fleet.start_router("r3", wait=False)
    fleet.run_until(at, 2 * size.heartbeat_ms / 1000 + 0.5)
    early = fleet.where(owners, "r1")
    in_time = sum(early.get(room) == owner for room, owner in owners.items())
    fleet.run_until(at, size.lost_s + 3)
    fleet.end()
    judge_loss(fleet, size, say, owners, at, back_within_two_heartbeats=in_time)
    assert in_time == len(owners)
