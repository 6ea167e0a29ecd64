# SPDX-License-Identifier: Apache-2.0
"""Rounds in turns (A B C, A B C, …), so that what the machine does meanwhile meets all alike, and what comes of them."""
import contextlib
import pathlib
import statistics
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


def ratios(samples, peer, measure, ours="usher"):
    """usher's share of the peer's, pair by pair of a round."""
    pairs = zip(samples[ours].get(measure, []), samples[peer].get(measure, []))
    return [a / b for a, b in pairs if b]


def spread(values):
    return min(values), statistics.median(values), max(values)
