# SPDX-License-Identifier: Apache-2.0
"""tests/bench/load.c against a router that has half of one core, so that one generator can be too much for it."""
import contextlib
import os
import pathlib
import subprocess
import sys

SOURCE = pathlib.Path(__file__).parents[1] / "bench" / "load.c"


def build_generator(directory):
    made = pathlib.Path(directory) / "load"
    subprocess.run(["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-o", made, SOURCE], check=True)
    return made


def confine(pid, core):
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(thread), {core})


def prefer(pid, niceness=-20):
    """Where it is allowed (root): what else runs on the machine takes nothing of what is measured."""
    with contextlib.suppress(PermissionError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.setpriority(os.PRIO_PROCESS, int(thread), niceness)


@contextlib.contextmanager
def preferred(*processes):
    """These, and the test itself while it measures."""
    was = os.getpriority(os.PRIO_PROCESS, 0)
    for pid in (os.getpid(), *(process.child.pid for process in processes)):
        prefer(pid)
    try:
        yield
    finally:
        prefer(os.getpid(), was)


def on_core_1():
    """For the generator, before it is executed."""
    os.sched_setaffinity(0, {1 % os.cpu_count()})
    prefer(os.getpid())


@contextlib.contextmanager
def half_a_core(router):
    """The router on core 0, beside something that takes all it can get. The generator belongs on core 1."""
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    for pid in (router.child.pid, child.pid):
        confine(pid, 0)
        prefer(pid)
    try:
        yield
    finally:
        child.kill()
        child.wait()
