"""Takes a Matroska file apart and puts it together again, checksums right.

What somebody would do who wants to alter a recording and knows the format
(RFC 9559), and nothing of how the archive reads it.
"""

import dataclasses
import zlib

_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
_SEEK_HEAD, _CUES, _VOID = 0x114D9B74, 0x1C53BB6B, 0xEC
_TIME, _SIMPLE, _GROUP, _BLOCK = 0xE7, 0xA3, 0xA0, 0xA1
# Longer clusters than this have no room for a block's own 16 bits of time.
_CLUSTER_MS = 1000


def vint(data, at, keep_marker=False):
    first, length = data[at], 1
    while not first & (0x100 >> length):
        length += 1
    value = int.from_bytes(data[at:at + length], "big")
    if not keep_marker:
        value &= (1 << 7 * length) - 1
    return value, at + length


def elements(data):
    """(id, value) of each element."""
    at = 0
    while at < len(data):
        element, at = vint(data, at, True)
        size, at = vint(data, at)
        yield element, data[at:at + size]
        at += size


def element(number, value):
    head = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return head + (len(value) | 1 << 56).to_bytes(8, "big") + value


def with_crc(number, value):
    """A master whose checksum is right; `value` is without one."""
    crc = zlib.crc32(value).to_bytes(4, "little")
    return element(number, b"\xbf\x84" + crc + value)


def without_crc(value):
    return value[6:] if value[:2] == b"\xbf\x84" else value


@dataclasses.dataclass
class Block:
    track: int
    ms: int
    flags: int
    payload: bytes
    # Elements of its group beside it; None: a SimpleBlock.
    beside: bytes = None


class Editor:
    """A file's parts: change them, then `bytes()`."""

    def __init__(self, data):
        (header, segment) = [value for _, value in elements(data)]
        self.header = header
        # (id, value without checksum) of what is not media.
        self.parts = []
        self.blocks = []
        for number, value in elements(segment):
            if number == _CLUSTER:
                self._take(without_crc(value))
            elif number not in (_SEEK_HEAD, _CUES, _VOID):
                self.parts.append([number, without_crc(value)])

    def _take(self, cluster):
        start = 0
        for number, value in elements(cluster):
            if number == _TIME:
                start = int.from_bytes(value, "big")
            elif number == _SIMPLE:
                self.blocks.append(self._block(value, start))
            elif number == _GROUP:
                inner = dict(elements(value))
                block = self._block(inner.pop(_BLOCK), start)
                block.beside = b"".join(element(n, v)
                                        for n, v in inner.items())
                self.blocks.append(block)

    @staticmethod
    def _block(value, start):
        track, at = vint(value, 0)
        return Block(track, start + int.from_bytes(value[at:at + 2], "big",
                                                   signed=True),
                     value[at + 2], value[at + 3:])

    def of(self, track):
        """Indexes of a track's blocks."""
        return [i for i, b in enumerate(self.blocks) if b.track == track]

    def part(self, number):
        return next(p for p in self.parts if p[0] == number)

    def bytes(self):
        segment = b"".join(with_crc(n, v) for n, v in self.parts)
        cluster, start = b"", None
        for block in self.blocks:
            if start is None or not -30000 < block.ms - start < _CLUSTER_MS:
                segment += self._cluster(start, cluster)
                cluster, start = b"", max(block.ms, 0)
            value = ((block.track | 0x80).to_bytes(1, "big")
                     + (block.ms - start).to_bytes(2, "big", signed=True)
                     + bytes([block.flags]) + block.payload)
            cluster += (element(_SIMPLE, value) if block.beside is None else
                        element(_GROUP, element(_BLOCK, value) + block.beside))
        segment += self._cluster(start, cluster)
        # The header as it was, to the byte.
        return (b"\x1a\x45\xdf\xa3" + bytes([0x80 | len(self.header)])
                + self.header + element(_SEGMENT, segment))

    @staticmethod
    def _cluster(start, blocks):
        if not blocks:
            return b""
        time = element(_TIME, start.to_bytes(8, "big"))
        return with_crc(_CLUSTER, time + blocks)
