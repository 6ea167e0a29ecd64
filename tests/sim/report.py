# SPDX-License-Identifier: Apache-2.0
"""What the runs of usher-sim came to: medians of the seeds, as tables of docs/placement.md, or compared with what is promised.

report.py check FILE POLICY   says where POLICY is not the best or tied, exits 1
report.py nodes PROGRAM       how many nodes each policy needs for the same load
report.py page DIRECTORY PAGE fills the tables of the page in
"""
import re
import statistics
import subprocess
import sys

PEERS = ["random", "round-robin", "hashing", "livekit-lowest", "livekit-twochoice", "jicofo", "scalelite"]
WORKLOADS = ["steady", "hour", "burst", "meetings", "trace", "restarts", "reporting", "pools", "told", "told-burst"]
TIED = 1.02
BALANCES = ["load_median", "load_p99", "expected_median", "expected_p99"]
TIED_MINUTES = 0.05
BURST_BALANCE, BURST_FILL = 1.25, 0.40
OVERLOAD_MINUTES = 0.5  # of the 99th percentile node: what counts as enough nodes


def read(lines):
    """{(workload, policy): {column: median}}"""
    names, runs = [], {}
    for line in lines:
        fields = line.rstrip("\n").split("\t")
        if line.startswith("#"):
            names = [fields[0][1:]] + fields[1:]
        else:
            runs.setdefault((fields[0], fields[1]), []).append([float(f) for f in fields[2:]])
    return {key: dict(zip(names[2:], map(statistics.median, zip(*rows))), seeds=len(rows)) for key, rows in runs.items()}


def worse_than(results, workload, policy):
    own = results[workload, policy]
    for peer in PEERS:
        other = results[workload, peer]
        for what in BALANCES:
            if own[what] > TIED * other[what]:
                yield f"{workload}: {what} of {policy} is {own[what]:.3f}, of {peer} {other[what]:.3f}"
        if own["overload_p99"] > TIED * other["overload_p99"] + TIED_MINUTES:
            yield f"{workload}: overload of {policy} is {own['overload_p99']:.2f} minutes, of {peer} {other['overload_p99']:.2f}"
    if own["refused_with_capacity"]:
        yield f"{workload}: {policy} refused {own['refused_with_capacity']:.0f} rooms with capacity left"


def check(path, policy):
    results = read(open(path))
    faults = [fault for workload in WORKLOADS for fault in worse_than(results, workload, policy)]
    burst = results["burst", policy]
    if burst["expected_p99"] > BURST_BALANCE or burst["fill"] < BURST_FILL:
        faults.append(f"burst: p99 of max/mean expected load is {burst['expected_p99']:.3f} at a fill of {burst['fill']:.2f}")
    print("\n".join(faults) or f"{policy}: best or tied on {len(WORKLOADS)} workloads; burst: p99 of max/mean expected load "
          f"{burst['expected_p99']:.3f} at a fill of {burst['fill']:.2f}")
    return 1 if faults else 0


def carries(program, workload, policy, nodes):
    args = [program, "-q", "-s", "3", "-w", workload, "-p", policy, "-n", str(nodes), "-f", "100"]
    got = read(subprocess.run(args, check=True, capture_output=True, text=True).stdout.splitlines())[workload, policy]
    return got["overload_p99"] <= OVERLOAD_MINUTES and not got["refused"]


def nodes_needed(program, workload, policy, low=40, high=240):
    while low < high:
        middle = (low + high) // 2
        if carries(program, workload, policy, middle):
            high = middle
        else:
            low = middle + 1
    return low


def nodes(program):
    for workload in ["meetings", "hour", "burst"]:
        for policy in ["usher"] + PEERS + ["oracle"]:
            print(f"{workload}\t{policy}\t{nodes_needed(program, workload, policy)}", flush=True)


# -- the page ------------------------------------------------------------------------------------------------------------------
def table(head, rows):
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head)] + rows]
    return "\n".join(lines)


def marked(values, digits):
    """The best, and what is tied with it, in bold."""
    best = min(v for v in values if v is not None)
    return ["" if v is None else f"**{v:.{digits}f}**" if v <= best * TIED + 1e-9 else f"{v:.{digits}f}" for v in values]


def matrix(results, what, digits, policies, workloads=WORKLOADS):
    rows = []
    for workload in workloads:
        own = [results.get((workload, policy), {}).get(what) for policy in policies]
        bold = marked(own[:-1] if policies[-1] == "oracle" else own, digits)
        rows.append([workload] + bold + ([f"{own[-1]:.{digits}f}"] if policies[-1] == "oracle" else []))
    return table(["workload"] + policies, rows)


def cost_table(directory):
    rows = [line.split() for line in open(f"{directory}/cost.tsv") if not line.startswith("#")]
    return table(["nodes", "µs a choice", "ns a node", "ms a reading: as before", "5 % reported", "all reported"], rows)


def nodes_table(directory):
    needed = {}
    for line in open(f"{directory}/nodes.tsv"):
        workload, policy, count = line.split()
        needed[workload, policy] = count
    policies = ["usher"] + PEERS + ["oracle"]
    return table(["workload"] + policies, [[w] + [needed[w, p] for p in policies] for w in ["meetings", "hour", "burst"]])


def blocks(directory):
    results = read(open(f"{directory}/runs.tsv"))
    policies = ["usher"] + PEERS + ["oracle"]
    variants = ["usher", "usher-cost-0.01", "usher-cost-true"]
    return {
        "load": matrix(results, "load_p99", 3, policies),
        "load-median": matrix(results, "load_median", 3, policies),
        "expected": matrix(results, "expected_p99", 3, policies),
        "overload": matrix(results, "overload_p99", 1, policies),
        "moves": matrix(results, "moves", 0, policies, ["restarts", "reporting"]),
        "splits": matrix(results, "splits", 0, policies, ["reporting"]),
        "refused": matrix(results, "refused_with_capacity", 0, variants, ["burst", "meetings", "pools", "told"]),
        "cost": matrix(results, "expected_median", 3, variants, ["burst", "meetings", "pools", "told"]),
        "cost-p99": matrix(results, "expected_p99", 3, variants, ["burst", "meetings", "pools", "told"]),
        "told": matrix(results, "expected_p99", 3, ["usher", "usher-untold"], ["told", "told-burst"]),
        "asked": matrix(results, "expected_p99", 3, ["usher", "usher-asks-one"], ["reporting"]),
        "ramp": matrix(results, "expected_p99", 3, ["usher", "usher-ramp-20s"], ["hour", "burst", "meetings", "trace", "restarts"]),
        "nodes": nodes_table(directory),
        "choice": cost_table(directory),
        "scale": "```\n" + open(f"{directory}/scale.txt").read() + "```",
    }


def page(directory, path):
    text = open(path).read()
    for name, block in blocks(directory).items():
        text, n = re.subn(rf"(<!-- {name} -->\n).*?(<!-- end -->)", lambda m: m[1] + block.rstrip() + "\n" + m[2], text, flags=re.S)
        assert n == 1, name
    open(path, "w").write(text)


if __name__ == "__main__":
    verbs = {"check": check, "nodes": nodes, "page": page}
    sys.exit(verbs[sys.argv[1]](*sys.argv[2:]))
