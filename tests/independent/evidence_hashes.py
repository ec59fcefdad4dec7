"""The hashes of archiver/evidence/FORMAT.md."""

import hashlib
import struct

import tlog_tree

# Types of records (archiver/log/FORMAT.md).
VOLUME_HEADER = 1
SNAPSHOT = 2
SESSION_OPENED = 3
SPAN_STARTED = 4
CHUNK = 5
NOTES = 6
ATTACHMENT_PART = 7
SEGMENT = 8
SESSION_CLOSED = 9
ACCESS = 10
STATE_CHANGED = 11
CLOCK_CHANGED = 12
SOURCE_DIGEST = 13
KEYS_CHANGED = 14
KEY_WRAPS = 64

# Type -> the message of its header.
HEADERS = {
    VOLUME_HEADER: "VolumeHeader", SESSION_OPENED: "SessionOpened",
    SPAN_STARTED: "SpanStarted", CHUNK: "Chunk", NOTES: "Notes",
    ATTACHMENT_PART: "AttachmentPart", SEGMENT: "Segment",
    SESSION_CLOSED: "SessionClosed", ACCESS: "Access",
    STATE_CHANGED: "StateChanged", CLOCK_CHANGED: "ClockChanged",
    SOURCE_DIGEST: "SourceDigest", KEYS_CHANGED: "KeysChanged",
    KEY_WRAPS: "KeyWraps",
}
# Those that have no body.
BARE = {VOLUME_HEADER, SESSION_OPENED, SEGMENT, SESSION_CLOSED, STATE_CHANGED,
        CLOCK_CHANGED, SOURCE_DIGEST, KEYS_CHANGED}
# Those that are leaves of the log tree.
LEAVES = {SESSION_OPENED, SEGMENT, SESSION_CLOSED, ACCESS, KEYS_CHANGED}

NOTHING = hashlib.sha256(b"").digest()


def sha256(*parts):
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return whole.digest()


def packet_line(pts_ms, flags, length, payload_hash):
    return struct.pack(">qBI", pts_ms, flags, length) + payload_hash


def with_time(line, pts_ms):
    """The same packet's line with another time."""
    return struct.pack(">q", pts_ms) + line[8:]


def track_leaf(salt, session, chunk, track_id, lines):
    return sha256(b"diptych-track-1", salt, session,
                  struct.pack(">III", chunk, track_id, len(lines)), *lines)


def chunk_salt(track_salt, chunk):
    return sha256(b"diptych-salt-1", track_salt, struct.pack(">I", chunk))


def span_commitment(salt, session, span, description):
    return sha256(b"diptych-span-1", salt, session, struct.pack(">I", span),
                  description)


def note_commitment(salt, session, side, number, note):
    return sha256(b"diptych-note-1", salt, session,
                  struct.pack(">BQ", side, number), note)


def part_commitment(salt, session, attachment_id, offset, data):
    return sha256(b"diptych-part-1", salt, session,
                  struct.pack(">IQ", attachment_id, offset), data)


def access_commitment(record):
    return sha256(b"diptych-access-1", record)


def record_digest(kind, header, body_hash=NOTHING):
    return sha256(b"diptych-record-1", bytes([kind]), sha256(header),
                  body_hash)


def leaf_data(position, digest):
    return struct.pack(">Q", position) + digest


def log_leaf_hash(position, digest):
    return tlog_tree.leaf_hash(leaf_data(position, digest))


def statement_bytes(archive, session, statement):
    """What a gateway signs."""
    return b"".join((
        b"diptych-source-1", archive, session,
        struct.pack(">BIQQQ", statement.side, statement.track_id,
                    statement.first_sequence, statement.last_sequence,
                    statement.packets),
        statement.root or bytes(32),
        struct.pack(">q", statement.signed_time_us)))
