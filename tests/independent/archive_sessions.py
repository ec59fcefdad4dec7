"""The sessions of a log, folded record by record without any key.

What archiver/evidence/FORMAT.md and archiver/log/FORMAT.md say of their order,
their numbers and their manifests, checked over every record.
"""

import dataclasses

import evidence_hashes as hashes
import signed_note
import tlog_tree
from untrue import require

# A sealed body's nonce and tag.
_MIN_SEALED = 24 + 16
_SEALED = {hashes.SPAN_STARTED, hashes.CHUNK, hashes.NOTES,
           hashes.ATTACHMENT_PART}


@dataclasses.dataclass
class _Side:
    last_sequence: int = 0
    payload_bytes: int = 0
    packets: int = 0
    last_note: int = 0


@dataclasses.dataclass
class _Session:
    name: str
    epoch: int
    start_time_us: int
    # Digests of records that no manifest names yet.
    records: list = dataclasses.field(default_factory=list)
    # Chunks that no manifest names yet.
    chunks: list = dataclasses.field(default_factory=list)
    next_chunk: int = 0
    # The latest segment that has a manifest, and of any chunk.
    named_segment: int = -1
    segment: int = 0
    manifest_sha256: bytes = b""
    spans: set = dataclasses.field(default_factory=set)
    sides: dict = dataclasses.field(default_factory=dict)
    # (side, track) -> the last number that a statement covers.
    statements: dict = dataclasses.field(default_factory=dict)
    closed: bool = False

    def side(self, number):
        return self.sides.setdefault(number, _Side())


class Sessions:
    """Takes the log's records in order; `leaves` are those of its tree."""

    def __init__(self, config, reader, key_records):
        self.config = config
        self.reader = reader
        self.keys = {r.position: r for r in key_records
                     if r.kind == hashes.KEY_WRAPS}
        self.sources = {}
        for source in config.sources:
            key = signed_note.VerifierKey(source.name, signed_note.ED25519,
                                          source.public_key)
            self.sources.setdefault(key.short_id, []).append(key)
        self.recipients = {
            hashes.sha256(r.public_key)[:8]: set(r.classes)
            for r in config.recipients}
        self.sessions = {}
        self.leaves = []
        self.leaf_times_us = []
        self.newest_us = 0
        self.said = []
        self.statements = 0
        self.chunks = 0

    def add(self, record):
        kind = record.kind
        if kind in (hashes.VOLUME_HEADER, hashes.SNAPSHOT):
            return
        if kind not in hashes.HEADERS or kind == hashes.KEY_WRAPS:
            self.said.append(f"A record of type {kind} at {record.position} "
                             "is passed over.")
            return
        place = f"log, {hashes.HEADERS[kind]} at {record.position}"
        header = self.reader.read(hashes.HEADERS[kind], record.header, place)
        require(kind not in hashes.BARE or not record.body,
                f"{place} has a body")
        require(kind not in _SEALED or len(record.body) >= _MIN_SEALED,
                f"{place}: its body is not sealed")
        self.newest_us = max(self.newest_us, header.record_time_us)
        if kind in hashes.LEAVES:
            self.leaves.append(hashes.leaf_data(record.position,
                                                record.digest))
            self.leaf_times_us.append(header.record_time_us)
        if kind == hashes.ACCESS:
            require(len(header.commitment) == 32, f"{place}: its commitment")
            self.reader.read("SealedEnvelope", record.body, place)
        elif kind == hashes.KEYS_CHANGED:
            for rewrap in header.rewraps:
                self._check_wraps(rewrap, place)
        else:
            self._session_record(record, header, place)

    def finish(self):
        """What is to be said once all records are there."""
        still_open = sum(1 for s in self.sessions.values() if not s.closed)
        unnamed = sum(len(s.chunks) for s in self.sessions.values())
        self.said.append(f"{len(self.sessions)} sessions, {still_open} of "
                         f"them open; {self.chunks} chunks, {unnamed} of "
                         "them in no manifest yet; "
                         f"{self.statements} statements of gateways.")

    # ---- Keys ----

    def _check_wraps(self, named, place):
        """The key store has the wraps that a record names."""
        record = self.keys.get(named.key_position)
        require(record is not None,
                f"{place}: the key store has no wraps at "
                f"{named.key_position}")
        require(record.digest == named.key_wraps_digest,
                f"{place}: the wraps at {named.key_position} are others")
        where = f"keys, KeyWraps at {record.position}"
        header = self.reader.read("KeyWraps", record.header, where)
        body = self.reader.read("KeyWraps", record.body, where)
        require(not header.wraps and body.wraps
                and (header.session_id, header.epoch)
                == (body.session_id, body.epoch)
                == (named.session_id, named.epoch),
                f"{where} are of another session or epoch")
        for wrap in body.wraps:
            require(wrap.key_class in self.recipients.get(wrap.recipient_id,
                                                          ()),
                    f"{where}: a wrap for nobody that the archive knows")

    # ---- Records of sessions ----

    def _session_record(self, record, header, place):
        require(len(header.session_id) == 16, f"{place}: its session")
        session = self.sessions.get(header.session_id)
        if record.kind == hashes.SESSION_OPENED:
            session = self._opened(session, header, place)
        require(session is not None and not session.closed,
                f"{place} is of a session that is not open")
        require(header.epoch == session.epoch,
                f"{place} is of another epoch")
        handler = {
            hashes.CHUNK: self._chunk, hashes.SEGMENT: self._manifest,
            hashes.SESSION_CLOSED: self._closed,
        }.get(record.kind)
        if handler is not None:
            handler(session, record, header, place)
            return
        if record.kind == hashes.SPAN_STARTED:
            require(header.span not in session.spans
                    and len(header.commitment) == 32,
                    f"{place}: its span is there twice, or its commitment")
            session.spans.add(header.span)
        elif record.kind == hashes.NOTES:
            count = header.last_note - header.first_note + 1
            require(count == len(header.commitments) and count > 0
                    and all(len(c) == 32 for c in header.commitments),
                    f"{place}: its notes are not counted right")
            self._notes(session, header.side, header.first_note, count, place)
        elif record.kind == hashes.ATTACHMENT_PART:
            require(len(header.commitment) == 32, f"{place}: its commitment")
            self._notes(session, header.side, header.note, 1, place)
        elif record.kind == hashes.SOURCE_DIGEST:
            self._statement(session, header, place)
        session.records.append(record.digest)

    def _opened(self, session, header, place):
        self._check_wraps(header, place)
        if header.resumed:
            require(session is not None and not session.closed
                    and header.epoch > session.epoch
                    and header.start_time_us == session.start_time_us,
                    f"{place} resumes no open session")
            session.epoch = header.epoch
            return session
        require(session is None or (session.closed
                                    and header.epoch > session.epoch),
                f"{place}: the session is open already")
        session = self.sessions[header.session_id] = _Session(
            header.session_id.hex(), header.epoch, header.start_time_us)
        return session

    def _notes(self, session, side, first, count, place):
        last = session.side(side)
        require(first == last.last_note + 1,
                f"{place}: note {first} follows note {last.last_note}")
        last.last_note += count

    def _statement(self, session, header, place):
        statement = header.statement
        require(statement is not None, f"{place} has no statement")
        self._notes(session, statement.side, header.note, 1, place)
        require(len(statement.root) == (32 if statement.packets else 0)
                and 0 < statement.first_sequence <= statement.last_sequence
                and statement.packets <= statement.last_sequence
                - statement.first_sequence + 1,
                f"{place}: its statement can't be")
        message = hashes.statement_bytes(self.config.archive_id,
                                         header.session_id, statement)
        known = self.sources.get(header.key_id, [])
        require(known, f"{place}: signed by no source of the archive")
        require(any(signed_note.verify_ed25519(k.public_key, header.signature,
                                               message) for k in known),
                f"{place}: its signature is wrong")
        self.statements += 1
        key = (statement.side, statement.track_id)
        last = session.statements.get(key)
        if last is not None:
            require(statement.first_sequence > last,
                    f"{place}: it overlaps the statement before it")
            if statement.first_sequence != last + 1:
                self.said.append(
                    f"{place}: no statement of track {statement.track_id} "
                    f"for the numbers {last + 1} to "
                    f"{statement.first_sequence - 1}.")
        session.statements[key] = statement.last_sequence

    def _chunk(self, session, record, header, place):
        require(header.suite == 1, f"{place} is of suite {header.suite}")
        require(header.chunk == session.next_chunk,
                f"{place}: chunk {header.chunk} follows chunk "
                f"{session.next_chunk - 1}")
        require(header.span in session.spans,
                f"{place}: its span has not begun")
        require(header.segment > session.named_segment
                and header.segment >= session.segment,
                f"{place}: its segment is over")
        session.segment = header.segment
        session.next_chunk += 1
        self.chunks += 1
        for part in header.sides:
            side = session.side(part.side)
            require(part.first_sequence == side.last_sequence + 1
                    and part.last_sequence >= part.first_sequence,
                    f"{place}: packet {part.first_sequence} follows packet "
                    f"{side.last_sequence}")
            side.last_sequence = part.last_sequence
            side.packets += part.last_sequence - part.first_sequence + 1
            side.payload_bytes += part.payload_bytes
        numbers = [t.track_id for t in header.tracks]
        require(numbers == sorted(set(numbers)) and numbers
                and all(len(t.leaf) == 32 for t in header.tracks),
                f"{place}: its tracks")
        require({t.side for t in header.tracks}
                == {s.side for s in header.sides},
                f"{place}: its tracks are of other sides than its packets")
        session.chunks.append((header, record.digest))

    def _manifest(self, session, record, header, place):
        require(header.segment > session.named_segment,
                f"{place}: segment {header.segment} is not its turn")
        require(header.previous_manifest_sha256 == session.manifest_sha256,
                f"{place} does not name the manifest before it")
        mine = [c for c in session.chunks if c[0].segment == header.segment]
        require(mine and session.chunks[:len(mine)] == mine,
                f"{place}: there are chunks of an earlier segment, or none")
        require([(c.chunk, c.digest) for c in header.chunks]
                == [(c.chunk, digest) for c, digest in mine],
                f"{place}: the chunks are not those that it names")
        require(all(c.span == header.span for c, _ in mine),
                f"{place}: a chunk is of another span")
        self._check_tracks([c for c, _ in mine], header, place)
        require(header.records == session.records,
                f"{place}: the records before it are not those that it "
                "names")
        session.chunks = session.chunks[len(mine):]
        session.records = []
        session.named_segment = header.segment
        session.manifest_sha256 = hashes.sha256(record.header)

    @staticmethod
    def _check_tracks(chunks, header, place):
        """The roots are those over the chunks' leaves."""
        wanted = {}
        for chunk in chunks:
            for track in chunk.tracks:
                wanted.setdefault(track.track_id, []).append(
                    (chunk.chunk, track.side, track.leaf))
        require([t.track_id for t in header.tracks] == sorted(wanted),
                f"{place}: its tracks are not those of its chunks")
        for track in header.tracks:
            where = f"{place}, track {track.track_id}"
            leaves = wanted[track.track_id]
            require(all(side == track.side for _, side, _ in leaves),
                    f"{where} is of another side")
            named = list(track.chunks) or [c.chunk for c in chunks]
            require(named == [number for number, _, _ in leaves]
                    and not (track.chunks and len(leaves) == len(chunks)),
                    f"{where}: its chunks are not those that have it")
            require(tlog_tree.root([leaf for _, _, leaf in leaves])
                    == track.root, f"{where}: its root")

    def _closed(self, session, record, header, place):
        require(not session.chunks, f"{place}: chunks are in no manifest")
        require(header.records == session.records,
                f"{place}: the records before it are not those that it "
                "names")
        require(header.manifest_sha256 == session.manifest_sha256,
                f"{place} names another manifest as the last")
        require(header.segments == session.named_segment + 1,
                f"{place}: the last segment is {session.named_segment}")
        for totals in header.sides:
            side = session.side(totals.side)
            require((totals.last_sequence, totals.packets,
                     totals.payload_bytes, totals.last_note)
                    == (side.last_sequence, side.packets, side.payload_bytes,
                        side.last_note),
                    f"{place}: the totals of a side are not those of its "
                    "records")
        require({s for s, side in session.sides.items()
                 if side.last_sequence or side.last_note}
                <= {t.side for t in header.sides},
                f"{place}: a side has no totals")
        session.closed = True
        session.records = []
