"""What is wrong with something that somebody gave us to check."""

import base64
import binascii


class Untrue(Exception):
    """The first thing that is not as it claims to be, in a sentence."""


def require(condition, sentence):
    if not condition:
        raise Untrue(sentence)


def decode_base64(text, what, length=None):
    """RFC 4648 with padding, in the one form that encoding gives."""
    require(isinstance(text, str), f"{what} is no text")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Untrue(f"{what} is no base64") from None
    require(base64.b64encode(data).decode("ascii") == text,
            f"{what} is base64 in another form than encoding gives")
    if length is not None:
        require(len(data) == length,
                f"{what} has {len(data)} bytes, not {length}")
    return data


def decimal(text, what, most):
    """An ASCII decimal without leading zeros, at most `most`."""
    require(0 < len(text) <= 20 and text.isascii() and text.isdigit()
            and (text == "0" or text[0] != "0"), f"{what} is no number")
    require(int(text) <= most, f"{what} is above {most}")
    return int(text)


def read_bounded(path, most, what):
    """All of a file that has at most `most` bytes."""
    with open(path, "rb") as file:
        data = file.read(most + 1)
    require(len(data) <= most, f"{what} has more than {most} bytes")
    return data
