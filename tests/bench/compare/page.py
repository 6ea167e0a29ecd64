# SPDX-License-Identifier: Apache-2.0
"""docs/benchmarks.md and its plots, from the samples. Ratios are taken pair by pair of a round; what misses its aim says by how much."""
import statistics

from . import turns

# What is compared, and whether the ratio is usher's of the peer's (more is better) or the peer's of usher's (less is better).
MEASURES = {"most_per_s": "throughput", "offered_cpu_us": "CPU"}


def number(x):
    return f"{x:,.0f}" if x >= 100 else f"{x:.1f}" if x >= 10 else f"{x:.2f}"


def three(values):
    low, middle, high = turns.spread(values)
    return f"**{middle:.2f}** ({low:.2f} to {high:.2f})"


def peer_row(result, peer):
    samples = result["samples"]
    faster = turns.ratios(samples, peer, "most_per_s")
    cheaper = [1 / ratio for ratio in turns.ratios(samples, peer, "offered_cpu_us")]
    aim = result["aims"].get(peer)
    return f"| {peer} | {three(faster) if faster else ''} | {three(cheaper) if cheaper else ''} | {f'{aim}x' if aim else ''} | {verdict(aim, cheaper or faster)} |"


def verdict(aim, values):
    if not aim:
        return ""
    got = statistics.median(values)
    return "reached" if got >= aim else f"not reached: {got / aim:.0%} of it"


def own_row(result, name):
    of = result["samples"][name]
    cells = [number(statistics.median(of[key])) if key in of else "" for key in ("offered_cpu_us", "offered_p99_ms")]
    memory = result.get("memory", {}).get(name)
    return f"| {name} | {cells[0]} | {cells[1]} | {memory / 1e6:.1f} |" if memory else f"| {name} | {cells[0]} | {cells[1]} | |"


def section(result):
    peers = [name for name in result["samples"] if name != "usher"]
    rows = [f"## {result['title']}", "", f"{result['what']} {result['rounds']} rounds of {result['seconds']} s in turns, {result['when']}.", "",
            "| usher beside | throughput, times the peer's | CPU a request, times less than the peer's | aim | CPU decides |", "|---|---|---|---|---|",
            *(peer_row(result, peer) for peer in peers), "",
            f"At {result['rate']:,.0f} a second offered to all alike:", "",
            "| | CPU µs a request, with its Redis | p99 ms | memory MB, with its Redis |", "|---|---|---|---|",
            *(own_row(result, name) for name in result["samples"]), ""]
    return "\n".join(rows)


def write(docs, results):
    text = "\n".join(section(result) for result in results.values())
    (docs / "benchmarks.md").write_text(text)
