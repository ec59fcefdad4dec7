"""What of a bundle the log's signature stands for.

Checkpoint, anchors, the records that are leaves, the chain of manifests, and
the records that these name ("What a verifier shows", 2 to 4 and 8).
"""

import dataclasses
import datetime
import re
import uuid

import evidence_hashes as hashes
import signed_note
import time_stamp
import tlog_tree
from untrue import require

_MAX_SMALL = 1 << 20
_UUID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ANCHOR = re.compile(r"anchors/(\d+)\.(checkpoint|tsr)")
_PROOF = re.compile(r"proofs/[A-Za-z0-9._-]+\.tlog-proof")
# Kinds that a manifest or a closing names among its records. A resumed
# opening is one of them.
_NAMED = {hashes.SESSION_OPENED, hashes.SPAN_STARTED, hashes.NOTES,
          hashes.ATTACHMENT_PART, hashes.STATE_CHANGED, hashes.CLOCK_CHANGED,
          hashes.SOURCE_DIGEST}


def parse_uuid(text, place):
    require(_UUID.fullmatch(text) is not None, f"{place} is no UUID")
    return uuid.UUID(text).bytes


@dataclasses.dataclass
class Proven:
    """A record that the tree has, by itself or by a manifest's naming."""
    place: str
    header: object
    digest: bytes
    # SHA-256 of the header.
    sha256: bytes
    # Of those with a proof of their own.
    position: int = None
    index: int = None


@dataclasses.dataclass
class Disclosed:
    place: str
    kind: int
    header: object
    digest: bytes


class Proofs:
    """Checks all of this; what it found are its attributes."""

    def __init__(self, bag, evidence, reader, keys, authorities):
        self.bag = bag
        self.evidence = evidence
        self.reader = reader
        self.keys = keys
        self.authorities = authorities
        self.used = {"evidence.json.gz", "checkpoint", "report.html"}
        self.said = []
        require(evidence.text("format") == "diptych-evidence-1",
                "evidence.json has another format")
        self.archive = parse_uuid(evidence.text("archive"), "archive")
        self.session = parse_uuid(evidence.text("session"), "session")
        require((bag.archive, bag.session) == (evidence.text("archive"),
                                               evidence.text("session")),
                "bag-info.txt is of another archive or session")
        self.origin = f"diptych/{evidence.text('archive')}"
        self._checkpoint()
        self._anchors()
        self._opening()
        self._manifests()
        self._closing()
        self._access()
        self._order()
        self._records()

    def read(self, name, most=_MAX_SMALL):
        self.used.add(name)
        return self.bag.read("data/" + name, most)

    # ---- Who vouches ----

    def _vouched(self, checkpoint, place):
        """Raises unless the log signed it; names of known witnesses."""
        require(checkpoint.origin == self.origin,
                f"{place} is of another log")
        require(checkpoint.size > 0, f"{place} is of an empty tree")
        signed = False
        witnesses = []
        for key in self.keys:
            ours = (key.kind == signed_note.ED25519
                    and key.name == self.origin)
            if not ours and key.kind != signed_note.COSIGNATURE:
                continue
            said = signed_note.verify_note(checkpoint.note, key, place)
            if ours:
                signed = signed or bool(said)
            elif said is not None:
                moment = datetime.datetime.utcfromtimestamp(
                    min(said, 253402300799))
                witnesses.append(f"{key.name} at {moment.isoformat()}Z")
        require(signed, f"{place} is not signed by a known key of its log")
        return witnesses

    def _checkpoint(self):
        data = self.read("checkpoint")
        self.checkpoint = signed_note.parse_checkpoint(data, "checkpoint")
        witnesses = self._vouched(self.checkpoint, "checkpoint")
        self.said.append(f"The log {self.origin} signed a tree of "
                         f"{self.checkpoint.size} leaves.")
        for witness in witnesses:
            self.said.append(f"Cosigned by {witness}.")
        if not witnesses:
            self.said.append("No known witness cosigned it.")

    def _anchors(self):
        seen = set()
        for anchor in self.evidence.entries("anchors"):
            name = anchor.text("checkpoint")
            match = _ANCHOR.fullmatch(name)
            require(match is not None and match[2] == "checkpoint"
                    and name not in seen, f"{anchor.place}: its checkpoint")
            seen.add(name)
            data = self.read(name)
            earlier = signed_note.parse_checkpoint(data, name)
            vouchers = self._vouched(earlier, name)
            tlog_tree.check_consistency(
                earlier.size, earlier.root, self.checkpoint.size,
                self.checkpoint.root, anchor.hashes("consistency"), name)
            if "timestamp" in anchor:
                stamp = anchor.text("timestamp")
                require(stamp == f"anchors/{match[1]}.tsr",
                        f"{anchor.place}: its time stamp")
                moment = time_stamp.read_time_stamp(
                    self.read(stamp), hashes.sha256(data), stamp)
                if self.authorities:
                    time_stamp.check_authority(
                        self.bag.path("data/" + stamp),
                        self.bag.path("data/" + name), self.authorities,
                        stamp)
                    vouchers.append(f"a time-stamp authority at {moment}")
                else:
                    self.said.append(f"A time stamp of {moment} is there; no "
                                     "authority was given to check it.")
            for voucher in vouchers:
                self.said.append(f"An earlier tree of {earlier.size} leaves "
                                 f"is vouched for by {voucher}.")

    # ---- Leaves ----

    def _inclusion(self, entry, proven):
        """Checks the proof that an entry names."""
        name = entry.text("proof")
        require(_PROOF.fullmatch(name) is not None and name not in self.used,
                f"{entry.place}: its proof's name")
        proof = signed_note.parse_proof(self.read(name), name)
        require(proof.checkpoint.note.text == self.checkpoint.note.text
                and set(proof.checkpoint.note.lines)
                <= set(self.checkpoint.note.lines),
                f"{name} leads to another checkpoint")
        proven.position = entry.number("position")
        proven.index = proof.index
        tlog_tree.check_inclusion(
            hashes.log_leaf_hash(proven.position, proven.digest),
            proof.index, self.checkpoint.size, list(proof.hashes),
            self.checkpoint.root, f"{entry.place} ({name})")
        return proven

    def _read(self, entry, kind, body_hash=hashes.NOTHING):
        data = entry.data("header")
        header = self.reader.read(hashes.HEADERS[kind], data, entry.place)
        if kind != hashes.ACCESS:
            require(header.session_id == self.session,
                    f"{entry.place} is of another session")
        return Proven(entry.place, header,
                      hashes.record_digest(kind, data, body_hash),
                      hashes.sha256(data))

    def _opening(self):
        entry = self.evidence.entry("opened")
        self.opened = self._inclusion(
            entry, self._read(entry, hashes.SESSION_OPENED))
        header = self.opened.header
        require(not header.resumed, "opened is a resumption")
        require(header.start_time_us == self.evidence.number(
            "start_time_us", least=-(1 << 63)),
                "start_time_us is not what opened says")
        self.said.append(f"The session was opened by {header.gateway}.")

    def _manifests(self):
        """A manifest is in the tree, or the next one names it."""
        entries = self.evidence.entries("manifests")
        require(entries, "there are no manifests")
        self.manifests = []
        for entry in entries:
            proven = self._read(entry, hashes.SEGMENT)
            if "proof" in entry:
                self._inclusion(entry, proven)
            self.manifests.append(proven)
        for i, this in enumerate(self.manifests):
            following = (self.manifests[i + 1]
                         if i + 1 < len(self.manifests) else None)
            named = False
            if following is not None:
                require(this.header.segment < following.header.segment
                        and this.header.epoch <= following.header.epoch,
                        f"{following.place} is out of order")
                named = (following.header.previous_manifest_sha256
                         == this.sha256)
                require(named or this.header.segment + 1
                        < following.header.segment,
                        f"{following.place} does not name the manifest "
                        "before it")
            require(named or this.index is not None,
                    f"{this.place} is neither proven nor named by the next")
        first = self.manifests[0].header
        if not first.previous_manifest_sha256:
            require(first.records[:1] == [self.opened.digest],
                    "the first manifest does not begin with the opening")
        require(first.epoch >= self.opened.header.epoch,
                "the first manifest is older than the session")

    def _closing(self):
        self.closed = None
        require("closed" in self.evidence, "closed is missing")
        if self.evidence.raw("closed") is None:
            self.said.append("The session was open; nothing says how it "
                             "ended.")
            return
        entry = self.evidence.entry("closed")
        self.closed = self._inclusion(
            entry, self._read(entry, hashes.SESSION_CLOSED))
        last = self.manifests[-1]
        header = self.closed.header
        self.reaches_end = header.manifest_sha256 == last.sha256
        require(all(m.sha256 != header.manifest_sha256
                    for m in self.manifests[:-1]),
                "closed names a manifest that is not the last")
        require(last.header.segment < header.segments,
                "closed says that there were fewer segments")
        require(self.reaches_end
                == (last.header.segment + 1 == header.segments),
                "closed names another manifest as the last")

    reaches_end = False

    def _access(self):
        entry = self.evidence.entry("access")
        self.access = self._inclusion(entry, self._read(
            entry, hashes.ACCESS, entry.data("body_sha256", 32)))
        data = entry.data("record")
        require(hashes.access_commitment(data)
                == self.access.header.commitment,
                "access: the record is not what was committed to")
        record = self.access_record = self.reader.read(
            "AccessRecord", data, "access")
        require(record.session_id == self.session,
                "access is of another session")
        require(len(record.salt) == 32, "access: its salt's length")
        require(0 <= record.time_us < 253402300800 * 10**6,
                "access: its time")
        moment = datetime.datetime.utcfromtimestamp(record.time_us // 10**6)
        require(self.bag.date == moment.strftime("%Y-%m-%d"),
                "bag-info.txt: its date is not that of the access")
        self.said.append(f"Exported by {record.principal} "
                         f"({record.action}) at {moment.isoformat()}Z, and "
                         "that is in the log.")

    def _order(self):
        """Leaves are in the order of the log."""
        proven = [self.opened, *self.manifests]
        proven += [self.closed] if self.closed else []
        own = [p for p in proven if p.index is not None]
        for before, after in zip(own, own[1:]):
            require(before.position < after.position
                    and before.index < after.index,
                    f"{after.place} lies before {before.place} in the log")
        everything = sorted([*own, self.access], key=lambda p: p.index)
        for before, after in zip(everything, everything[1:]):
            require(before.position < after.position
                    and before.index < after.index,
                    f"{after.place} and {before.place} are at odds about "
                    "their order")

    # ---- Records ----

    def _records(self):
        named, chunks = set(), {}
        for manifest in self.manifests:
            named.update(manifest.header.records)
            chunks.update({c.digest: c.chunk for c in manifest.header.chunks})
        if self.closed:
            named.update(self.closed.header.records)
        self.records = []
        seen = set()
        for entry in self.evidence.entries("records"):
            kind = entry.number("type", most=255)
            require(kind in _NAMED or kind == hashes.CHUNK,
                    f"{entry.place} is of type {kind}")
            data = entry.data("header")
            body_hash = (entry.data("body_sha256", 32)
                         if "body_sha256" in entry else hashes.NOTHING)
            require(kind not in hashes.BARE or body_hash == hashes.NOTHING,
                    f"{entry.place} has a body")
            header = self.reader.read(hashes.HEADERS[kind], data, entry.place)
            require(header.session_id == self.session,
                    f"{entry.place} is of another session")
            digest = hashes.record_digest(kind, data, body_hash)
            if kind == hashes.CHUNK:
                require(chunks.get(digest) == header.chunk,
                        f"{entry.place}: no manifest names it")
            else:
                require(digest in named, f"{entry.place}: nothing names it")
            require(digest not in seen, f"{entry.place} is there twice")
            seen.add(digest)
            self.records.append(Disclosed(entry.place, kind, header, digest))
        withheld = len(named - seen - {self.opened.digest})
        if withheld:
            self.said.append(f"{withheld} of the records that the manifests "
                             "name are not shown.")

    def record(self, entry, kind):
        """The disclosed record that an entry names."""
        number = entry.number("record")
        require(number < len(self.records),
                f"{entry.place}: there is no record {number}")
        record = self.records[number]
        require(record.kind == kind,
                f"{entry.place}: its record is of type {record.kind}")
        return record
