"""The records of a store's volumes (archiver/log/FORMAT.md)."""

import array
import dataclasses
import pathlib
import re
import struct
import sys

import evidence_hashes as hashes
from untrue import Untrue, require

_FRAME = struct.Struct("<4sBBHIIQQIIII")
_MAGIC = b"\xd1PTY"
_NAME = re.compile(r"[0-9a-f]{16}\.vol")
_MAX_HEADER = 1 << 20
_MAX_BODY = 8 << 20
_MAX_VOLUME = 1 << 30


def _crc_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _crc_table()
# Two bytes at a time, the first in the lower half: twice as fast.
_WIDE_TABLE = array.array("I", (
    _TABLE[(low ^ high) & 0xFF] ^ low >> 8
    for high in range(256) for low in _TABLE))


def crc32c(data):
    crc, table = 0xFFFFFFFF, _WIDE_TABLE
    words = array.array("H", data[:len(data) & ~1])
    if sys.byteorder == "big":
        words.byteswap()
    for word in words:
        crc = table[(crc ^ word) & 0xFFFF] ^ crc >> 16
    if len(data) % 2:
        crc = _TABLE[(crc ^ data[-1]) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


@dataclasses.dataclass(frozen=True)
class Record:
    kind: int
    position: int
    durable_before: int
    header: bytes
    body: bytes

    @property
    def end(self):
        return (self.position + _FRAME.size + len(self.header)
                + len(self.body))

    @property
    def digest(self):
        return hashes.record_digest(self.kind, self.header,
                                    hashes.sha256(self.body))


def _record_at(data, at, base):
    """The whole record there, or why there is none."""
    if at + _FRAME.size > len(data):
        return "a frame is cut off"
    (magic, version, kind, reserved, header_bytes, body_bytes, position,
     durable, header_crc, body_crc, zero, crc) = _FRAME.unpack_from(data, at)
    if magic != _MAGIC:
        return "there is no frame"
    if crc32c(data[at:at + 44]) != crc:
        return "the frame's checksum is wrong"
    if version != 1 or reserved or zero:
        return "the frame is of another version"
    if position != base + at or durable > position:
        return "the frame belongs elsewhere"
    if header_bytes > _MAX_HEADER or body_bytes > _MAX_BODY:
        return "the frame is of too long a record"
    start = at + _FRAME.size
    middle, end = start + header_bytes, start + header_bytes + body_bytes
    if end > len(data):
        return "a record is cut off"
    record = Record(kind, position, durable, bytes(data[start:middle]),
                    bytes(data[middle:end]))
    if crc32c(record.header) != header_crc:
        return "the header's checksum is wrong"
    if crc32c(record.body) != body_crc:
        return "the body's checksum is wrong"
    return record


class Store:
    """All records of one store, in order. Raises Untrue for damage."""

    def __init__(self, folder, name, archive, reader):
        self.name = name
        self.said = []
        self.records = []
        self._archive = archive
        self._reader = reader
        volumes = sorted(p for p in pathlib.Path(folder).iterdir())
        for path in volumes:
            require(path.is_file() and not path.is_symlink()
                    and _NAME.fullmatch(path.name) is not None,
                    f"{name}: {path.name} is no volume")
        require(volumes, f"{name}: there is no volume")
        base = 0
        for i, path in enumerate(volumes):
            require(int(path.name[:16], 16) == base,
                    f"{name}: {path.name} does not begin where the one "
                    f"before it ends, at {base}")
            base = self._volume(path, base, i + 1 == len(volumes))

    def _volume(self, path, base, is_last):
        """Gives the position behind the volume's last record."""
        with open(path, "rb") as file:
            data = file.read(_MAX_VOLUME + 1)
        require(len(data) <= _MAX_VOLUME, f"{path.name} is too long")
        at, number = 0, 0
        durable = self.records[-1].durable_before if self.records else 0
        while at < len(data):
            place = f"{self.name}, {path.name}, byte {at}"
            found = _record_at(data, at, base)
            if isinstance(found, str):
                require(is_last, f"{place}: {found}")
                self._torn_tail(data, at, base, f"{place}: {found}")
                return base + at
            require(found.durable_before >= durable,
                    f"{place}: less was durable than before")
            durable = found.durable_before
            self._check_place(found, number, base, place)
            self.records.append(found)
            number += 1
            at = found.end - base
        require(number or is_last, f"{self.name}: {path.name} is empty")
        return base + at

    def _check_place(self, record, number, base, place):
        """The first record of a volume says where it belongs."""
        require((record.kind == hashes.VOLUME_HEADER) == (number == 0),
                f"{place}: a record of type {record.kind}")
        if number == 0:
            header = self._reader.read("VolumeHeader", record.header, place)
            require((header.archive_id, header.base_position, header.store)
                    == (self._archive, base, self.name) and not record.body,
                    f"{place}: a volume of something else")
        if self.name == "log":
            require((record.kind == hashes.SNAPSHOT) == (number == 1),
                    f"{place}: a record of type {record.kind}")
            if number == 1:
                require(not record.header, f"{place}: its header")
                self._reader.read("Snapshot", record.body, place)

    def _torn_tail(self, data, at, base, place):
        """Damage if anything behind it says that it had been durable."""
        later = data.find(_MAGIC, at + 1)
        while later >= 0:
            found = _record_at(data, later, base)
            if not isinstance(found, str) and found.durable_before > base + at:
                raise Untrue(f"{place}, and it had been durable")
            later = data.find(_MAGIC, later + 1)
        self.said.append(f"{place}: {len(data) - at} bytes of a torn tail, "
                         "never acknowledged.")
