"""Reads the messages of proto/stored/v1, strictly.

The .proto files are the specification, so the fields come from them and are
not written down a second time here. What the schema doesn't allow is untrue:
unknown fields, wrong wire types, a single field twice, text that is no UTF-8.
"""

import dataclasses
import functools
import pathlib
import re

from untrue import Untrue, require

_FOLDER = (pathlib.Path(__file__).resolve().parent.parent.parent
           / "proto" / "stored" / "v1")
_MASK = (1 << 64) - 1

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SCALARS = {"uint32", "uint64", "int32", "int64", "bool"}
_MAX_DEPTH = 16


@dataclasses.dataclass(frozen=True)
class Field:
    name: str
    type: str
    repeated: bool
    oneof: str


class Schema:
    """Messages and enums of some .proto files."""

    def __init__(self, *texts):
        self.messages = {}
        self.enums = {}
        for text in texts:
            self._parse(re.sub(r"//[^\n]*", "", text))

    def _parse(self, text):
        tokens = iter(re.findall(r'"[^"]*"|[\w.]+|[{}=;,<>\[\]]', text))
        for token in tokens:
            if token == "message":
                self._message(next(tokens), tokens)
            elif token == "enum":
                self._enum(next(tokens), tokens)

    def _enum(self, name, tokens):
        values = self.enums[name] = {}
        assert next(tokens) == "{"
        for token in tokens:
            if token == "}":
                return
            assert next(tokens) == "="
            values[int(next(tokens))] = token
            assert next(tokens) == ";"

    def _message(self, name, tokens):
        fields = self.messages[name] = {}
        assert next(tokens) == "{"
        oneof = ""
        for token in tokens:
            if token == "}":
                if not oneof:
                    return
                oneof = ""
                continue
            if token == "reserved":
                while next(tokens) != ";":
                    pass
                continue
            if token == "oneof":
                oneof = next(tokens)
                assert next(tokens) == "{"
                continue
            repeated = token == "repeated"
            kind = next(tokens) if repeated else token
            field = next(tokens)
            assert next(tokens) == "=", (name, field)
            fields[int(next(tokens))] = Field(field, kind, repeated, oneof)
            assert next(tokens) == ";", (name, field)


class Message:
    """Fields as attributes; what is absent has its default."""

    def __init__(self, name, fields):
        self._name = name
        self._fields = fields

    def __getattr__(self, field):
        try:
            return self._fields[field]
        except KeyError:
            raise AttributeError(f"{self._name}.{field}") from None

    def __repr__(self):
        return f"{self._name}({self._fields})"


def read_varint(data, at, what):
    """(value, place behind it); in its shortest form, at most 64 bits."""
    value = shift = 0
    while True:
        require(at < len(data) and shift < 70, f"{what}: a number is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            require(value <= _MASK, f"{what}: a number above 64 bits")
            require(byte or shift == 7, f"{what}: a number longer than needed")
            return value, at


def signed(value):
    """Two's complement of 64 bits."""
    return value - (1 << 64) if value >> 63 else value


def unzigzag(value):
    return (value >> 1) ^ -(value & 1)


class Reader:
    """Reads messages of a schema."""

    def __init__(self, schema):
        self.schema = schema

    def read(self, name, data, what, depth=0):
        fields = self.schema.messages[name]
        require(depth < _MAX_DEPTH, f"{what}: nested too deeply")
        values = {}
        for field in fields.values():
            if field.repeated:
                values[field.name] = []
            elif field.type in self.schema.messages:
                values[field.name] = None
            else:
                values[field.name] = {"bytes": b"", "string": "",
                                      "bool": False}.get(field.type, 0)
        seen = set()
        at = 0
        while at < len(data):
            tag, at = read_varint(data, at, what)
            number, wire = tag >> 3, tag & 7
            field = fields.get(number)
            require(field is not None, f"{what}: unknown field {number}")
            if not field.repeated:
                once = field.oneof or field.name
                require(once not in seen, f"{what}: {once} is there twice")
                seen.add(once)
            found, at = self._value(field, wire, data, at, what, depth)
            if field.repeated:
                values[field.name] += found
            else:
                values[field.name] = found[0]
        return Message(name, values)

    def _value(self, field, wire, data, at, what, depth):
        """([values], place behind them)."""
        place = f"{what}: {field.name}"
        number = field.type in _SCALARS or field.type in self.schema.enums
        if number and wire == _VARINT:
            value, at = read_varint(data, at, place)
            return [self._number(field, value, place)], at
        require(wire == _BYTES, f"{place} has wire type {wire}")
        size, at = read_varint(data, at, place)
        require(size <= len(data) - at, f"{place} is cut off")
        raw, end = data[at:at + size], at + size
        if number:
            require(field.repeated, f"{place} has wire type {wire}")
            values, at = [], 0
            while at < len(raw):
                value, at = read_varint(raw, at, place)
                values.append(self._number(field, value, place))
            return values, end
        if field.type == "bytes":
            return [bytes(raw)], end
        if field.type == "string":
            try:
                return [raw.decode("utf-8")], end
            except UnicodeDecodeError:
                raise Untrue(f"{place} is no UTF-8") from None
        return [self.read(field.type, raw, place, depth + 1)], end

    def _number(self, field, value, place):
        if field.type == "bool":
            require(value <= 1, f"{place} is neither true nor false")
            return bool(value)
        if field.type == "uint32":
            require(value < 1 << 32, f"{place} is above 32 bits")
            return value
        if field.type == "uint64":
            return value
        if field.type in self.schema.enums:
            require(value in self.schema.enums[field.type],
                    f"{place}: {value} stands for nothing")
            return value
        value = signed(value)
        require(field.type == "int64" or -(1 << 31) <= value < 1 << 31,
                f"{place} is above 32 bits")
        return value


@functools.lru_cache(maxsize=1)
def stored_reader():
    """Reads headers, sealed bodies and key records."""
    return Reader(Schema(*((_FOLDER / name).read_text(encoding="utf-8")
                           for name in ("records.proto", "keys.proto"))))
