"""Streams and packets of a Matroska file (RFC 8794, RFC 9559).

Reads what an export holds; whatever would let a player see something else than
is read here (lacing, content encodings, stretched track times) is untrue.
"""

import fractions
import struct

from media_stream import MAX_PACKETS, MAX_STREAMS, MediaPacket, MediaStream
from untrue import Untrue, require

_UNKNOWN = None

_EBML, _DOC_TYPE = 0x1A45DFA3, 0x4282
_SEGMENT, _INFO, _TRACKS = 0x18538067, 0x1549A966, 0x1654AE6B
_CLUSTER, _TIMESTAMP, _BLOCK_GROUP = 0x1F43B675, 0xE7, 0xA0
_SIMPLE_BLOCK, _BLOCK, _REFERENCE = 0xA3, 0xA1, 0xFB
_SEEK_HEAD, _CUES, _TAGS = 0x114D9B74, 0x1C53BB6B, 0x1254C367
_CHAPTERS, _ATTACHMENTS = 0x1043A770, 0x1941A469
_VOID, _CRC = 0xEC, 0xBF
_TOP = {_INFO, _TRACKS, _CLUSTER, _SEEK_HEAD, _CUES, _TAGS, _CHAPTERS,
        _ATTACHMENTS}
# PrevSize and Position, which say nothing of packets.
_CLUSTER_ASIDE = {0xAB, 0xA7, _VOID, _CRC}
# BlockDuration, DiscardPadding, BlockAdditions, ReferencePriority, CodecState.
_GROUP_ASIDE = {0x9B, 0x75A2, 0x75A1, 0xFA, 0xA4, _VOID, _CRC}

_TRACK_ENTRY, _NUMBER, _TYPE, _CODEC_ID = 0xAE, 0xD7, 0x83, 0x86
_CODEC_PRIVATE, _CODEC_DELAY, _VIDEO, _AUDIO = 0x63A2, 0x56AA, 0xE0, 0xE1
_TRACK_SCALE, _ENCODINGS, _OPERATION = 0x23314F, 0x6D80, 0xE2
_WIDTH, _HEIGHT, _RATE, _CHANNELS = 0xB0, 0xBA, 0xB5, 0x9F
_TIMESTAMP_SCALE = 0x2AD7B1

_CODECS = {"V_MPEG4/ISO/AVC": "h264", "V_MPEGH/ISO/HEVC": "h265",
           "V_VP8": "vp8", "V_VP9": "vp9", "V_AV1": "av1", "A_OPUS": "opus",
           "A_AAC": "aac"}
# WAVEFORMATEX's tags in A_MS/ACM.
_WAVE_CODECS = {6: "g711_alaw", 7: "g711_ulaw"}


def _element(data, at, end, place):
    """(id, start of the content, end of the content or _UNKNOWN)."""
    require(at < end, f"{place}: an element is cut off at {at}")
    first = data[at]
    length = 9 - first.bit_length()
    require(length <= 4 and at + length < end,
            f"{place}: no element at {at}")
    identity = int.from_bytes(data[at:at + length], "big")
    at += length
    first = data[at]
    length = 9 - first.bit_length()
    require(length <= 8 and at + length <= end,
            f"{place}: an element's size at {at}")
    size = int.from_bytes(data[at:at + length], "big") & (
        (1 << 7 * length) - 1)
    at += length
    if size == (1 << 7 * length) - 1:
        return identity, at, _UNKNOWN
    require(size <= end - at, f"{place}: an element is cut off at {at}")
    return identity, at, at + size


def _children(data, at, end, place):
    """The elements of a master whose sizes are all known."""
    while at < end:
        identity, start, stop = _element(data, at, end, place)
        require(stop is not _UNKNOWN, f"{place}: an unknown size at {at}")
        yield identity, start, stop
        at = stop


def _unsigned(data, start, stop, place):
    require(stop - start <= 8, f"{place}: a number at {start}")
    return int.from_bytes(data[start:stop], "big")


def _float(data, start, stop, place):
    if stop - start == 4:
        return struct.unpack(">f", data[start:stop])[0]
    require(stop - start == 8, f"{place}: a number at {start}")
    return struct.unpack(">d", data[start:stop])[0]


class _Track:
    def __init__(self, number, delay_ms, stream):
        self.number = number
        self.delay_ms = delay_ms
        self.stream = stream


class _File:
    def __init__(self, data, place):
        self.data = data
        self.place = place
        self.scale = 1_000_000
        self.tracks = []
        self.by_number = {}
        self.has_info = False
        self.packets = 0

    def read(self):
        data, place = self.data, self.place
        identity, start, stop = _element(data, 0, len(data), place)
        require(identity == _EBML and stop is not _UNKNOWN,
                f"{place} is no EBML file")
        types = [bytes(data[a:b]).rstrip(b"\0")
                 for i, a, b in _children(data, start, stop, place)
                 if i == _DOC_TYPE]
        require(types in ([b"matroska"], [b"webm"]),
                f"{place} is no Matroska file")
        identity, start, end = _element(data, stop, len(data), place)
        require(identity == _SEGMENT, f"{place} has no Segment")
        if end is _UNKNOWN:
            end = len(data)
        require(end == len(data), f"{place}: something follows the Segment")
        self._segment(start, end)
        return [track.stream for track in self.tracks]

    def _segment(self, at, end):
        place = self.place
        while at < end:
            identity, start, stop = _element(self.data, at, end, place)
            if identity == _CLUSTER:
                require(self.tracks, f"{place}: a Cluster before Tracks")
                at = self._cluster(start, stop, end)
                continue
            require(stop is not _UNKNOWN, f"{place}: an unknown size at {at}")
            if identity == _INFO:
                require(not self.has_info, f"{place}: Info is there twice")
                self.has_info = True
                self._info(start, stop)
            elif identity == _TRACKS:
                require(not self.tracks, f"{place}: Tracks are there twice")
                self._tracks(start, stop)
            else:
                require(identity in _TOP or identity in (_VOID, _CRC),
                        f"{place}: element {identity:#x} at {at}")
            at = stop
        require(self.has_info and self.tracks,
                f"{place}: no Info or no Tracks")

    def _info(self, start, stop):
        for identity, a, b in _children(self.data, start, stop, self.place):
            if identity == _TIMESTAMP_SCALE:
                self.scale = _unsigned(self.data, a, b, self.place)
                require(self.scale > 0, f"{self.place}: TimestampScale is 0")

    def _tracks(self, start, stop):
        for identity, a, b in _children(self.data, start, stop, self.place):
            if identity == _TRACK_ENTRY:
                self._track(a, b)
        require(0 < len(self.tracks) <= MAX_STREAMS,
                f"{self.place}: {len(self.tracks)} tracks")

    def _track(self, start, stop):
        data, place = self.data, self.place
        fields = {}
        for identity, a, b in _children(data, start, stop, place):
            require(identity not in fields or identity in (_VOID, _CRC),
                    f"{place}: a track has element {identity:#x} twice")
            fields[identity] = (a, b)

        def number(identity, default=0):
            if identity not in fields:
                return default
            return _unsigned(data, *fields[identity], place)

        require(_ENCODINGS not in fields and _OPERATION not in fields,
                f"{place}: a track is encoded once more")
        if _TRACK_SCALE in fields:
            require(_float(data, *fields[_TRACK_SCALE], place) == 1.0,
                    f"{place}: a track's times are stretched")
        require(_CODEC_ID in fields, f"{place}: a track without codec")
        a, b = fields[_CODEC_ID]
        name = bytes(data[a:b]).rstrip(b"\0").decode("ascii", "replace")
        a, b = fields.get(_CODEC_PRIVATE, (0, 0))
        config = bytes(data[a:b])
        codec = _CODECS.get(name, "")
        if name == "A_MS/ACM" and len(config) >= 2:
            codec = _WAVE_CODECS.get(struct.unpack_from("<H", config)[0], "")
        if codec in ("vp8", "vp9", "") or codec.startswith("g711"):
            config = None
        stream = MediaStream(codec, number(_TYPE) == 1, config)
        if _VIDEO in fields:
            for identity, a, b in _children(data, *fields[_VIDEO], place):
                if identity == _WIDTH:
                    stream.width = _unsigned(data, a, b, place)
                elif identity == _HEIGHT:
                    stream.height = _unsigned(data, a, b, place)
        if _AUDIO in fields:
            stream.channels = 1
            for identity, a, b in _children(data, *fields[_AUDIO], place):
                if identity == _RATE:
                    stream.sample_rate_hz = _float(data, a, b, place)
                elif identity == _CHANNELS:
                    stream.channels = _unsigned(data, a, b, place)
        # Nanoseconds; readers take it off in whole milliseconds.
        delay_ms = (number(_CODEC_DELAY) + 500_000) // 1_000_000
        track = _Track(number(_NUMBER), delay_ms, stream)
        require(track.number and track.number not in self.by_number,
                f"{place}: two tracks of one number")
        self.by_number[track.number] = track
        self.tracks.append(track)

    def _cluster(self, start, stop, end):
        """Gives the place behind it."""
        data, place = self.data, self.place
        known = stop is not _UNKNOWN
        limit = stop if known else end
        timestamp = None
        at = start
        while at < limit:
            identity, a, b = _element(data, at, limit, place)
            if not known and identity in _TOP:
                return at
            require(b is not _UNKNOWN, f"{place}: an unknown size at {at}")
            if identity == _TIMESTAMP:
                require(timestamp is None,
                        f"{place}: a Cluster has two times at {at}")
                timestamp = _unsigned(data, a, b, place)
            elif identity == _SIMPLE_BLOCK:
                self._block(a, b, timestamp, None)
            elif identity == _BLOCK_GROUP:
                self._group(a, b, timestamp)
            else:
                require(identity in _CLUSTER_ASIDE,
                        f"{place}: element {identity:#x} at {at}")
            at = b
        return at

    def _group(self, start, stop, timestamp):
        blocks, refers = [], False
        for identity, a, b in _children(self.data, start, stop, self.place):
            if identity == _BLOCK:
                blocks.append((a, b))
            elif identity == _REFERENCE:
                refers = True
            else:
                require(identity in _GROUP_ASIDE,
                        f"{self.place}: element {identity:#x} at {a}")
        require(len(blocks) == 1, f"{self.place}: a BlockGroup at {start}")
        self._block(*blocks[0], timestamp, not refers)

    def _block(self, start, stop, timestamp, key):
        data, place = self.data, self.place
        require(timestamp is not None,
                f"{place}: a block before its Cluster's time, at {start}")
        require(start < stop, f"{place}: an empty block at {start}")
        length = 9 - data[start].bit_length()
        require(length <= 8 and start + length + 3 <= stop,
                f"{place}: a block is cut off at {start}")
        number = int.from_bytes(data[start:start + length], "big") & (
            (1 << 7 * length) - 1)
        track = self.by_number.get(number)
        require(track is not None,
                f"{place}: a block of an unknown track at {start}")
        at = start + length
        relative, flags = struct.unpack(">hB", data[at:at + 3])
        require(not flags & 0x7E,
                f"{place}: a laced or hidden block at {start}")
        if key is None:
            key = bool(flags & 0x80)
        ticks = timestamp + relative
        time_ms = fractions.Fraction(ticks * self.scale, 1_000_000)
        self.packets += 1
        if self.packets > MAX_PACKETS:
            raise Untrue(f"{place} has more than {MAX_PACKETS} packets")
        track.stream.packets.append(MediaPacket(
            time_ms - track.delay_ms, key, at + 3, stop - at - 3))


def read_streams(data, place):
    """The streams of a Matroska file in the order of its tracks."""
    return _File(data, place).read()
