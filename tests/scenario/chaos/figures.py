# SPDX-License-Identifier: Apache-2.0
"""The lines that USHER_CHAOS_FIGURES collected, as a page: each figure of each fault over its runs.

    python3 tests/scenario/chaos/figures.py FILE … > docs/operate/figures.md
"""
import ast
import collections
import re
import statistics
import sys

LINE = re.compile(r"test_chaos_(\w+)\[(.*)\]: (.*)")
RUN = re.compile(r"\bfull\d*\b")
HEAD = """# Figures of the fault bench

Of `tests/run.sh chaos`: 3 routers of 2 workers, 5 nodes, 2,000 rooms, 200 joins/s, lease 4 s, grace 0.5 s, all on one machine with 2
shared cores. What each figure means: [how to read a line](../../tests/scenario/chaos/README.md#how-to-read-a-line). Minimum / median /
maximum where runs differ, one number where all agree; *n* is the number of runs.

| fault | n | figures |
|---|---|---|"""


def pairs(text):
    """'name value, name {…}, …' -> (name, text of the value); a dict has commas of its own."""
    start, depth = 0, 0
    for i, letter in enumerate(text + ","):
        depth += letter in "{[("
        depth -= letter in "}])"
        if letter == "," and not depth:
            name, _, value = text[start:i].strip().partition(" {")
            if value:
                yield name, "{" + value
            else:
                name, _, value = text[start:i].strip().rpartition(" ")
                yield name, value
            start = i + 1


def spread(values):
    try:
        numbers = [float(v) for v in values]
    except ValueError:
        return None
    low, middle, high = min(numbers), statistics.median(numbers), max(numbers)
    show = "{:g}".format
    return show(low) if low == high else f"{show(low)} / {show(middle)} / {show(high)}"


def summed(values):
    """Counts by code, over all runs; None: they are no counts."""
    total = collections.Counter()
    for value in values:
        try:
            counts = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return None
        if not isinstance(counts, dict) or not all(isinstance(n, int) for n in counts.values()):
            return None
        total.update(counts)
    return ", ".join(f"{k}: {v}" for k, v in total.items()) or "none"


def main(paths):
    runs = collections.defaultdict(lambda: collections.defaultdict(list))
    count = collections.Counter()
    for path in paths:
        for line in open(path):
            if found := LINE.match(line.strip()):
                how = RUN.sub("", found[2]).strip("-")
                name = found[1].replace("_", " ") + (f" ({how})" if how else "")
                count[name] += 1
                for figure, value in pairs(found[3]):
                    runs[name][figure].append(value)
    print(HEAD)
    for name, figures in runs.items():
        cells = []
        for figure, values in figures.items():
            shown = spread(values) or summed(values)
            cells.append(f"{figure} {shown}" if shown else f"{figure} {' ; '.join(dict.fromkeys(values))}")
        print(f"| {name} | {count[name]} | {'; '.join(cells)} |")


if __name__ == "__main__":
    main(sys.argv[1:])
