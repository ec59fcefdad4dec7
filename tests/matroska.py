"""Reads Matroska (RFC 9559) just far enough to check the archive from outside.

Written from the standard and sharing nothing with the product, so that a
mistake made there is not made here too.
"""

import dataclasses
import struct

_MASTERS = {
    0x18538067: "Segment", 0x1549A966: "Info", 0x1654AE6B: "Tracks",
    0xAE: "TrackEntry", 0xE0: "Video", 0xE1: "Audio", 0x1F43B675: "Cluster",
    0xA0: "BlockGroup",
}
_SEGMENT_CHILDREN = {0x1549A966, 0x1654AE6B, 0x1F43B675, 0x114D9B74,
                     0x1C53BB6B, 0x1043A770, 0x1254C367, 0x1941A469}
_UNKNOWN = -1


@dataclasses.dataclass
class Track:
    number: int = 0
    codec: str = ""
    private: bytes = b""
    width: int = 0
    height: int = 0
    rate: float = 8000.0
    channels: int = 1


@dataclasses.dataclass
class Packet:
    track: int
    pts_ms: int
    key: bool
    payload: bytes


def _vint(data, at, keep_marker):
    first = data[at]
    length = 1
    while length <= 8 and not first & (0x100 >> length):
        length += 1
    if length > 8:
        raise ValueError(f"bad number at {at}")
    raw = data[at:at + length]
    value = int.from_bytes(raw, "big")
    if not keep_marker:
        mask = (1 << 7 * length) - 1
        value &= mask
        if value == mask:
            value = _UNKNOWN
    return value, at + length


def _uint(data):
    return int.from_bytes(data, "big")


def _float(data):
    return struct.unpack(">f" if len(data) == 4 else ">d", data)[0]


class File:
    """All tracks and packets of a file, in stored order."""

    def __init__(self, data):
        self.tracks = {}
        self.packets = []
        self._data = data
        self._scale_ns = 1_000_000
        self._cluster = 0
        self._track = None
        self._group = None
        self._walk(0, len(data))

    def _walk(self, at, end, parent=0):
        while at < end:
            element, body = _vint(self._data, at, True)
            size, body = _vint(self._data, body, False)
            if size == _UNKNOWN:
                # Until the next element that can't be inside.
                if parent and element not in (0x18538067, 0x1F43B675):
                    raise ValueError(f"unknown size at {at}")
                stop = end
            else:
                stop = min(body + size, end)
            if (parent == 0x1F43B675 and element in _SEGMENT_CHILDREN):
                return at
            at = self._element(element, body, stop)
        return at

    def _element(self, element, body, stop):
        if element == 0xAE:
            self._track = Track()
        if element == 0xA0:
            self._group = [None, True]
        if element in _MASTERS:
            stop = self._walk(body, stop, element)
        if element == 0xAE:
            self.tracks[self._track.number] = self._track
        if element == 0xA0:
            self._block(self._group[0], self._group[1])
        value = self._data[body:stop] if element not in _MASTERS else b""
        track = self._track
        if element == 0x2AD7B1:
            self._scale_ns = _uint(value)
        elif element == 0xE7:
            self._cluster = _uint(value)
        elif element == 0xA3:
            self._block(value, bool(value[self._header(value)[1] - 1] & 0x80))
        elif element == 0xA1 and self._group is not None:
            self._group[0] = value
        elif element == 0xFB and self._group is not None:
            self._group[1] = False
        elif track is not None:
            if element == 0xD7:
                track.number = _uint(value)
            elif element == 0x86:
                track.codec = value.rstrip(b"\0").decode()
            elif element == 0x63A2:
                track.private = bytes(value)
            elif element == 0xB0:
                track.width = _uint(value)
            elif element == 0xBA:
                track.height = _uint(value)
            elif element == 0xB5:
                track.rate = _float(value)
            elif element == 0x9F:
                track.channels = _uint(value)
        return stop

    @staticmethod
    def _header(block):
        number, at = _vint(block, 0, False)
        return number, at + 3

    def _block(self, block, key):
        number, at = self._header(block)
        if block[at - 1] & 0x06:
            raise ValueError("lacing is not read here")
        offset = int.from_bytes(block[at - 3:at - 1], "big", signed=True)
        ticks = self._cluster + offset
        self.packets.append(Packet(
            number, round(ticks * self._scale_ns / 1_000_000), key,
            bytes(block[at:])))

    def of(self, number):
        return [p for p in self.packets if p.track == number]


def read(path):
    with open(path, "rb") as file:
        return File(file.read())
