"""Reads the Protocol Buffers text format, as far as archive.textproto has it.

The fields' types come from the .proto files, as for the binary form.
"""

import re

from stored_messages import Message
from untrue import Untrue, require

_TOKEN = re.compile(
    r'\s+|#[^\n]*|(?P<word>[A-Za-z_]\w*)|(?P<number>-?\d+)'
    r'|(?P<text>"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\')'
    r'|(?P<sign>[:{}<>\[\],;])')
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|[xX][0-9a-fA-F]{1,2}|.)", re.DOTALL)
_SIMPLE = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b",
           b"f": b"\f", b"v": b"\v"}
_MAX_DEPTH = 16


def _unescape(token):
    def replace(match):
        code = match[1]
        if code[:1].isdigit():
            require(int(code, 8) < 256, "an escape above one byte")
            return bytes([int(code, 8)])
        if code[:1] in (b"x", b"X") and len(code) > 1:
            return bytes([int(code[1:], 16)])
        return _SIMPLE.get(code, code)
    return _ESCAPE.sub(replace, token[1:-1].encode("utf-8"))


class _Tokens:
    def __init__(self, text, place):
        self.place = place
        self.tokens = []
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            require(match is not None, f"{place} is malformed at {at}")
            at = match.end()
            if match.lastgroup:
                self.tokens.append((match.lastgroup, match[0]))
        self.at = 0

    def peek(self):
        return (self.tokens[self.at] if self.at < len(self.tokens)
                else ("end", ""))

    def take(self, kind=None, value=None):
        found = self.peek()
        require((kind is None or found[0] == kind)
                and (value is None or found[1] == value),
                f"{self.place}: {found[1]!r} is not expected")
        self.at += 1
        return found

    def skip(self, value):
        if self.peek() == ("sign", value):
            self.at += 1
            return True
        return False


class TextReader:
    def __init__(self, schema):
        self.schema = schema

    def read(self, name, text, place):
        tokens = _Tokens(text, place)
        return self._message(name, tokens, "", 0)

    def _message(self, name, tokens, closing, depth):
        require(depth < _MAX_DEPTH, f"{tokens.place} is nested too deeply")
        fields = {f.name: f for f in self.schema.messages[name].values()}
        values = {}
        for field in fields.values():
            values[field.name] = ([] if field.repeated else {
                "bytes": b"", "string": "", "bool": False}.get(
                    field.type,
                    None if field.type in self.schema.messages else 0))
        seen = set()
        while True:
            if closing and tokens.skip(closing):
                break
            if not closing and tokens.peek()[0] == "end":
                break
            field = fields.get(tokens.take("word")[1])
            require(field is not None, f"{tokens.place}: an unknown field")
            require(field.repeated or field.name not in seen,
                    f"{tokens.place}: {field.name} is there twice")
            seen.add(field.name)
            colon = tokens.skip(":")
            require(colon or field.type in self.schema.messages,
                    f"{tokens.place}: {field.name} has no value")
            if field.repeated and tokens.skip("["):
                while not tokens.skip("]"):
                    values[field.name].append(
                        self._value(field, tokens, depth))
                    if tokens.peek() != ("sign", "]"):
                        tokens.take("sign", ",")
            elif field.repeated:
                values[field.name].append(self._value(field, tokens, depth))
            else:
                values[field.name] = self._value(field, tokens, depth)
            if not tokens.skip(","):
                tokens.skip(";")
        return Message(name, values)

    def _value(self, field, tokens, depth):
        if field.type in self.schema.messages:
            opening = tokens.take("sign")[1]
            require(opening in "{<", f"{tokens.place}: {field.name}")
            return self._message(field.type, tokens,
                                 "}" if opening == "{" else ">", depth + 1)
        kind, value = tokens.take()
        if field.type in ("bytes", "string"):
            require(kind == "text", f"{tokens.place}: {field.name}")
            data = _unescape(value)
            # Strings that follow one another are one.
            while tokens.peek()[0] == "text":
                data += _unescape(tokens.take()[1])
            try:
                return data if field.type == "bytes" else data.decode("utf-8")
            except UnicodeDecodeError:
                raise Untrue(f"{tokens.place}: {field.name} is no UTF-8"
                             ) from None
        if field.type == "bool":
            require(value in ("true", "false"),
                    f"{tokens.place}: {field.name}")
            return value == "true"
        if field.type in self.schema.enums and kind == "word":
            numbers = {v: k for k, v in
                       self.schema.enums[field.type].items()}
            require(value in numbers, f"{tokens.place}: {field.name}")
            return numbers[value]
        require(kind == "number", f"{tokens.place}: {field.name}")
        return int(value)
