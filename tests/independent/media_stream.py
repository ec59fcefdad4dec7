"""What the two container readers give."""

import dataclasses
import fractions
import math


@dataclasses.dataclass(frozen=True)
class MediaPacket:
    # Milliseconds from the file's time 0, exactly as the file has them.
    time_ms: fractions.Fraction
    key: bool
    offset: int
    size: int


@dataclasses.dataclass
class MediaStream:
    # In the words of evidence.json; empty for what no bundle holds.
    codec: str
    video: bool
    # What the container keeps of the codec's parameters, in the form of
    # archiver/media/FORMAT.md; None where it has no place for them.
    config: bytes
    width: int = 0
    height: int = 0
    sample_rate_hz: int = 0
    channels: int = 0
    packets: list = dataclasses.field(default_factory=list)


def round_ms(time):
    """To the nearest whole number, halves up."""
    return math.floor(time + fractions.Fraction(1, 2))


# One file has no more streams, and no more packets, than this.
MAX_STREAMS = 64
MAX_PACKETS = 4_000_000
