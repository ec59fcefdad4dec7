"""A second reader of the log's frames, written from archiver/log/FORMAT.md.

Sees types, headers and sizes: what anybody can who holds no key.
"""

import dataclasses
import pathlib
import struct

_FRAME = struct.Struct("<4sBBHIIQQIIII")
_MAGIC = b"\xd1PTY"

SESSION_OPENED = 3
CHUNK = 5
SESSION_CLOSED = 9
ACCESS = 10


@dataclasses.dataclass
class Record:
    type: int
    position: int
    header: bytes
    body: bytes


def records(folder):
    """All whole records of a store's volumes, in order."""
    for volume in sorted(p for p in pathlib.Path(folder).iterdir()
                         if p.is_file()):
        data = volume.read_bytes()
        at = 0
        while at + _FRAME.size <= len(data):
            (magic, version, kind, _, header_bytes, body_bytes, position,
             *_) = _FRAME.unpack_from(data, at)
            if magic != _MAGIC:
                break
            if version != 1:
                raise ValueError(f"{volume}: version {version} at {at}")
            at += _FRAME.size
            end = at + header_bytes + body_bytes
            if end > len(data):
                break
            yield Record(kind, position, data[at:at + header_bytes],
                         data[at + header_bytes:end])
            at = end


def count(folder, record_type):
    return sum(1 for r in records(folder) if r.type == record_type)
