# SPDX-License-Identifier: Apache-2.0
"""docs/benchmarks.md and its plot, from the samples. Ratios are taken pair by pair of a round; what misses its aim says by how much."""
import pathlib
import re
import statistics
import subprocess
import textwrap

from . import turns

SENSES = {"more": "times the peer's", "less": "times less than the peer's", "share": "of the peer's"}
HEAD = """# Benchmarks

usher beside what people use instead, made by one command: `tests/bench/run.sh [ROUNDS [SECONDS [WORK…]]]`. It installs the peers, runs
usher and them in turns (A B C, A B C, …) and writes this page. Their configurations are in `tests/bench/peers/`: whoever finds one unfair
can change it and run again.

What is claimed are ratios: each is taken within a round, and the table has their median with the least and the greatest. Absolute
figures stand below them for orientation; they say more about the machine than about the programs. One worker or process each on core 0;
the load on core 1, and there also Redis, so that a peer that asks it for each request has core 0 to itself. No request log on either side,
connections to clients and to Redis kept. **CPU is summed over the server and its Redis**, with the same requests offered to all at the same
times (0.6 of what the slowest can do); where throughput and CPU disagree, CPU decides. Every answer's status and words are
looked at, and a wrong one ends the run without a page. Latencies count from when a request was due.

"""


def number(x):
    return f"{x:,.0f}" if x >= 100 else f"{x:.1f}" if x >= 10 else f"{x:.2f}"


def reached(got, aim, sense):
    return got <= aim if sense == "share" else got >= aim


def verdict(values, aim, sense):
    if aim is None:
        return "| | |"
    got = statistics.median(values)
    sign = "≤" if sense == "share" else "≥"
    away = got / aim - 1
    return f"| {sign} {aim} | {'reached' if reached(got, aim, sense) else f'missed by {abs(away):.0%}'} |"


def compared(result):
    """(peer, words, sense, ratios, aim) of all that both sides have samples of."""
    for peer in (name for name in result["samples"] if name != "usher"):
        for words, measure, sense, aims in result["table"]:
            values = turns.ratios(result["samples"], peer, measure, sense)
            if values:
                yield peer, words, sense, values, aims.get(peer)


def ratio_rows(result):
    for peer, words, sense, values, aim in compared(result):
        low, middle, high = min(values), statistics.median(values), max(values)
        yield f"| {peer} | {words} | **{middle:.2f}** ({low:.2f} to {high:.2f}) {SENSES[sense]} {verdict(values, aim, sense)}"


UNITS = {"most_per_s": "most a second", "offered_cpu_us": "CPU µs", "offered_p99_ms": "p99 ms", "opens_per_s": "opens a second",
         "open_cpu_us": "CPU µs an open", "tunnel_bytes": "bytes a tunnel"}


def absolute(result):
    keys = [key for key in UNITS if any(key in of for of in result["samples"].values())]
    memory = result.get("memory", {})
    heads = [UNITS[key] for key in keys] + (["memory MB"] if memory else [])
    yield f"| | {' | '.join(heads)} |"
    yield "|---" * (len(heads) + 1) + "|"
    for name, of in result["samples"].items():
        cells = [number(statistics.median(of[key])) if key in of else "" for key in keys]
        yield f"| {name} | {' | '.join(cells + ([number(memory[name] / 1e6)] if name in memory else []))} |"


def section(result):
    about = f"{result['what']} {result['rounds']} × {result['seconds']} s, {result['when']}."
    rows = [f"## {result['title']}", "", about, ""]
    if result.get("table"):
        rows += ["| beside | what | usher | aim | |", "|---|---|---|---|---|", *ratio_rows(result), ""]
        if result.get("rate"):
            rows += [f"The one rate: {number(result['rate'])} a second. For orientation, medians:", ""]
        rows += [*absolute(result), ""]
    for text, aim, good in result.get("facts", []):
        rows.append(f"- {text}" + (f" (aim: {aim}: {'reached' if good else 'missed'})" if aim else ""))
    return "\n".join(rows + ([""] if result.get("facts") else []))


def first_line(*argv):
    run = subprocess.run(argv, capture_output=True, text=True)
    return (run.stdout + run.stderr).strip().splitlines()[0]


def version(text):
    found = re.search(r"v?(\d+(?:\.\d+)+\S*)", text)
    return found.group(1) if found else text


def versions():
    # Debian's own names of versions: -v of nginx says the same in other words.
    packages = (("nginx", "nginx"), ("its Lua module", "libnginx-mod-http-lua"), ("HAProxy", "haproxy"), ("Redis", "redis-server"),
                ("libmicrohttpd", "libmicrohttpd-dev"), ("libcurl", "libcurl4-openssl-dev"), ("wrk", "wrk"))
    rows = [(name, version(first_line("dpkg-query", "-W", "-f", "${Version}", package))) for name, package in packages]
    rows += [("Node.js", version(first_line("node", "--version"))), ("gcc", version(first_line("gcc", "-dumpfullversion")))]
    ioredis = re.search(r'"ioredis": "([^"]+)"', (pathlib.Path(__file__).parents[1] / "peers" / "package.json").read_text()).group(1)
    return ", ".join(f"{name} {text}" for name, text in [*rows, ("ioredis", ioredis)])


def machine():
    cpu = re.findall(r"^(?:model name|flags)\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    cores = pathlib.Path("/proc/cpuinfo").read_text().count("processor\t:")
    kind = "a virtual machine" if "hypervisor" in " ".join(cpu).split() else "a machine"
    kernel = re.match(r"\d+\.\d+", pathlib.Path("/proc/sys/kernel/osrelease").read_text()).group()
    return f"{kind} with {cores} cores, Linux {kernel}"


def plot(docs, results):
    """One bar for each peer and work: CPU where it was compared, else what else has an aim."""
    bars = []
    for result in results.values():
        for peer, words, sense, values, aim in compared(result):
            if sense != "share" and (aim or words.endswith("one rate")) and ("CPU" in words or "opens" in words):
                bars.append((f"{result['title'].replace('`', '')}: {peer}", statistics.median(values), min(values), max(values), aim))
    if not bars:
        return
    rows = "\n".join(f'{i} {middle} {low} {high} {aim or "NaN"} "{words}"'
                     for i, (words, middle, low, high, aim) in enumerate(reversed(bars)))
    script = f"""set terminal svg size 1000,{150 + 26 * len(bars)} font "sans,12" background "white"
set output "{docs / 'benchmarks.svg'}"
$bars << END
{rows}
END
set title "How many times less CPU usher spends on the same requests (opens: how many times as many a second)"
set logscale x
set xrange [0.25:*]
set yrange [-0.7:{len(bars) - 0.3}]
set xtics (0.25, 0.5, 1, 2, 4, 8, 16)
set grid xtics
set arrow from 1, graph 0 to 1, graph 1 nohead lw 2 lc rgb "#555555"
set key outside bottom center horizontal
set lmargin 52
set title offset -18
plot $bars using 2:1:3:4:ytic(6) with xerrorbars pt 7 lw 2 lc rgb "#1f77b4" title "median, least and greatest", \\
     "" using 5:1 with points pt 2 lw 2 lc rgb "#d62728" title "aim"
"""
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


def missed_by(result):
    """Throughput and CPU have the same aim, and CPU decides."""
    rows = [row for row in compared(result) if row[4]]
    decided = {peer for peer, words, *_ in rows if words.startswith("CPU")}
    for peer, words, sense, values, aim in rows:
        if not (words == "throughput" and peer in decided) and not reached(statistics.median(values), aim, sense):
            yield f"- {result['title']}, beside {peer}, {words}: {statistics.median(values):.2f} {SENSES[sense]}, aim {aim}"


def summary(results):
    missed = [row for result in results.values() for row in missed_by(result)]
    missed += [f"- {result['title']}: {text}; aim {aim}" for result in results.values()
               for text, aim, good in result.get("facts", []) if aim and not good]
    return "\n".join(["## What is missed", "", *(missed or ["Nothing of what is aimed at above."]), ""])


def write(docs, results):
    trial = any(result["rounds"] < 5 or result["seconds"] < 3 for result in results.values())
    text = HEAD + ("**Parts of this are a trial: too short to be told on.**\n\n" if trial else "") + textwrap.fill(f"Versions: {versions()}; on {machine()}.", 130, break_on_hyphens=False) + "\n\n![CPU beside the peers](benchmarks.svg)\n\n"
    (docs / "benchmarks.md").write_text(text + "\n".join(section(result) for result in results.values()) + "\n" + summary(results))
    plot(docs, results)
