# SPDX-License-Identifier: Apache-2.0
"""Three times what one worker can do, offered whatever comes back: it goes on doing nearly what it can, and keeps its nodes.

tests/bench/load.c finds the peak first, with the same mix. The router has half of one core and the generator the other one, so that
three times the peak can be made at all; both numbers come from the same run, and only their ratio is asserted.
"""
import json
import os
import subprocess

import pytest

from bench_load import build_generator, half_a_core

MIX = "new=40,join=20,route=20,signal=20"  # in requests; a new room costs six times a join to a known one
GOODPUT_MIN = 0.8
CLIENTS, DEADLINE_MS = 1024, 200  # connections, as a balancer has; served one after the other, the last would be too late


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return build_generator(tmp_path_factory.mktemp("load"))


def offer(stage, generator, seconds, *sets):
    router = stage.router("server.workers=1", "limits.connections=16000", "limits.connections_per_address=16000",
                          "nodes.allow_cidr=127.0.0.1/32", *sets)
    with half_a_core(router):
        run = subprocess.run([generator, "-t", router.url.removeprefix("http://"), "-p", "4", "-s", str(seconds), "-c", str(CLIENTS), "-d", str(DEADLINE_MS), "-m", MIX],
                             stdout=subprocess.PIPE, check=True, preexec_fn=lambda: os.sched_setaffinity(0, {1}))
    result = json.loads(run.stdout)
    result["lost"] = sum(row["to"] == "lost" for row in router.events("node_state"))
    result["share"] = result["over"]["good_per_s"] / result["peak"]["good_per_s"]
    result["times"] = sum(result["over"][what] for what in ("good", "shed", "late", "error", "none")) / seconds / result["peak"]["good_per_s"]
    result["levels"] = [row["to"] for row in router.events("overload_level")]
    router.stop()
    return result


@pytest.mark.full_only
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs a core for the router and one for the load")
def test_chaos_overloaded_threefold(stage, size, say, generator):
    seconds = 60
    result = offer(stage, generator, seconds)
    without = offer(stage, generator, 10, "overload.target_ms=0")
    over, beats = result["over"], result["heartbeats"]
    say(seconds=seconds, peak_per_s=result["peak"]["good_per_s"], goodput_share=result["share"], shed=over["shed"], late=over["late"],
        errors=over["error"], p99_ms=over["p99_ms"], heartbeat_worst_ms=beats["worst_ms"], heartbeats_refused=beats["refused"],
        nodes_lost=result["lost"], share_without=without["share"], lost_without=without["lost"], levels=",".join(result["levels"]),
        offered_times=result["times"])
    assert result["times"] >= 2.7, "the generator could not make it"
    assert result["lost"] == 0 and beats["other"] == 0 and beats["worst_ms"] < 2000
    assert over["error"] == 0
    assert result["share"] >= GOODPUT_MIN
    assert without["share"] < GOODPUT_MIN, "it proves nothing"
