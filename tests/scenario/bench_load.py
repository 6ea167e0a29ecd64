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


@contextlib.contextmanager
def half_a_core(router):
    """The router on core 0, beside something that takes all it can get. The generator belongs on core 1."""
    confine(router.child.pid, 0)
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    confine(child.pid, 0)
    try:
        yield
    finally:
        child.kill()
        child.wait()
