"""The packets of a bundle, and who signed them.

("What a verifier shows", 5 and 6.)
"""

import dataclasses
import mmap
import struct
import zlib

import ebml_packets
import evidence_hashes as hashes
import mp4_samples
import signed_note
import stored_messages
import tlog_tree
from media_stream import round_ms
from untrue import Untrue, require

_VIDEO = {"h264", "h265", "vp8", "vp9", "av1"}
_CODECS = {1: "h264", 2: "h265", 3: "vp8", 4: "vp9", 5: "av1", 16: "opus",
           17: "aac", 18: "g711_alaw", 19: "g711_ulaw"}
_SOURCES = {1: "camera", 2: "microphone", 3: "screen", 4: "document_camera"}
_SIDES = {1: "resident", 2: "clerk"}
_READERS = {"matroska": ("media.mkv", ebml_packets.read_streams),
            "mp4": ("media.mp4", mp4_samples.read_streams)}
_BOUNDARY_HEAD = struct.Struct(">IqBI")
_MAX_PAYLOAD = 2 << 20
_MAX_BOUNDARY = 1 << 30
_MAX_TRACKS = 32
_MAX_CHUNK = (1 << 32) - 1


class _Stream:
    """One stream of the media file, used up packet by packet."""

    def __init__(self, number, stream):
        self.number = number
        self.stream = stream
        self.next = 0
        self.compared = False


@dataclasses.dataclass
class Track:
    track_id: int
    side: int
    entry: object
    video: bool
    lines: list = dataclasses.field(default_factory=list)
    times_ms: list = dataclasses.field(default_factory=list)
    # Of each packet: who signed it, "" if nobody known did.
    signers: list = dataclasses.field(default_factory=list)
    # Whether manifests between its first and its last chunk are not here.
    has_holes: bool = False
    # Whether its last run is there, which has packets behind the end.
    ended: bool = False

    @property
    def name(self):
        return (f"track {self.track_id} ({_SIDES[self.side]} "
                f"{self.entry.text('source')})")


class Media:
    """Checks all of this; what it found are its attributes."""

    def __init__(self, proofs, disclosed, keys):
        self.proofs = proofs
        self.disclosed = disclosed
        self.keys = keys
        self.said = []
        self._tracks()
        self._open()
        self._segments()
        self._all_used()
        self._sources()

    def _tracks(self):
        self.tracks = {}
        before = 0
        for entry in self.proofs.evidence.entries("tracks"):
            track_id = entry.number("track_id", 1, _MAX_TRACKS)
            require(track_id > before, f"{entry.place} is out of order")
            before = track_id
            sides = [n for n, word in _SIDES.items()
                     if word == entry.text("side")]
            require(sides, f"{entry.place}: its side")
            require(entry.flag("video") == (entry.text("codec") in _VIDEO),
                    f"{entry.place}: its codec is video, or is not")
            self.tracks[track_id] = Track(track_id, sides[0], entry,
                                          entry.flag("video"))
        require(self.tracks, "there are no tracks")
        asked = self.proofs.access_record.sides
        require(not asked or all(t.side in asked
                                 for t in self.tracks.values()),
                "a track's side was not in the access record")

    def _open(self):
        media = self.proofs.evidence.entry("media")
        require(media.text("container") in _READERS, "media: its container")
        name, read_streams = _READERS[media.text("container")]
        require(media.text("file") == name, "media: its file's name")
        self.origin_us = media.number("origin_us", least=-(1 << 62),
                                      most=1 << 62)
        require(self.origin_us % 1000 == 0,
                "media: origin_us is no whole millisecond")
        require("data/" + name in self.proofs.bag.files, f"{name} is missing")
        self.proofs.used.add(name)
        require(self.proofs.bag.files["data/" + name] > 0, f"{name} is empty")
        with open(self.proofs.bag.path("data/" + name), "rb") as file:
            self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.streams = [_Stream(i, s) for i, s
                        in enumerate(read_streams(self.data, name))]
        self.boundary, self.boundary_at = b"", 0
        if "data/boundary.bin" in self.proofs.bag.files:
            self.boundary = self.proofs.read("boundary.bin", _MAX_BOUNDARY)
            require(self.boundary, "boundary.bin is empty")

    # ---- Pairs ----

    def _segments(self):
        manifests = self.proofs.manifests
        self.pairs = {}
        before = -1
        for entry in self.proofs.evidence.entries("segments"):
            number = entry.number("manifest")
            require(before < number < len(manifests),
                    f"{entry.place}: its manifest")
            before = number
            manifest = manifests[number].header
            span = self.disclosed.spans.get(manifest.span)
            require(span is not None,
                    f"{entry.place}: span {manifest.span} is not shown")
            runs = entry.entries("tracks")
            require(runs, f"{entry.place} has no tracks")
            for i, run in enumerate(runs):
                run.place = f"segment {manifest.segment}, pair run {i}"
                self._pair_run(number, manifest, span, run)
        self._holes()

    def _pair_run(self, number, manifest, span, run):
        track = self.tracks.get(run.number("track_id"))
        require(track is not None, f"{run.place}: its track is not listed")
        place = f"segment {manifest.segment}, {track.name}"
        named = [t for t in manifest.tracks if t.track_id == track.track_id]
        require(len(named) == 1, f"{place}: the manifest has no such track")
        require(named[0].side == track.side, f"{place}: its side")
        described = span.get(track.track_id)
        require(described is not None, f"{place}: the span has no such track")
        require(described.side == track.side
                and _SOURCES.get(described.source)
                == track.entry.text("source")
                and _CODECS.get(described.codec) == track.entry.text("codec"),
                f"{place} is not what its span describes")
        chunks = list(named[0].chunks) or [c.chunk for c in manifest.chunks]
        first, counts = run.number("first"), run.numbers("packets", least=1)
        end = first + len(counts)
        require(counts and end <= len(chunks),
                f"{place}: chunks {first} to {end} of {len(chunks)}")
        done = self.pairs.setdefault((number, track.track_id), [])
        require(not done or done[-1] < first, f"{place}: chunks twice")
        done += range(first, end)
        lines = self._packets(track, run, sum(counts), place)
        leaves, at = [], 0
        for chunk, count, salt in zip(chunks[first:end], counts, self._salts(
                run, chunks[first:end], len(chunks), place)):
            leaves.append(tlog_tree.leaf_hash(hashes.track_leaf(
                salt, self.proofs.session, chunk, track.track_id,
                lines[at:at + count])))
            at += count
        require(tlog_tree.root_with_others(
            len(chunks), first, leaves, run.hashes("others"), place)
            == named[0].root,
            f"{place}: the packets are not those that were recorded")
        track.lines += lines

    def _salts(self, run, chunks, all_chunks, place):
        if "salt" in run:
            require("salts" not in run and len(chunks) == all_chunks,
                    f"{place}: the track's salt for a part of it")
            whole = run.data("salt", 32)
            return [hashes.chunk_salt(whole, chunk) for chunk in chunks]
        salts = run.hashes("salts")
        require(len(salts) == len(chunks), f"{place}: {len(salts)} salts")
        return salts

    def _packets(self, track, run, count, place):
        before = after = 0
        if "boundary" in run:
            boundary = run.entry("boundary")
            before, after = boundary.number("before"), boundary.number("after")
            require(before + after <= count, f"{place}: its boundary")
        require(not track.ended and not (before and track.lines),
                f"{place}: packets that are not played lie amid others")
        track.ended = after > 0
        lines = [self._boundary_line(track, place) for _ in range(before)]
        middle = count - before - after
        if middle:
            stream = self._stream(track, run, place)
            lines += [self._media_line(track, stream, place)
                      for _ in range(middle)]
        lines += [self._boundary_line(track, place) for _ in range(after)]
        return lines

    def _boundary_line(self, track, place):
        at = self.boundary_at
        require(at + _BOUNDARY_HEAD.size <= len(self.boundary),
                f"{place}: boundary.bin is too short")
        track_id, pts_ms, flags, size = _BOUNDARY_HEAD.unpack_from(
            self.boundary, at)
        require(track_id == track.track_id,
                f"{place}: boundary.bin has another track at {at}")
        require(flags <= (1 if track.video else 0),
                f"{place}: boundary.bin has flags {flags} at {at}")
        at += _BOUNDARY_HEAD.size
        require(size <= min(_MAX_PAYLOAD, len(self.boundary) - at),
                f"{place}: boundary.bin is cut off at {at}")
        self.boundary_at = at + size
        track.times_ms.append(pts_ms)
        return hashes.packet_line(
            pts_ms, flags, size, hashes.sha256(self.boundary[at:at + size]))

    def _stream(self, track, run, place):
        number = run.number("stream")
        require(number < len(self.streams), f"{place}: stream {number}")
        used = self.streams[number]
        stream = used.stream
        require(stream.codec == track.entry.text("codec")
                and stream.video == track.video,
                f"{place}: stream {number} has another codec")
        if not used.compared:
            used.compared = True
            # Several spans where parameters change within the stream.
            require(any(_same_parameters(stream, span[track.track_id])
                        for span in self.disclosed.spans.values()
                        if track.track_id in span),
                    f"{place}: stream {number} has other codec parameters "
                    "than were recorded")
        return used

    def _media_line(self, track, used, place):
        require(used.next < len(used.stream.packets),
                f"{place}: stream {used.number} has too few packets")
        packet = used.stream.packets[used.next]
        used.next += 1
        pts_ms = self.origin_us // 1000 + round_ms(packet.time_ms)
        require(-(1 << 63) <= pts_ms < 1 << 63 and packet.size < 1 << 32,
                f"{place}: a packet's time or size")
        track.times_ms.append(pts_ms)
        payload = self.data[packet.offset:packet.offset + packet.size]
        return hashes.packet_line(pts_ms, int(track.video and packet.key),
                                  packet.size, hashes.sha256(payload))

    def _all_used(self):
        for used in self.streams:
            require(used.next == len(used.stream.packets),
                    f"stream {used.number} has "
                    f"{len(used.stream.packets) - used.next} packets that "
                    "nothing proves")
        require(self.boundary_at == len(self.boundary),
                "boundary.bin has more packets than are counted")
        for track in self.tracks.values():
            require(track.lines, f"{track.name} has no packets")

    def _holes(self):
        """Which of a track's chunks between its first and last are not here."""
        manifests = self.proofs.manifests
        unlinked = [i > 0 and proven.header.previous_manifest_sha256
                    != manifests[i - 1].sha256
                    for i, proven in enumerate(manifests)]
        self.incomplete = any(unlinked)
        for i, proven in enumerate(manifests):
            header = proven.header
            for named in header.tracks:
                total = len(named.chunks) or len(header.chunks)
                here = self.pairs.get((i, named.track_id), [])
                if len(here) == total:
                    continue
                self.incomplete = True
                track = self.tracks.get(named.track_id)
                numbers = [n for n, t in self.pairs if t == named.track_id]
                if track is None or not numbers:
                    continue
                inside = (min(numbers) < i < max(numbers) or (
                    len(here) > 0 and (
                        len(here) != here[-1] - here[0] + 1
                        or (i > min(numbers) and here[0] > 0)
                        or (i < max(numbers) and here[-1] + 1 < total))))
                require(not inside,
                        f"segment {header.segment}, {track.name}: chunks "
                        "amid the clip are not here")
                self.said.append(
                    f"Segment {header.segment}, {track.name}: "
                    f"{len(here)} of {total} chunks are here.")
        for track_id, track in self.tracks.items():
            numbers = [n for n, t in self.pairs if t == track_id]
            track.has_holes = track.has_holes or any(
                unlinked[min(numbers, default=0) + 1:
                         max(numbers, default=0) + 1])
        others = {n.track_id: n.side for m in manifests
                  for n in m.header.tracks}
        for track_id in sorted(set(others) - set(self.tracks)):
            self.said.append(f"Track {track_id} "
                             f"({_SIDES.get(others[track_id], 'unknown')}) "
                             "was left out.")

    # ---- What gateways signed ----

    def _raw_lines(self, track):
        """The packets' lines with the gateway's own times."""
        packed = track.entry.data("raw_ms")
        place = f"{track.name}, raw_ms"
        inflate = zlib.decompressobj()
        try:
            plain = inflate.decompress(packed, 10 * len(track.lines) + 1)
        except zlib.error:
            raise Untrue(f"{place} is not compressed right") from None
        require(inflate.eof and not inflate.unused_data,
                f"{place} has more or less than it should")
        at = difference = 0
        lines = []
        for line, time_ms in zip(track.lines, track.times_ms):
            value, at = stored_messages.read_varint(plain, at, place)
            difference += stored_messages.unzigzag(value)
            raw_ms = time_ms + difference
            require(-(1 << 63) <= raw_ms < 1 << 63, f"{place}: a time")
            lines.append(hashes.with_time(line, raw_ms))
        require(at == len(plain), f"{place} has more times than packets")
        return lines

    def _sources(self):
        runs = {}
        for run in self.proofs.evidence.entries("sources"):
            track = self.tracks.get(run.number("track_id"))
            require(track is not None, f"{run.place}: its track")
            runs.setdefault(track.track_id, []).append(run)
        for track in self.tracks.values():
            raw = self._raw_lines(track)
            previous = None
            for run in runs.get(track.track_id, []):
                count = run.number("packets", least=1)
                at = len(track.signers)
                require(at + count <= len(raw),
                        f"{run.place} has more packets than its track")
                signer, this = "", None
                if "record" in run:
                    this, signer = self._source_run(
                        track, run, raw[at:at + count])
                    self._follows(track, run, previous, this)
                elif previous is not None:
                    self._ends(track, run, previous)
                track.signers += [signer] * count
                previous = this
            require(len(track.signers) == len(raw),
                    f"{track.name}: sources do not cover all packets")

    def _source_run(self, track, run, lines):
        """((statement, first, end), who signed it)."""
        record = self.proofs.record(run, hashes.SOURCE_DIGEST).header
        statement = record.statement
        place = f"{run.place}, {track.name}"
        require(statement is not None and len(record.signature) == 64,
                f"{place}: the record has no statement or no signature")
        require((statement.track_id, statement.side)
                == (track.track_id, track.side),
                f"{place}: the statement is of another track")
        first = run.number("first")
        require(first + len(lines) <= statement.packets
                and len(statement.root) == 32,
                f"{place}: the statement is of fewer packets")
        root = tlog_tree.root_with_others(
            statement.packets, first,
            [tlog_tree.leaf_hash(line) for line in lines],
            run.hashes("others"), place)
        require(root == statement.root,
                f"{place}: the packets are not those that were signed")
        return (statement, first, first + len(lines)), self._signer(record,
                                                                    place)

    def _signer(self, record, place):
        prefix = f"{self.proofs.origin}/gateway/"
        known = [k for k in self.keys
                 if k.kind == signed_note.ED25519
                 and k.name.startswith(prefix)
                 and k.short_id == record.key_id]
        if not known:
            self.said.append(f"{place}: signed by a key that is not known "
                             "here.")
            return ""
        message = hashes.statement_bytes(
            self.proofs.archive, self.proofs.session, record.statement)
        require(any(signed_note.verify_ed25519(k.public_key, record.signature,
                                               message) for k in known),
                f"{place}: the signature of {known[0].name} is wrong")
        return known[0].name.removeprefix(prefix)

    def _follows(self, track, run, previous, this):
        """A statement's packets lie together, unless chunks are left out."""
        statement, first, _ = this
        if previous is not None:
            earlier, _, end = previous
            if earlier is statement:
                require(first >= end if track.has_holes else first == end,
                        f"{run.place}: the statement's packets are not in "
                        "their order")
                return
            require(earlier.last_sequence < statement.first_sequence,
                    f"{run.place}: the statement comes before the last")
            self._ends(track, run, previous)
        if track.signers:
            require(track.has_holes or first == 0,
                    f"{run.place}: {first} signed packets are missing before")

    def _ends(self, track, run, previous):
        statement, _, end = previous
        require(track.has_holes or end == statement.packets,
                f"{run.place}: {statement.packets - end} signed packets are "
                "missing before")


def _same_parameters(stream, described):
    """Whether the container says of a codec what a span says."""
    if stream.config is not None:
        wanted, found = described.codec_config, stream.config
        if stream.codec == "opus" and len(wanted) > 8:
            # MP4 keeps all of an OpusHead but its version.
            wanted, found = wanted[:8] + wanted[9:], found[:8] + found[9:]
        if wanted != found:
            return False
    return not stream.video or ((stream.width, stream.height)
                                == (described.width, described.height))
