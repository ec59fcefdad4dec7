"""The log tree on disk: tiles, entries and the checkpoint (C2SP tlog-tiles)."""

import hashlib
import os
import pathlib
import re

import signed_note
import time_stamp
import tlog_tree
from untrue import read_bounded, require

_WIDTH = 256
_HASH = 32
# Two bytes of length, then a leaf's data.
_ENTRY = 2 + 8 + 32
_MAX_CHECKPOINT = 1 << 20
_STAMP = re.compile(r"(\d{1,20})\.(checkpoint|tsr)")
_NAME = re.compile(
    r"tile/(entries|0|[1-9]\d?)/((?:x\d{3}/)*\d{3})(?:\.p/([1-9]\d{0,2}))?")


def _tile_path(level, number):
    parts = [f"{number % 1000:03}"]
    while number >= 1000:
        number //= 1000
        parts.append(f"x{number % 1000:03}")
    return f"tile/{level}/" + "/".join(reversed(parts))


class Tiles:
    """What lies in DIR/tlog. Reads all of it at once, checkpoint first."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.said = []
        # Leaves of the signed tree.
        self.signed = 0
        self.checkpoint = self._read_checkpoint("checkpoint")
        # Others that the log signed, with what vouches for them.
        self.vouched = {}
        self._read_vouched()
        # (level, number) -> {width: bytes}
        self.tiles = {}
        for under, _, names in os.walk(self.folder / "tile"):
            for name in names:
                path = pathlib.Path(under) / name
                self._add(path.relative_to(self.folder).as_posix(), path)

    def _read_checkpoint(self, name):
        path = self.folder / name
        if not path.is_file():
            return None
        return signed_note.parse_checkpoint(
            read_bounded(path, _MAX_CHECKPOINT, name), name)

    def _read_vouched(self):
        cosigned = self._read_checkpoint("cosigned")
        if cosigned is not None:
            self.vouched["cosigned"] = cosigned
        stamps = self.folder / "timestamps"
        for path in sorted(stamps.iterdir()) if stamps.is_dir() else ():
            match = _STAMP.fullmatch(path.name)
            if match is None:
                continue
            name = f"timestamps/{match[1]}.checkpoint"
            stamped = self._read_checkpoint(name)
            require(stamped is not None, f"{name} is missing")
            require(str(stamped.size) == match[1],
                    f"{name} is of {stamped.size} leaves")
            self.vouched[name] = stamped
            if match[2] == "tsr":
                place = f"timestamps/{path.name}"
                time_stamp.read_time_stamp(
                    read_bounded(path, _MAX_CHECKPOINT, place),
                    hashlib.sha256((self.folder / name).read_bytes()
                                   ).digest(), place)

    def _add(self, name, path):
        match = _NAME.fullmatch(name)
        if match is None:
            # What a kill has left of a write.
            self.said.append(f"tlog/{name} is no tile and means nothing.")
            return
        level = match[1]
        number = int(match[2].replace("/", "").replace("x", ""))
        require(match[2] == _tile_path(0, number)[len("tile/0/"):],
                f"{name}: its number is written in another way")
        width = int(match[3]) if match[3] else _WIDTH
        require(width < _WIDTH or not match[3], f"{name} is not partial")
        size = _ENTRY if level == "entries" else _HASH
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            # A writer takes a partial tile away once there is a fuller one.
            require(match[3] is not None, f"{name} is gone")
            return
        require(len(data) == width * size,
                f"{name} has {len(data)} bytes, not {width * size}")
        self.tiles.setdefault((level, number), {})[width] = data

    def check(self, leaves, key, witnesses):
        """Checks all against the leaf data that the log gives.

        Args:
          leaves: data of each leaf, in order.
          key: the log's; its name is the log's origin.
          witnesses: keys whose cosignatures the archive takes.
        """
        hashes = [tlog_tree.leaf_hash(data) for data in leaves]
        self._check_contents(leaves, hashes)
        if self.checkpoint is None:
            self.said.append("There is no checkpoint yet; nothing is signed.")
            return
        self._check_signed("checkpoint", self.checkpoint, hashes, key)
        self.signed = self.checkpoint.size
        self._check_complete(self.signed)
        behind = len(leaves) - self.signed
        self.said.append(f"The log signed a tree of {self.signed} leaves"
                         + (f"; {behind} are not in it yet." if behind
                            else "."))
        for name, other in self.vouched.items():
            self._check_signed(name, other, hashes, key)
            for witness in witnesses:
                if signed_note.verify_note(other.note, witness, name):
                    self.said.append(f"{witness.name} cosigned a tree of "
                                     f"{other.size} leaves.")

    @staticmethod
    def _check_signed(name, checkpoint, hashes, key):
        """The log signed it, and its records are still those of the tree."""
        require(checkpoint.origin == key.name, f"{name} is of another log")
        require(signed_note.verify_note(checkpoint.note, key, name),
                f"{name} is not signed by the log's key")
        require(checkpoint.size <= len(hashes),
                f"{name}: the signed tree has {checkpoint.size} leaves, the "
                f"log has records for {len(hashes)}: it was cut, or is an "
                "older copy")
        require(tlog_tree.root_of_hashes(hashes[:checkpoint.size])
                == checkpoint.root,
                f"{name}: the log's records are not those of the signed tree")

    def _check_contents(self, leaves, hashes):
        """Whatever tile there is has the right bytes, also beyond."""
        levels = {"entries": [len(d).to_bytes(2, "big") + d for d in leaves],
                  "0": hashes}
        last = 0
        while len(levels[str(last)]) >= _WIDTH:
            below = levels[str(last)]
            last += 1
            levels[str(last)] = [
                tlog_tree.root_of_hashes(below[i:i + _WIDTH])
                for i in range(0, len(below) // _WIDTH * _WIDTH, _WIDTH)]
        for (level, number), widths in self.tiles.items():
            row = levels.get(level, [])
            for width, data in widths.items():
                first = number * _WIDTH
                require(first + width <= len(row),
                        f"tile {level}/{number} of width {width} is of "
                        "leaves that the log has no records for")
                require(data == b"".join(row[first:first + width]),
                        f"tile {level}/{number} of width {width} is not of "
                        "the log's records")

    def _check_complete(self, size):
        """All tiles that a tree of that size has are there."""
        self._check_row("entries", size)
        level = 0
        while size:
            self._check_row(str(level), size)
            level, size = level + 1, size // _WIDTH

    def _check_row(self, level, size):
        for number in range(-(-size // _WIDTH)):
            wanted = min(_WIDTH, size - number * _WIDTH)
            widths = self.tiles.get((level, number), {})
            require(any(width >= wanted for width in widths),
                    f"tile {level}/{number} of width {wanted} is missing")
