# SPDX-License-Identifier: Apache-2.0
"""What the recorder saw, judged. Nothing here talks to a program.

A node *accepts* joins for a room while its own list holds the room and says that it is not fenced. The overlap is counted
from below: a node is taken to accept between two samples only if both say so and no more than GAP_S lie between them, so
that two samples taken one after the other never make an overlap of a room that was handed over in between.
"""
import collections
import dataclasses

GAP_S = 0.5


@dataclasses.dataclass
class Join:
    due: float
    start: float
    end: float
    router: str
    room: str
    status: int
    node: str
    epoch: int
    source: str
    code: str

    def ok(self):
        return self.status == 200


@dataclasses.dataclass
class Entry:
    """A try to get in at a node's gate."""
    due: float
    start: float
    end: float
    at: str
    room: str
    status: int
    node: str
    epoch: int
    source: str
    code: str

    def ok(self):
        return self.status == 101


def read_rows(path):
    joins, entries = [], []
    with open(path) as lines:
        for line in lines:
            kind, *words = line.rstrip("\n").split("\t")
            if len(words) != 10:
                continue  # cut off: the generator was killed
            due, start, end, who, room, status, node, epoch, source, code = words
            made = (Join if kind == "J" else Entry)(int(due) / 1e9, int(start) / 1e9, int(end) / 1e9, who, room, int(status), node,
                                                    int(epoch) if epoch != "-" else 0, source, code)
            (joins if kind == "J" else entries).append(made)
    return joins, entries


@dataclasses.dataclass
class Sample:
    """What a node said of itself: true at some moment between sent and answered. rooms None: it did not answer."""
    sent: float
    answered: float
    rooms: dict | None
    fenced: bool = False

    def accepts(self):
        return {} if self.rooms is None or self.fenced else self.rooms


def accepted(samples):
    """room -> [(from, to, row)] in which this node accepted joins for it for certain: from the answer of the first of a row of
    samples to the question of the last. One sample alone (row False) is a moment somewhere between question and answer."""
    spans, running = collections.defaultdict(list), {}  # room -> the first and the last sample of the row

    def finish(room):
        first, last = running.pop(room)
        spans[room].append((first.answered, last.sent, True) if first is not last else (first.sent, first.answered, False))
    before = None
    for sample in samples:
        rooms = sample.accepts()
        near = before is not None and sample.sent - before.answered <= GAP_S and sample.answered - sample.sent <= GAP_S
        for room in [r for r in running if not near or r not in rooms]:
            finish(room)
        for room in rooms:
            running[room] = (running[room][0] if room in running else sample, sample)
        before = sample
    for room in list(running):
        finish(room)
    return spans


def shared(one, other):
    """Seconds that both certainly accepted; a moment counts, as a millisecond, only where it lies wholly within the other."""
    start, end = max(one[0], other[0]), min(one[1], other[1])
    if one[2] and other[2]:
        return max(end - start, 0.001) if end >= start else 0.0
    moments = [span for span in (one, other) if not span[2]]
    return 0.001 if len(moments) == 1 and moments[0][:2] == (start, end) else 0.0


def overlap(samples_by_node):
    """(seconds x rooms, {room: seconds})"""
    by_room = collections.defaultdict(list)
    for node, samples in samples_by_node.items():
        for room, spans in accepted(samples).items():
            by_room[room] += [(*span, node) for span in spans]
    rooms = {}
    for room, spans in by_room.items():
        if len({node for *_, node in spans}) < 2:
            continue
        total = sum(shared(a, b) for i, a in enumerate(spans) for b in spans[:i] if a[3] != b[3])
        if total:
            rooms[room] = total
    return sum(rooms.values()), rooms


def story(samples_by_node, joins, room):
    """What happened to one room, in the order of time: each change of what a node said of it, and each join."""
    lines = []
    for node, samples in samples_by_node.items():
        said = None
        for s in samples:
            now = "no answer" if s.rooms is None else f"{s.rooms.get(room)}{' fenced' if s.fenced else ''}"
            if now != said:
                lines.append((s.answered, f"{node} says {now} (asked {s.sent:.3f})"))
            said = now
    lines += [(j.end, f"join by {j.router}: {j.status} {j.node} {j.epoch} {j.source} {j.code} (due {j.due:.3f})") for j in joins if j.room == room]
    return "\n".join([f"room {room}"] + [f"  {at:.3f} {what}" for at, what in sorted(lines)])


def entered_twice(entries):
    """Rooms that participants entered at two nodes in turn and back (n1, n2, n1): the order of epochs must never go down."""
    highest, wrong = {}, set()
    for entry in sorted((e for e in entries if e.ok()), key=lambda e: e.start):
        if entry.epoch < highest.get(entry.room, 0):
            wrong.add(entry.room)
        highest[entry.room] = max(entry.epoch, highest.get(entry.room, 0))
    return wrong


def error_share(joins):
    return sum(not j.ok() for j in joins) / len(joins) if joins else 0.0


def codes(joins):
    return dict(collections.Counter(f"{j.status} {j.code}" if not j.ok() else "200" for j in joins))


def back_after(joins, since, rooms, stale=None, until=float("inf"), slow_s=0.5):
    """Seconds after `since` at which the last join of these rooms ended that was refused, slow, or told the owner in `stale`
    ({room: (node, epoch)}) while that one was away, which is until `until`: from then on all is as ever."""
    bad = [j.end for j in joins if j.room in rooms and j.end > since and
           (not j.ok() or j.end - j.due > slow_s or (j.end < until and stale and (j.node, j.epoch) == stale.get(j.room)))]
    return max(bad, default=since) - since


def moved(before, after):
    """Rooms whose (node, epoch) is not what it was."""
    return {room for room, owner in before.items() if after.get(room) != owner}


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))] if values else 0.0
