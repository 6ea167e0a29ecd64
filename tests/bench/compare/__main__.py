# SPDX-License-Identifier: Apache-2.0
"""Runs the works that are named, or all, and writes the page."""
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[2]
BUILD = ROOT / "build-release"
KEPT = BUILD / "bench.json"  # so that one work can be run again alone
sys.path.insert(0, str(ROOT / "tests" / "scenario"))
os.environ.setdefault("USHER_BUILD", str(BUILD))

from . import fleet, gate, http, measure, page, proxy, relay, store  # noqa: E402

WORKS = {"route": http.route, "join": http.join, "workers": http.workers,
         "relay": relay.small, "relay-16k": relay.large, "idle": relay.idle, "waiting": relay.waiting,
         "miss": store.miss, "first-join": store.first_joins, "proxy": proxy.small, "proxy-10m": proxy.large, "gate": gate.gate,
         "heartbeats": fleet.beats, "growth": fleet.growth}


def build_load():
    program = BUILD / "usher-load"
    sources = [*sorted((HERE.parent / "usher-load").glob("*.c")), ROOT / "base" / "wire" / "digest.c"]
    flags = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-I", ROOT]
    # Of digest.c only the printing half is wanted; what the other one stands on is not linked.
    subprocess.run(["cc", *flags, "-ffunction-sections", "-Wl,--gc-sections", "-o", program, *sources, "-lcrypto"], check=True)
    return program


def done(name, directory, rounds, seconds, results):
    """One that fails takes nothing from the others, and leaves no older result of its own behind."""
    results.pop(name, None)
    try:
        result = WORKS[name](directory, rounds, seconds)
        results[name] = {**result, "rounds": rounds, "seconds": seconds, "when": time.strftime("%Y-%m-%d")}
        print(page.section(results[name]), flush=True)
    except Exception:
        traceback.print_exc()
    KEPT.write_text(json.dumps(results, indent=1))
    return name in results


def main():
    words = sys.argv[1:]
    rounds, seconds = (int(words[i]) if len(words) > i else standard for i, standard in enumerate((5, 3)))
    chosen = words[2:] or list(WORKS)
    if unknown := set(chosen) - set(WORKS):
        raise SystemExit(f"no such work: {', '.join(unknown)}; there are {', '.join(WORKS)}")
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))  # for all that is started here, alike
    measure.PROGRAM = build_load()
    results = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    # What a dying process still takes away or writes there must not cost a result.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        failed = [name for name in chosen if not done(name, directory, rounds, seconds, results)]
    page.write(ROOT / "docs", {name: results[name] for name in WORKS if name in results})
    if failed:
        raise SystemExit(f"failed, and not in the page: {', '.join(failed)}")


if __name__ == "__main__":
    main()
