# SPDX-License-Identifier: Apache-2.0
"""Three times what one worker can do, offered whatever comes back: what it then still does, and that it keeps its nodes.

tests/bench/load.c finds the peak first, with the same mix. The router has half of one core and the generator the other one, so that
three times the peak can be made at all; both numbers come from the same run, and only their ratio is asserted.
"""
import collections
import json
import os
import subprocess

import pytest

from bench_load import build_generator, half_a_core, on_core_1

# In requests. In the first one, new rooms are most of the work, and to refuse them leaves time for the others; the second is what a
# fleet that runs has, where most requests cost hardly more than their refusal (docs/operate/overload.md has the sums).
MIXES = {"opening": "new=40,join=20,route=20,signal=20", "running": "new=4,join=40,route=36,signal=20"}
# Not reached yet, so this test fails: reached were 0.58 and 0.44, and 2.4 and 1.2 times the peak were sent, as a refusal costs 22 to 25 µs
# here, where a third of what a request costs at the peak is 18 and 9 (docs/operate/overload.md).
AIM = 0.8
SENT_MIN = 2.7  # times the peak; the rest found all connections busy
CLIENTS, DEADLINE_MS = 1024, 200  # connections, as a balancer has; served one after the other, the last would be too late
SENT = ("good", "shed", "late", "error")  # and none: all connections were busy, nobody asked the router


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return build_generator(tmp_path_factory.mktemp("load"))


def offer(stage, generator, mix, seconds, *sets):
    router = stage.router("server.workers=1", "limits.connections=16000", "limits.connections_per_address=16000",
                          "nodes.allow_cidr=127.0.0.1/32", *sets)
    with half_a_core(router):
        run = subprocess.run([generator, "-t", router.url.removeprefix("http://"), "-p", "4", "-s", str(seconds), "-c", str(CLIENTS),
                              "-d", str(DEADLINE_MS), "-m", mix],
                             stdout=subprocess.PIPE, check=True, preexec_fn=on_core_1)
    result = json.loads(run.stdout)
    result["lost"] = sum(row["to"] == "lost" for row in router.events("node_state"))
    result["share"] = result["over"]["good_per_s"] / result["peak"]["good_per_s"]
    sent = sum(result["over"][what] for what in SENT)
    result["times"] = sent / seconds / result["peak"]["good_per_s"]
    result["own_faults"] = result["skipped"] / (sent + result["over"]["none"] + result["skipped"])
    result["levels"] = collections.Counter(row["to"] for row in router.events("overload_level"))
    router.stop()
    return result


@pytest.mark.full_only
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs a core for the router and one for the load")
@pytest.mark.parametrize("mix", MIXES)
def test_chaos_overloaded_threefold(stage, size, say, generator, mix):
    seconds = int(os.environ.get("USHER_OVERLOAD_S", "60"))
    result = offer(stage, generator, MIXES[mix], seconds, "overload.target_ms=20")
    without = offer(stage, generator, MIXES[mix], 10, "overload.target_ms=0")
    over, beats = result["over"], result["heartbeats"]
    say(seconds=seconds, peak_per_s=result["peak"]["good_per_s"], goodput_share=result["share"], aim=AIM, shed=over["shed"], late=over["late"],
        errors=over["error"], none=over["none"], skipped=result["skipped"], p99_ms=over["p99_ms"], heartbeat_worst_ms=beats["worst_ms"],
        heartbeats_refused=beats["refused"], nodes_lost=result["lost"], share_without=without["share"], lost_without=without["lost"],
        levels=" ".join(f"{level}: {n}" for level, n in result["levels"].items()), sent_times=result["times"],
        good_of=" ".join(f"{kind}: {over[kind]['good']}" for kind in ("new", "join", "route", "signal")))
    assert result["own_faults"] <= 0.05, "the generator could not make three times the peak"
    assert result["times"] >= SENT_MIN, "all connections were busy all the time: hardly anybody asked"
    assert result["lost"] == 0 and beats["other"] == 0 and beats["worst_ms"] < 2000
    assert over["error"] == 0
    assert result["share"] >= AIM
    assert without["share"] < AIM, "it proves nothing"
