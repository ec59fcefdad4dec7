"""evidence.json, read strictly: types, ranges, no key twice."""

import json
import zlib

from untrue import Untrue, decode_base64, require

_INT64 = range(-(1 << 63), 1 << 63)
_MAX_LIST = 4_000_000


def _no_key_twice(pairs):
    found = dict(pairs)
    require(len(found) == len(pairs), "evidence.json has a key twice")
    return found


def _no_constant(name):
    raise Untrue(f"evidence.json has {name}")


# A gzip member's head (RFC 1952) without a time and a name.
GZIP_HEAD = bytes.fromhex("1f8b0800000000000203")


# Checksum and length behind what is compressed.
_GZIP_TAIL = 8


def unpack(data, most):
    """The content of exactly one gzip member, in its one form."""
    require(data[:len(GZIP_HEAD)] == GZIP_HEAD,
            "evidence.json.gz does not begin as it should")
    plain = _inflate(data, most)
    require(plain is not None,
            "evidence.json.gz is damaged, too long, or no one member")
    # The last byte of what is compressed is filled up with zeros: if some of
    # its upper bits can be cleared and nothing changes, they meant nothing.
    last = len(data) - _GZIP_TAIL - 1
    for bits in range(1, 8):
        cleared = data[last] & 0xFF >> bits
        if cleared != data[last]:
            other = data[:last] + bytes([cleared]) + data[last + 1:]
            require(_inflate(other, most) != plain,
                    "evidence.json.gz has bits that mean nothing")
    return plain


def _inflate(data, most):
    """None if it is not one whole member of at most `most` bytes."""
    inflate = zlib.decompressobj(wbits=31)
    try:
        plain = inflate.decompress(data, most + 1)
    except zlib.error:
        return None
    if len(plain) > most or not inflate.eof or inflate.unused_data:
        return None
    return plain


def parse(data):
    """The outermost object."""
    try:
        value = json.loads(data.decode("utf-8"),
                           object_pairs_hook=_no_key_twice,
                           parse_constant=_no_constant)
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise Untrue("evidence.json is no JSON") from None
    return Entry(value, "evidence.json")


class Entry:
    """One object, and where it stands.

    Missing integers are 0, missing lists empty; unknown fields are ignored.
    """

    def __init__(self, value, place):
        require(isinstance(value, dict), f"{place} is no object")
        self._value = value
        self.place = place

    def __contains__(self, field):
        return field in self._value

    def raw(self, field):
        return self._value.get(field)

    def _where(self, field):
        return f"{self.place}, {field}"

    def number(self, field, least=0, most=(1 << 63) - 1):
        value = self._value.get(field, 0)
        return self._checked_number(value, self._where(field), least, most)

    @staticmethod
    def _checked_number(value, where, least, most):
        require(type(value) is int and value in _INT64,
                f"{where} is no whole number")
        require(least <= value <= most, f"{where} is out of range")
        return value

    def text(self, field):
        value = self._value.get(field)
        require(isinstance(value, str), f"{self._where(field)} is no text")
        return value

    def flag(self, field):
        value = self._value.get(field)
        require(isinstance(value, bool),
                f"{self._where(field)} is neither true nor false")
        return value

    def data(self, field, length=None):
        return decode_base64(self._value.get(field), self._where(field),
                             length)

    def _list(self, field):
        value = self._value.get(field, [])
        require(isinstance(value, list) and len(value) <= _MAX_LIST,
                f"{self._where(field)} is no list")
        return value

    def numbers(self, field, least=0, most=(1 << 63) - 1):
        return [self._checked_number(v, f"{self._where(field)} {i}", least,
                                     most)
                for i, v in enumerate(self._list(field))]

    def hashes(self, field):
        return [decode_base64(v, f"{self._where(field)} {i}", 32)
                for i, v in enumerate(self._list(field))]

    def entry(self, field):
        return Entry(self._value.get(field), self._where(field))

    def entries(self, field):
        return [Entry(v, f"{field} {i}")
                for i, v in enumerate(self._list(field))]
