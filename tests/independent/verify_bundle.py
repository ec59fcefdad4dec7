#!/usr/bin/env python3
"""Proves a bundle with public keys alone, by the documents alone.

  verify_bundle.py BUNDLE --key FILE... [--tsa-ca FILE]

Exit 0: prints what is proven and what is missing. Exit 1: prints the first
false thing. The README beside this says what it is for.
"""

import argparse
import sys

import bag_folder
import json_entry
import signed_note
import stored_messages
from bundle_disclosed import Disclosed
from bundle_media import Media
from bundle_proofs import Proofs
from untrue import Untrue, read_bounded, require

_MAX_EVIDENCE = 256 << 20
_MAX_KEYS = 1 << 20
# Seconds of a clip that are looked at one by one.
_MAX_SECONDS = 10 * 86400


def _clock(second):
    sign, second = ("-", -second) if second < 0 else ("", second)
    return (f"{sign}{second // 3600:02}:{second // 60 % 60:02}"
            f":{second % 60:02}")


def seconds_of(track, first, end):
    """[(from, to, what is shown of these seconds)] of one track."""
    state = {}
    for time_ms, signer in zip(track.times_ms, track.signers):
        state.setdefault(time_ms // 1000, set()).add(signer)
    first = min([first, *state])
    end = max([end, *(s + 1 for s in state)])
    require(end - first <= _MAX_SECONDS, "the clip is too long")
    found = []
    for second in range(first, end):
        signers = state.get(second)
        if signers is None:
            word = "no packets"
        elif "" in signers:
            word = ("recorded; not signed by its source"
                    + (", or in part" if len(signers) > 1 else ""))
        else:
            word = "as " + " and ".join(sorted(signers)) + " signed it"
        if found and found[-1][2] == word:
            found[-1][1] = second + 1
        else:
            found.append([second, second + 1, word])
    return found


def verify(folder, keys, authorities=None):
    """Sentences on what a bundle proves; raises Untrue."""
    bag = bag_folder.Bag(folder)
    evidence = json_entry.parse(json_entry.unpack(
        bag.read("data/evidence.json.gz", _MAX_EVIDENCE), _MAX_EVIDENCE))
    reader = stored_messages.stored_reader()
    proofs = Proofs(bag, evidence, reader, keys, authorities)
    disclosed = Disclosed(proofs)
    media = Media(proofs, disclosed, keys)
    extra = bag.payload() - proofs.used
    require(not extra, f"nothing speaks of data/{min(extra, default='')}")
    require("data/report.html" in bag.files, "data/report.html is missing")
    from_us = evidence.number("from_us", -(1 << 62), 1 << 62)
    to_us = evidence.number("to_us", -(1 << 62), 1 << 62)
    require(from_us <= to_us, "the clip ends before it begins")
    said = [*proofs.said, *disclosed.said, *media.said]
    for track in media.tracks.values():
        said.append(f"{track.name}: {len(track.lines)} packets.")
        for first, end, word in seconds_of(
                track, from_us // 1_000_000, -(-to_us // 1_000_000)):
            said.append(f"  {_clock(first)} to {_clock(end)}: {word}.")
    said.append(_completeness(proofs, media))
    said.append("The report is for reading: nothing here proves it.")
    return said


def _completeness(proofs, media):
    """Whether this is all of a closed session."""
    whole = (proofs.closed is not None and proofs.reaches_end
             and not media.incomplete and not
             proofs.manifests[0].header.previous_manifest_sha256)
    # Every manifest needs a chunk, or all of it was left out.
    chunks = sum(len(m.header.chunks) for m in proofs.manifests)
    if not whole or not chunks:
        return "This is a part of the session."
    for totals in proofs.closed.header.sides:
        packets = sum(len(t.lines) for t in media.tracks.values()
                      if t.side == totals.side)
        require(packets == totals.packets,
                f"closed says {totals.packets} packets of a side, here are "
                f"{packets}")
    return "This is the whole session, from its opening to its closing."


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("--key", action="append", required=True,
                        metavar="FILE", help="public keys, one on a line")
    parser.add_argument("--tsa-ca", metavar="FILE",
                        help="certificates of time-stamp authorities")
    options = parser.parse_args(arguments)
    try:
        keys = []
        for name in options.key:
            text = read_bounded(name, _MAX_KEYS, name).decode("utf-8")
            keys += signed_note.parse_verifier_keys(text, name)
        said = verify(options.bundle, keys, options.tsa_ca)
    except Untrue as false:
        print(f"false: {false}")
        return 1
    except Exception as problem:  # Whatever a forger came up with.
        print(f"false: {type(problem).__name__}: {problem}")
        return 1
    print("\n".join(said))
    return 0


if __name__ == "__main__":
    sys.exit(main())
