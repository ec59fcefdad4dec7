"""What was promised, what was used, and what an archive gives back.

tools/loadgen/README.md and archiver/seal/FORMAT.md say what the two ledgers
hold.
"""

import collections
import hashlib
import json

import matroska

# Matroska keeps milliseconds; rounding one way and the other may differ by one.
_TIME_TOLERANCE_MS = 1.001


class Promises:
    """loadgen's ledger: what packets are, and which were acknowledged."""

    def __init__(self, path):
        self._packets = {}
        self.round_us = 0
        # (session, side) -> last sequence acknowledged.
        self.acknowledged = collections.defaultdict(int)
        # session -> [resident, clerk]: packets in all, by its receipt.
        self.closed = {}
        self.problems = []
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                self._take(json.loads(line))

    def _take(self, entry):
        if "recording" in entry:
            self._packets[entry["recording"]] = entry["packets"]
            self.round_us = entry["round_us"]
        elif "closed" in entry:
            self.closed[entry["session"]] = entry["closed"]
        else:
            key = (entry["session"], entry["side"])
            if entry["first"] != self.acknowledged[key] + 1:
                self.problems.append(
                    f"{key}: {entry['first']} acknowledged after "
                    f"{self.acknowledged[key]}")
            self.acknowledged[key] = entry["last"]

    @property
    def sessions(self):
        return sorted({session for session, _ in self.acknowledged}
                      | set(self.closed))

    def tracks(self, side, count):
        """Track id -> [(SHA-256, pts in ms)] of a side's first packets."""
        found = collections.defaultdict(list)
        packets = self._packets[side]
        for at in range(count):
            track, pts_us, *_, digest = packets[at % len(packets)]
            shift_us = at // len(packets) * self.round_us
            found[track].append((digest, (pts_us + shift_us) / 1000))
        return found


def export_problems(path, promises, session):
    """What is wrong with an exported file, against what was promised.

    A closed session must hold exactly what was sent, every packet once, at its
    time. An open one must begin with what was acknowledged.
    """
    file = matroska.read(path)
    exported = {n: [(hashlib.sha256(p.payload).hexdigest(), p.pts_ms)
                    for p in file.of(n)] for n in file.tracks}
    final = promises.closed.get(session)
    problems = []
    offsets = []
    matched = set()
    for at, side in enumerate(("resident", "clerk")):
        count = final[at] if final else promises.acknowledged[session, side]
        for track, wanted in promises.tracks(side, count).items():
            place = f"{session} {side} track {track}"
            digests = [d for d, _ in wanted]
            fitting = [n for n, found in exported.items()
                       if [d for d, _ in found][:len(digests)] == digests]
            if len(fitting) != 1:
                problems.append(
                    f"{place}: {len(digests)} packets were acknowledged, the "
                    f"archive's tracks have "
                    f"{[len(f) for f in exported.values()]}"
                    + _first_difference(digests, exported))
                continue
            matched.update(fitting)
            found = exported[fitting[0]]
            if final and len(found) != len(digests):
                problems.append(f"{place}: {len(found)} packets for the "
                                f"{len(digests)} that were sent")
            offsets += [ms - pts_ms for (_, ms), (_, pts_ms)
                        in zip(found, wanted)]
    # A track that was declared and never used is there, without packets.
    used = {n for n, found in exported.items() if found}
    if final and used - matched and not problems:
        problems.append(f"{session}: tracks that nobody sent")
    if offsets and max(offsets) - min(offsets) > _TIME_TOLERANCE_MS:
        problems.append(f"{session}: packets have moved against each other by "
                        f"{max(offsets) - min(offsets):.3f} ms")
    return problems


def _first_difference(wanted, exported):
    best = max(exported.values(), default=[],
               key=lambda found: _common([d for d, _ in found], wanted))
    at = _common([d for d, _ in best], wanted)
    return f"; the nearest agrees for {at} packets"


def _common(found, wanted):
    count = 0
    for one, other in zip(found, wanted):
        if one != other:
            break
        count += 1
    return count
