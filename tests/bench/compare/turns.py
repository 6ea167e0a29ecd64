# SPDX-License-Identifier: Apache-2.0
"""Rounds in turns (A B C, A B C, …), so that what the machine does meanwhile meets all alike, and what comes of them."""
import contextlib
import pathlib
import tempfile

from harness import Stage

SHARE = 0.6  # of the slowest one's throughput: what all are offered alike


@contextlib.contextmanager
def stage(directory):
    made = Stage(pathlib.Path(tempfile.mkdtemp(dir=directory)))
    try:
        yield made
    finally:
        made.close()


def in_turns(rounds, servers, most, offered):
    """most(server): as much as it can; offered(server, rate): the same rate for all. Gives the samples of each by measure."""
    samples = {server.name: {} for server in servers}

    def keep(server, measure, told):
        for key in ("per_s", "cpu_us", "p99_ms"):
            if key in told:
                samples[server.name].setdefault(f"{measure}_{key}", []).append(told[key])
    rate = None
    for _ in range(rounds):
        for server in servers:
            keep(server, "most", most(server))
        rate = rate or SHARE * min(samples[server.name]["most_per_s"][0] for server in servers)
        for server in servers:
            keep(server, "offered", offered(server, rate))
    return samples, rate


def table(aims, work="a request", p99=None):
    """What the page compares: words, measure, sense, and what is aimed at by peer."""
    return [("throughput", "most_per_s", "more", aims), (f"CPU {work} at the most", "most_cpu_us", "less", {}),
            (f"CPU {work} at one rate", "offered_cpu_us", "less", aims),
            *([("p99 at the most", "most_p99_ms", "share", p99)] if p99 else []), ("p99 at one rate", "offered_p99_ms", "share", {})]


def ratios(samples, peer, measure, sense, ours="usher"):
    """Pair by pair of a round: usher's of the peer's; where less is better and it is told how many times: the peer's of usher's."""
    pairs = zip(samples[ours].get(measure, []), samples[peer].get(measure, []))
    return [b / a if sense == "less" else a / b for a, b in pairs if a and b]
