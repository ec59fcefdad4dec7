"""A bundle made by hand, for the self test: as little as shows every rule.

Two tracks, three segments of two chunks, a clip from the second chunk to the
fifth, notes, an attachment, statements of the gateway, a witness, an anchor.
Nothing here is secret: the keys are hashes of their names.
"""

import base64
import hashlib
import json
import pathlib
import re
import shutil
import struct
import uuid
import zlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (Encoding,
                                                          PublicFormat)

import evidence_hashes as hashes
import json_entry
import signed_note
import stored_messages
import tlog_tree

ARCHIVE = uuid.UUID("7f0f4fd1-3c22-4b3e-9d0a-0d3f4c6f1a11")
SESSION = uuid.UUID("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed")
START_US = 1_790_000_000_000_000
ORIGIN = f"diptych/{ARCHIVE}"
GATEWAY = f"{ORIGIN}/gateway/hall-3"
WITNESS = "witness.example/w1"
_SCHEMA = stored_messages.stored_reader().schema
_CHUNK_MS = 1000
_VIDEO, _AUDIO = 1, 2
_OPUS_HEAD = b"OpusHead\1\1" + struct.pack("<HIhB", 0, 48000, 0, 0)


def b64(data):
    return base64.b64encode(data).decode("ascii")


def salt_of(name):
    return hashlib.sha256(b"salt " + name.encode()).digest()


def _varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode(name, **values):
    """A message of proto/stored/v1 in the wire format."""
    out = b""
    for number, field in sorted(_SCHEMA.messages[name].items()):
        for value in (values.pop(field.name, []) if field.repeated
                      else [values.pop(field.name, None)]):
            if isinstance(value, str):
                value = value.encode("utf-8")
            if isinstance(value, bytes):
                if value or field.repeated or field.type in _SCHEMA.messages:
                    out += (_varint(number << 3 | 2) + _varint(len(value))
                            + value)
            elif value or (value is not None and field.repeated):
                out += _varint(number << 3) + _varint(int(value))
    assert not values, values
    return out


def pack(data):
    """evidence.json as a bundle has it."""
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return (json_entry.GZIP_HEAD + deflate.compress(data) + deflate.flush()
            + struct.pack("<II", zlib.crc32(data), len(data)))


class Key:
    def __init__(self, name, kind=signed_note.ED25519):
        self.private = Ed25519PrivateKey.from_private_bytes(
            hashlib.sha256(name.encode()).digest())
        public = self.private.public_key().public_bytes(Encoding.Raw,
                                                        PublicFormat.Raw)
        self.public = signed_note.VerifierKey(name, kind, public)

    @property
    def text(self):
        key = self.public
        return (f"{key.name}+{key.id.hex()}+"
                f"{b64(bytes([key.kind]) + key.public_key)}")

    def sign(self, data):
        return self.private.sign(data)

    def line(self, text, time_s=None):
        """Its signature's line on a note."""
        message, head = text.encode(), b""
        if time_s is not None:
            message = b"cosignature/v1\ntime %d\n" % time_s + message
            head = struct.pack(">Q", time_s)
        return (f"\u2014 {self.public.name} "
                f"{b64(self.public.id + head + self.sign(message))}\n")


def inclusion_path(leaves, index):
    """RFC 6962, 2.1.1, over leaf hashes."""
    if len(leaves) == 1:
        return []
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    if index < k:
        return inclusion_path(leaves[:k], index) + [
            tlog_tree.root_of_hashes(leaves[k:])]
    return inclusion_path(leaves[k:], index - k) + [
        tlog_tree.root_of_hashes(leaves[:k])]


def consistency_path(leaves, size, whole=True):
    """RFC 6962, 2.1.2, over leaf hashes."""
    if size == len(leaves):
        return [] if whole else [tlog_tree.root_of_hashes(leaves)]
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    if size <= k:
        return consistency_path(leaves[:k], size, whole) + [
            tlog_tree.root_of_hashes(leaves[k:])]
    return consistency_path(leaves[k:], size - k, False) + [
        tlog_tree.root_of_hashes(leaves[:k])]


def others_of(leaves, first, end):
    """FORMAT.md, "Ranges of a tree", over leaf hashes."""
    def walk(low, high):
        if high <= first or end <= low:
            return [tlog_tree.root_of_hashes(leaves[low:high])]
        if high == low + 1:
            return []
        k = low + (1 << ((high - low - 1).bit_length() - 1))
        return walk(low, k) + walk(k, high)
    return walk(0, len(leaves))


def element(identity, content):
    """An EBML element."""
    size = len(content).bit_length() // 7 + 1
    return (identity.to_bytes((identity.bit_length() + 7) // 8, "big")
            + (len(content) | 1 << 7 * size).to_bytes(size, "big") + content)


class Packet:
    def __init__(self, track, number, time_ms, key):
        self.time_ms = time_ms
        self.key = key
        self.payload = (f"payload {track} {number} ".encode()
                        + bytes([number % 251]) * (20 + number % 7))

    def line(self, time_ms=None):
        return hashes.packet_line(
            self.time_ms if time_ms is None else time_ms, int(self.key),
            len(self.payload), hashes.sha256(self.payload))


class TinyBundle:
    """Its parts are attributes that a test may change before `write`."""

    def __init__(self):
        self.log_key = Key(ORIGIN)
        self.gateway = Key(GATEWAY)
        self.witness = Key(WITNESS, signed_note.COSIGNATURE)
        self.position = 4096
        self.leaves = [tlog_tree.leaf_hash(b"filler %d" % i)
                       for i in range(5)]
        self.records = []
        self.unnamed = []
        self.raw_ms = {t: (lambda ms, t=t: ms + 37 * t + ms // 700)
                       for t in (_VIDEO, _AUDIO)}
        self.packets = {
            _VIDEO: [Packet(1, i, i * 100, i % 13 == 0) for i in range(60)],
            _AUDIO: [Packet(2, i, i * 50 + 3, False) for i in range(120)],
        }
        self.files = {}
        self.evidence = {}
        self._log()
        self._proofs()
        self._clip()

    # ---- What the archive recorded ----

    def append(self, kind, header, body=b"", disclose=False):
        """Writes a record; (position, digest)."""
        digest = hashes.record_digest(kind, header, hashes.sha256(body))
        position, self.position = self.position, (
            self.position + 48 + len(header) + len(body))
        if kind in hashes.LEAVES:
            self.leaves.append(hashes.log_leaf_hash(position, digest))
        if kind not in (hashes.CHUNK, hashes.SEGMENT, hashes.SESSION_CLOSED,
                        hashes.ACCESS):
            self.unnamed.append(digest)
        if disclose:
            entry = {"type": kind, "header": b64(header)}
            if body:
                entry["body_sha256"] = b64(hashes.sha256(body))
            self.records.append(entry)
        return position, digest

    def chunk_of(self, track, chunk):
        return [p for p in self.packets[track]
                if p.time_ms // _CHUNK_MS == chunk]

    def leaf(self, track, chunk):
        salt = hashes.chunk_salt(self.track_salt(track, chunk // 2), chunk)
        return tlog_tree.leaf_hash(hashes.track_leaf(
            salt, SESSION.bytes, chunk, track,
            [p.line() for p in self.chunk_of(track, chunk)]))

    @staticmethod
    def track_salt(track, segment):
        return salt_of(f"track {track} {segment}")

    def _log(self):
        session = SESSION.bytes
        self.opened_header = encode(
            "SessionOpened", session_id=session, epoch=1,
            start_time_us=START_US, gateway="hall-3",
            key_wraps_digest=salt_of("wraps"))
        self.opened = self.append(hashes.SESSION_OPENED, self.opened_header)
        self.opened_index = len(self.leaves) - 1
        self._span()
        self._notes_and_attachment()
        self.manifests = []
        previous = b""
        self.anchor_size = len(self.leaves)
        for segment in range(3):
            header = self._segment(segment, previous)
            position, _ = self.append(hashes.SEGMENT, header)
            self.unnamed = []
            self.manifests.append((header, position, len(self.leaves) - 1))
            previous = hashes.sha256(header)
        self.unnamed = []
        self.closed_header = encode(
            "SessionClosed", session_id=session, epoch=1, reason=1,
            sides=[encode("SideTotals", side=1, last_sequence=60, last_note=6,
                          packets=60, ended=True),
                   encode("SideTotals", side=2, last_sequence=120,
                          last_note=2, packets=120, ended=True)],
            segments=3, manifest_sha256=previous)
        self.closed = self.append(hashes.SESSION_CLOSED, self.closed_header)
        self.closed_index = len(self.leaves) - 1
        self.access_record = encode(
            "AccessRecord", principal="auditor", action="Media.ReadBundle",
            session_id=session, from_us=1_000_000, to_us=5_000_000,
            purpose="a test", time_us=START_US + 10**9,
            salt=salt_of("access"))
        self.access_header = encode(
            "Access", commitment=hashes.access_commitment(self.access_record))
        self.access_body = b"envelope"
        self.access = self.append(hashes.ACCESS, self.access_header,
                                  self.access_body)
        self.access_index = len(self.leaves) - 1
        self.append(hashes.KEYS_CHANGED,
                    encode("KeysChanged", action="rotate"))

    def _span(self):
        self.description = encode("SpanDescription", tracks=[
            encode("Track", track_id=_VIDEO, side=1, source=1, codec=3,
                   width=320, height=240),
            encode("Track", track_id=_AUDIO, side=2, source=2, codec=16,
                   codec_config=_OPUS_HEAD, sample_rate_hz=48000,
                   channels=1)])
        self.append(hashes.SPAN_STARTED, encode(
            "SpanStarted", session_id=SESSION.bytes, epoch=1, span=7,
            commitment=hashes.span_commitment(
                salt_of("span"), SESSION.bytes, 7, self.description)),
            b"sealed span", disclose=True)

    def _notes_and_attachment(self):
        session = SESSION.bytes
        self.document = bytes(range(256)) * 3
        self.notes = [
            encode("Note", note=1, at_us=5, tag=encode(
                "TagUpdate", key="item", values=["0417"], operation=2)),
            encode("Note", note=2, at_us=2_000_000, event=encode(
                "Event", type="document_captured", attachment_id=3,
                attachment_bytes=len(self.document),
                attachment_name="form.png"))]
        self.append(hashes.NOTES, encode(
            "Notes", session_id=session, epoch=1, side=1, first_note=1,
            last_note=2, commitments=[hashes.note_commitment(
                salt_of(f"note {i}"), session, 1, i, note)
                for i, note in enumerate(self.notes, 1)]),
            b"sealed notes", disclose=True)
        for i, (start, end) in enumerate(((0, 500), (500, 768))):
            data = self.document[start:end]
            self.append(hashes.ATTACHMENT_PART, encode(
                "AttachmentPart", session_id=session, epoch=1, side=1,
                note=3 + i, attachment_id=3, offset=start,
                commitment=hashes.part_commitment(
                    salt_of(f"part {i}"), session, 3, start, data)),
                b"sealed part", disclose=True)
        self.statements = {}
        for track, side, note in ((_VIDEO, 1, 5), (_AUDIO, 2, 1)):
            for i in range(2):
                self._statement(track, side, note + i, i)

    def _statement(self, track, side, note, half):
        packets = self.packets[track]
        middle = len(packets) // 2
        part = packets[half * middle:(half + 1) * middle]
        raw = self.raw_ms[track]
        lines = [tlog_tree.leaf_hash(p.line(raw(p.time_ms))) for p in part]
        values = {"side": side, "track_id": track,
                  "first_sequence": half * middle + 1,
                  "last_sequence": (half + 1) * middle,
                  "packets": len(part),
                  "root": tlog_tree.root_of_hashes(lines),
                  "signed_time_us": START_US + 3_000_000 * (half + 1)}
        message = hashes.statement_bytes(
            ARCHIVE.bytes, SESSION.bytes,
            stored_messages.Message("SourceStatement", values))
        self.statements[track, half] = (len(self.records), lines)
        self.append(hashes.SOURCE_DIGEST, encode(
            "SourceDigest", session_id=SESSION.bytes, epoch=1, note=note,
            statement=encode("SourceStatement", **values),
            signature=self.gateway.sign(message),
            key_id=self.gateway.public.short_id), disclose=True)

    def _segment(self, segment, previous):
        chunks = [2 * segment, 2 * segment + 1]
        return encode(
            "Segment", session_id=SESSION.bytes, epoch=1, span=7,
            segment=segment, previous_manifest_sha256=previous,
            start_us=chunks[0] * 10**6, end_us=(chunks[1] + 1) * 10**6,
            chunks=[encode("SegmentChunk", chunk=c,
                           digest=salt_of(f"chunk {c}")) for c in chunks],
            tracks=[encode("SegmentTrack", track_id=t, side=t,
                           root=tlog_tree.root_of_hashes(
                               [self.leaf(t, c) for c in chunks]))
                    for t in (_VIDEO, _AUDIO)],
            records=self.unnamed)

    # ---- What the bundle shows of it ----

    def _checkpoint(self, size, time_s=1_790_000_900):
        root = tlog_tree.root_of_hashes(self.leaves[:size])
        text = f"{ORIGIN}\n{size}\n{b64(root)}\n"
        return (text + "\n" + self.log_key.line(text)
                + self.witness.line(text, time_s)).encode()

    def _proof(self, name, index):
        self.files[f"proofs/{name}.tlog-proof"] = "".join(
            ["c2sp.org/tlog-proof@v1\n", f"index {index}\n",
             *(b64(h) + "\n" for h in inclusion_path(self.leaves, index)),
             "\n"]).encode() + self.files["checkpoint"]
        return f"proofs/{name}.tlog-proof"

    def _proofs(self):
        size = len(self.leaves)
        self.files["checkpoint"] = self._checkpoint(size)
        self.files["anchors/1.checkpoint"] = self._checkpoint(
            self.anchor_size, 1_790_000_001)
        self.files["report.html"] = b"<html>a report</html>\n"
        self.files["attachments/3-form.png"] = self.document
        manifests = [{"header": b64(h)} for h, _, _ in self.manifests]
        manifests[2] |= {"position": self.manifests[2][1],
                         "proof": self._proof("segment-2",
                                              self.manifests[2][2])}
        self.evidence |= {
            "format": "diptych-evidence-1", "archive": str(ARCHIVE),
            "session": str(SESSION), "start_time_us": START_US,
            "from_us": 1_000_000, "to_us": 5_000_000,
            "manifests": manifests,
            "opened": {"header": b64(self.opened_header),
                       "position": self.opened[0],
                       "proof": self._proof("opened", self.opened_index)},
            "closed": {"header": b64(self.closed_header),
                       "position": self.closed[0],
                       "proof": self._proof("closed", self.closed_index)},
            "records": self.records,
            "spans": [{"record": 0, "salt": b64(salt_of("span")),
                       "description": b64(self.description)}],
            "notes": [{"record": 1, "at": i, "note": b64(note),
                       "salt": b64(salt_of(f"note {i + 1}"))}
                      for i, note in enumerate(self.notes)],
            "attachments": [
                {"record": 2, "salt": b64(salt_of("part 0")), "bytes": 500,
                 "file": "attachments/3-form.png"},
                {"record": 3, "salt": b64(salt_of("part 1")), "offset": 500,
                 "file": "attachments/3-form.png", "bytes": 268}],
            "access": {"header": b64(self.access_header),
                       "body_sha256": b64(hashes.sha256(self.access_body)),
                       "position": self.access[0],
                       "proof": self._proof("access", self.access_index),
                       "record": b64(self.access_record)},
            "anchors": [{"checkpoint": "anchors/1.checkpoint",
                         "consistency": [b64(h) for h in consistency_path(
                             self.leaves, self.anchor_size)]}],
        }

    def _clip(self):
        """Chunks 1 to 4; three pictures before it and two sounds behind it
        are not played."""
        boundary, played = b"", []
        segments, sources = [], []
        for segment, chunks in enumerate(((1,), (2, 3), (4,))):
            runs = []
            for track in (_VIDEO, _AUDIO):
                run, head, media = self._pair_run(track, segment, chunks)
                runs.append(run)
                boundary += head
                played += media
            segments.append({"manifest": segment, "tracks": runs})
        tracks = []
        for track, words in ((_VIDEO, ("resident", "camera", "vp8", True)),
                             (_AUDIO, ("clerk", "microphone", "opus",
                                       False))):
            tracks.append(dict(zip(("side", "source", "codec", "video"),
                                   words), track_id=track,
                               raw_ms=b64(self._raw(track))))
            sources += self._sources(track)
        self.files["boundary.bin"] = boundary
        self.files["media.mkv"] = self.matroska(played)
        self.evidence |= {
            "media": {"file": "media.mkv", "container": "matroska",
                      "origin_us": 1_000_000},
            "tracks": tracks, "segments": segments, "sources": sources}

    def _pair_run(self, track, segment, chunks):
        packets = [self.chunk_of(track, c) for c in chunks]
        flat = [p for part in packets for p in part]
        leaves = [self.leaf(track, c) for c in (2 * segment, 2 * segment + 1)]
        first = chunks[0] - 2 * segment
        run = {"track_id": track, "stream": track - 1,
               "packets": [len(p) for p in packets],
               "others": [b64(h) for h in
                          others_of(leaves, first, first + len(chunks))]}
        if first:
            run["first"] = first
        if len(chunks) == 2:
            run["salt"] = b64(self.track_salt(track, segment))
        else:
            run["salts"] = [b64(hashes.chunk_salt(
                self.track_salt(track, segment), c)) for c in chunks]
        head = tail = 0
        if (track, segment) == (_VIDEO, 0):
            head, run["boundary"] = 3, {"before": 3}
        if (track, segment) == (_AUDIO, 2):
            tail, run["boundary"] = 2, {"after": 2}
        aside = flat[:head] + flat[len(flat) - tail:]
        return run, b"".join(
            struct.pack(">IqBI", track, p.time_ms, int(p.key),
                        len(p.payload)) + p.payload
            for p in aside), [(track, p) for p in
                              flat[head:len(flat) - tail]]

    def clip(self, track):
        return [p for c in range(1, 5) for p in self.chunk_of(track, c)]

    def _raw(self, track):
        out, last = b"", 0
        for packet in self.clip(track):
            offset = self.raw_ms[track](packet.time_ms) - packet.time_ms
            step, last = offset - last, offset
            out += _varint(step << 1 ^ step >> 63)
        return zlib.compress(out)

    def _sources(self, track):
        """Each statement's second and first two thirds."""
        runs = []
        size = len(self.packets[track]) // 2
        third = size // 3
        for half, (first, end) in enumerate(((third, size),
                                             (0, size - third))):
            record, lines = self.statements[track, half]
            runs.append({"track_id": track, "packets": end - first,
                         "record": record, "first": first,
                         "others": [b64(h) for h in
                                    others_of(lines, first, end)]})
        return runs

    @staticmethod
    def matroska(played):
        """A file with one Cluster for each packet."""
        entries = (
            element(0xAE, element(0xD7, b"\1") + element(0x83, b"\1")
                    + element(0x86, b"V_VP8") + element(
                        0xE0, element(0xB0, b"\1\x40") + element(0xBA,
                                                                 b"\xF0")))
            + element(0xAE, element(0xD7, b"\2") + element(0x83, b"\2")
                      + element(0x86, b"A_OPUS") + element(0x63A2, _OPUS_HEAD)
                      + element(0xE1, element(0x9F, b"\1"))))
        content = (element(0x1549A966, element(0x2AD7B1,
                                               (10**6).to_bytes(3, "big")))
                   + element(0x1654AE6B, entries))
        for track, packet in played:
            time_ms = packet.time_ms - 1000
            block = (bytes([0x80 | track]) + struct.pack(">h", 0)
                     + bytes([0x80 if packet.key or track == _AUDIO else 0])
                     + packet.payload)
            content += element(0x1F43B675, element(
                0xE7, time_ms.to_bytes(2, "big")) + element(0xA3, block))
        return (element(0x1A45DFA3, element(0x4282, b"matroska"))
                + element(0x18538067, content))

    # ---- On disk ----

    def keys(self):
        return [k.public for k in (self.log_key, self.gateway, self.witness)]

    def write(self, folder):
        """Makes the folder anew, with its lists of hashes."""
        folder = pathlib.Path(folder)
        shutil.rmtree(folder, ignore_errors=True)
        files = dict(self.files)
        files["evidence.json.gz"] = pack(json.dumps(
            self.evidence, separators=(",", ":")).encode())
        for name, data in files.items():
            path = folder / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        write_lists(folder, rewrite_info=True)


def write_lists(folder, rewrite_info=False):
    """Makes a bundle's lists of hashes again, as a forger would."""
    folder = pathlib.Path(folder)
    payload = sorted(p for p in (folder / "data").rglob("*") if p.is_file())
    if rewrite_info:
        (folder / "bagit.txt").write_text(
            "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")
        (folder / "bag-info.txt").write_text(
            f"Source-Organization: {ORIGIN}\nBagging-Date: 2026-09-21\n"
            f"External-Identifier: {SESSION}\nPayload-Oxum: 0.0\n")
    info = (folder / "bag-info.txt").read_bytes()
    (folder / "bag-info.txt").write_bytes(re.sub(
        rb"Payload-Oxum: \d+\.\d+", b"Payload-Oxum: %d.%d" % (
            sum(p.stat().st_size for p in payload), len(payload)), info))
    for name, paths in (
            ("manifest-sha256.txt", payload),
            ("tagmanifest-sha256.txt", [
                folder / n for n in ("bag-info.txt", "bagit.txt",
                                     "manifest-sha256.txt")])):
        lines = sorted(
            (p.relative_to(folder).as_posix(),
             hashlib.sha256(p.read_bytes()).hexdigest()) for p in paths)
        (folder / name).write_text(
            "".join(f"{digest}  {path}\n" for path, digest in lines))
