# SPDX-License-Identifier: Apache-2.0
"""What the units in deploy/systemd forbid is what the programs do not need: traced at work, not guessed."""
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
import websockets

from harness import BUILD, ROOT, free_port, together, until

sys.path.append(str(ROOT / "tests" / "scenario" / "chaos"))
from fleet import RouterAt  # noqa: E402

pytestmark = pytest.mark.skipif(not shutil.which("strace") or not shutil.which("systemd-analyze"), reason="needs strace and systemd-analyze")


def unit_words(unit, key):
    """The values of a setting of a unit, each line a list."""
    text = (ROOT / "deploy" / "systemd" / unit).read_text()
    return [line.split() for line in re.findall(rf"^{key}=(.*)$", text, re.M)]


def call_sets():
    """systemd's groups of system calls by name, as it prints them."""
    sets, name = {}, None
    for line in subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True).stdout.splitlines():
        if line.startswith("@"):
            name = line.strip()
            sets[name] = []
        elif name and line.strip() and not line.strip().startswith("#"):
            sets[name].append(line.strip())
    return sets


def expanded(words, sets):
    found = set()
    for word in words:
        found |= expanded(sets[word], sets) if word.startswith("@") else {word}
    return found


def allowed_calls(unit):
    sets, allowed = call_sets(), set()
    for words in unit_words(unit, "SystemCallFilter"):
        if words[0].startswith("~"):
            allowed -= expanded([words[0][1:], *words[1:]], sets)
        else:
            allowed |= expanded(words, sets)
    return allowed


def traced(path):
    return ["strace", "-D", "-f", "-qq", "-e", "signal=none", "-o", path]


def judge(unit, trace):
    """Everything from the program's own exec on; the one before it is systemd's."""
    text = trace.read_text()
    calls = set(re.findall(r"^\d+ +([a-z0-9_]+)\(", text, re.M))
    assert {"epoll_ctl", "accept4"} <= calls, "nothing was traced"
    assert not sorted(calls - allowed_calls(unit))
    families = set(re.findall(r"socket\((AF_[A-Z0-9]+)", text))
    assert families <= set(unit_words(unit, "RestrictAddressFamilies")[0])


def whole(trace, name):
    """The tracer, which nobody waits for, has written that the program is gone."""
    until(f"{name} was traced to its end", lambda: "exit_group(0)" in trace.read_text())


def test_sandbox_allows_what_the_programs_do(stage, tmp_path):
    redis = stage.redis()
    at, by_router, by_agent = f"127.0.0.1:{free_port()}", tmp_path / "router.trace", tmp_path / "agent.trace"
    sets = [f"server.listen={at}", "log.format=json", "server.lame_duck_ms=0", f"registry.url=redis://localhost:{redis.port}",
            "probe.interval_ms=200"]
    router = stage.add(RouterAt(stage.directory, "usherd", at, sets, BUILD, traced(by_router))).wait_started()
    argv = [*traced(by_agent), BUILD / "client" / "agent" / "usher-agent"]
    for word in ("agent.node=n1", f"agent.routers=http://localhost:{at.split(':')[1]}", "agent.adapter=echo", "log.format=json", "agent.drain_ms=0"):
        argv += ["--set", word]
    agent = stage.process("agent", argv)
    router.wait_placeable("n1")
    url = router.join("r").json()["signal"]["url"]

    async def talk():
        async with websockets.connect(url) as ws:
            await ws.send("x")
            await ws.recv()
    together(talk())
    router.get("/v1/rooms/r/signal")
    router.signal(signal.SIGHUP)
    assert router.get("/metrics").status == 200 and router.get("/v1/nodes").status == 200
    for process, trace in ((agent, by_agent), (router, by_router)):
        process.signal(signal.SIGTERM)
        whole(trace, process.name)
    judge("usherd.service", by_router)
    judge("usher-agent.service", by_agent)


@pytest.mark.parametrize("wanted", [False, True])
@pytest.mark.parametrize("program", ["router/usherd", "client/agent/usher-agent"])
def test_sandbox_no_core_dumps(stage, tmp_path, program, wanted):
    """What is in memory, keys among it, does not end in a file, whatever the limits are; unless somebody wants to look."""
    section, listen = ("server", "server.listen") if "usherd" in program else ("agent", "agent.listen")
    argv = ["sh", "-c", "cd \"$1\" && shift && ulimit -c unlimited && exec \"$@\"", "sh", tmp_path, BUILD / program, "--set", "log.format=json", "--set",
            f"{listen}=127.0.0.1:0", "--set", f"{section}.core_dumps={str(wanted).lower()}"]
    if section == "agent":
        argv += ["--set", "agent.adapter=echo"]
    process = stage.process("dumper", argv)
    process.event("started")
    os.kill(process.child.pid, signal.SIGSEGV)
    _, status = os.waitpid(process.child.pid, 0)
    process.child.returncode = -signal.SIGSEGV
    assert os.WTERMSIG(status) == signal.SIGSEGV
    if wanted and not os.WCOREDUMP(status):
        pytest.skip("this machine dumps no cores")
    assert os.WCOREDUMP(status) == wanted
