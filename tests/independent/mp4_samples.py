"""Streams and samples of an MP4 file (ISO/IEC 14496-12), not fragmented."""

import fractions
import struct

from media_stream import MAX_PACKETS, MAX_STREAMS, MediaPacket, MediaStream
from untrue import require

_TOP = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"udta",
        b"meta"}
_CODECS = {b"avc1": "h264", b"avc3": "h264", b"hvc1": "h265", b"hev1": "h265",
           b"vp08": "vp8", b"vp09": "vp9", b"av01": "av1", b"Opus": "opus",
           b"mp4a": "aac", b"alaw": "g711_alaw", b"ulaw": "g711_ulaw"}
# Where an entry keeps the codec's parameters as archiver/media has them.
_CONFIG_BOXES = {"h264": b"avcC", "h265": b"hvcC", "av1": b"av1C"}


def _boxes(data, at, end, place):
    """(type, start, end) of the boxes that fill a range exactly."""
    while at < end:
        require(at + 8 <= end, f"{place}: a box is cut off at {at}")
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        start = at + 8
        if size == 1:
            require(at + 16 <= end, f"{place}: a box is cut off at {at}")
            size = struct.unpack(">Q", data[at + 8:at + 16])[0]
            start = at + 16
        elif size == 0:
            size = end - at
        require(start - at <= size <= end - at,
                f"{place}: a box is cut off at {at}")
        yield kind, start, at + size
        at += size


def _only(data, start, end, kind, place, optional=False):
    """(start, end) of the one box of a kind."""
    found = [(a, b) for k, a, b in _boxes(data, start, end, place)
             if k == kind]
    if optional and not found:
        return None
    require(len(found) == 1,
            f"{place}: {len(found)} boxes {kind.decode('latin-1')}")
    return found[0]


def _table(data, box, entry, place, head=0):
    """(version, head bytes, entries) of a full box that is a table."""
    start, end = box
    size = struct.calcsize(entry)
    require(end - start >= 8 + head, f"{place}: a table is cut off")
    version = data[start]
    count = struct.unpack(">I", data[start + 4 + head:start + 8 + head])[0]
    first = start + 8 + head
    require(count <= MAX_PACKETS and end - first == count * size,
            f"{place}: a table's length")
    return version, data[start + 4:start + 4 + head], list(
        struct.iter_unpack(entry, data[first:end])) if count else []


class _Trak:
    """One track box."""

    def __init__(self, data, box, movie_scale, mdats, place):
        self.data = data
        self.place = place
        self.movie_scale = movie_scale
        self.mdats = mdats
        start, end = box
        mdia = _only(data, start, end, b"mdia", place)
        minf = _only(data, *mdia, b"minf", place)
        self.stbl = _only(data, *minf, b"stbl", place)
        self.scale = self._scale(_only(data, *mdia, b"mdhd", place))
        a, b = _only(data, *mdia, b"hdlr", place)
        require(b - a >= 12, f"{place}: hdlr is cut off")
        self.handler = bytes(data[a + 8:a + 12])
        self.shift = self._shift(
            _only(data, start, end, b"edts", place, optional=True))

    def _scale(self, box):
        a, b = box
        at = a + (20 if self.data[a:a + 1] == b"\1" else 12)
        require(at + 4 <= b, f"{self.place}: mdhd is cut off")
        scale = struct.unpack(">I", self.data[at:at + 4])[0]
        require(scale > 0, f"{self.place}: a time scale is 0")
        return scale

    def _shift(self, edts):
        """What the edit list adds to media times, in seconds."""
        if edts is None:
            return fractions.Fraction(0)
        elst = _only(self.data, *edts, b"elst", self.place)
        wide = self.data[elst[0]] == 1
        _, _, edits = _table(self.data, elst,
                             ">Qqhh" if wide else ">Iihh", self.place)
        shift = fractions.Fraction(0)
        if edits and edits[0][1] == -1:
            shift += fractions.Fraction(edits[0][0], self.movie_scale)
            edits = edits[1:]
        require(len(edits) == 1 and edits[0][1] >= 0
                and edits[0][2:] == (1, 0),
                f"{self.place}: an edit list that is more than an offset")
        return shift - fractions.Fraction(edits[0][1], self.scale)

    def _box(self, kind, optional=False):
        return _only(self.data, *self.stbl, kind, self.place, optional)

    def stream(self):
        data, place = self.data, self.place
        a, b = self._box(b"stsd")
        entries = list(_boxes(data, a + 8, b, place)) if b - a >= 8 else []
        require(len(entries) == 1, f"{place}: {len(entries)} sample entries")
        kind, start, end = entries[0]
        codec = _CODECS.get(kind, "")
        video = self.handler == b"vide"
        stream = MediaStream(codec, video, None)
        inner = start + (78 if video else 28)
        require(inner <= end, f"{place}: a sample entry is cut off")
        if video:
            stream.width, stream.height = struct.unpack(
                ">HH", data[start + 24:start + 28])
        else:
            stream.channels = struct.unpack(
                ">H", data[start + 16:start + 18])[0]
            stream.sample_rate_hz = struct.unpack(
                ">I", data[start + 24:start + 28])[0] >> 16
        if codec in _CONFIG_BOXES:
            box = _only(data, inner, end, _CONFIG_BOXES[codec], place)
            stream.config = bytes(data[slice(*box)])
        elif codec == "opus":
            box = _only(data, inner, end, b"dOps", place)
            stream.config = _opus_head(bytes(data[slice(*box)]), place)
        elif codec == "aac":
            box = _only(data, inner, end, b"esds", place)
            stream.config = _audio_config(bytes(data[slice(*box)]), place)
        stream.packets = self._samples()
        return stream

    def _samples(self):
        sizes, place = self._sizes(), self.place
        times = self._times(len(sizes))
        offsets = self._offsets(sizes)
        sync = self._box(b"stss", optional=True)
        keys = None
        if sync is not None:
            keys = {n for n, in _table(self.data, sync, ">I", place)[2]}
            require(all(0 < n <= len(sizes) for n in keys),
                    f"{place}: stss names no sample")
        return [MediaPacket((fractions.Fraction(time, self.scale)
                             + self.shift) * 1000,
                            keys is None or number in keys, offset, size)
                for number, (time, offset, size)
                in enumerate(zip(times, offsets, sizes), 1)]

    def _sizes(self):
        box = self._box(b"stsz")
        a, b = box
        require(b - a >= 12, f"{self.place}: stsz is cut off")
        same, count = struct.unpack(">II", self.data[a + 4:a + 12])
        require(count <= MAX_PACKETS, f"{self.place}: too many samples")
        if same:
            require(b - a == 12, f"{self.place}: stsz's length")
            return [same] * count
        return [n for n, in _table(self.data, box, ">I", self.place, 4)[2]]

    def _times(self, count):
        place = self.place
        times, time = [], 0
        for run, delta in _table(self.data, self._box(b"stts"), ">II",
                                 place)[2]:
            require(len(times) + run <= count, f"{place}: stts is too long")
            for _ in range(run):
                times.append(time)
                time += delta
        require(len(times) == count, f"{place}: stts is too short")
        box = self._box(b"ctts", optional=True)
        if box is None:
            return times
        entry = ">Ii" if self.data[box[0]] == 1 else ">II"
        at = 0
        for run, offset in _table(self.data, box, entry, place)[2]:
            require(at + run <= count, f"{place}: ctts is too long")
            for _ in range(run):
                times[at] += offset
                at += 1
        require(at == count, f"{place}: ctts is too short")
        return times

    def _offsets(self, sizes):
        place = self.place
        box = self._box(b"stco", optional=True)
        if box is not None:
            chunks = [n for n, in _table(self.data, box, ">I", place)[2]]
        else:
            chunks = [n for n, in
                      _table(self.data, self._box(b"co64"), ">Q", place)[2]]
        runs = _table(self.data, self._box(b"stsc"), ">III", place)[2]
        offsets = []
        for i, (first, per_chunk, entry) in enumerate(runs):
            end = runs[i + 1][0] if i + 1 < len(runs) else len(chunks) + 1
            require(entry == 1 and per_chunk > 0
                    and (first == 1 if i == 0 else True)
                    and first < end <= len(chunks) + 1, f"{place}: stsc")
            for chunk in range(first, end):
                at = chunks[chunk - 1]
                for _ in range(per_chunk):
                    require(len(offsets) < len(sizes),
                            f"{place}: more samples in chunks than sizes")
                    size = sizes[len(offsets)]
                    require(any(a <= at and at + size <= b
                                for a, b in self.mdats),
                            f"{place}: a sample lies outside of the media")
                    offsets.append(at)
                    at += size
        require(len(offsets) == len(sizes),
                f"{place}: fewer samples in chunks than sizes")
        return offsets


def _opus_head(box, place):
    """An OpusHead (RFC 7845, 5.1) of a dOps box; the version is 1."""
    require(len(box) >= 11 and box[0] == 0, f"{place}: dOps")
    channels, skip, rate, gain, family = struct.unpack(">xBHIhB", box[:11])
    require(len(box) == (11 if family == 0 else 13 + channels),
            f"{place}: dOps")
    return (b"OpusHead\1" + struct.pack("<BHIhB", channels, skip, rate, gain,
                                        family) + box[11:])


def _descriptors(data, at, end, place):
    """(tag, start, end) of MPEG-4 descriptors (ISO/IEC 14496-1, 8.3.3)."""
    while at < end:
        tag, at = data[at], at + 1
        size = 0
        for _ in range(4):
            require(at < end, f"{place}: esds is cut off")
            byte, at = data[at], at + 1
            size = size << 7 | byte & 0x7F
            if not byte & 0x80:
                break
        require(size <= end - at, f"{place}: esds is cut off")
        yield tag, at, at + size
        at += size


def _audio_config(box, place):
    """The AudioSpecificConfig of an esds box."""
    for tag, a, b in _descriptors(box, 4, len(box), place):
        if tag == 3:
            require(b - a >= 3 and box[a + 2] == 0, f"{place}: esds")
            for inner, c, d in _descriptors(box, a + 3, b, place):
                if inner == 4:
                    require(d - c >= 13, f"{place}: esds")
                    for last, e, f in _descriptors(box, c + 13, d, place):
                        if last == 5:
                            return box[e:f]
    require(False, f"{place}: esds has no configuration")


def read_streams(data, place):
    """The streams of an MP4 file in the order of its tracks."""
    moovs, mdats = [], []
    for kind, start, end in _boxes(data, 0, len(data), place):
        require(kind in _TOP,
                f"{place}: box {kind.decode('latin-1')!r} at {start}")
        if kind == b"moov":
            moovs.append((start, end))
        elif kind == b"mdat":
            mdats.append((start, end))
    require(len(moovs) == 1, f"{place}: {len(moovs)} boxes moov")
    require(_only(data, *moovs[0], b"mvex", place, optional=True) is None,
            f"{place} is fragmented")
    a, b = _only(data, *moovs[0], b"mvhd", place)
    at = a + (20 if data[a:a + 1] == b"\1" else 12)
    require(at + 4 <= b, f"{place}: mvhd is cut off")
    movie_scale = struct.unpack(">I", data[at:at + 4])[0]
    require(movie_scale > 0, f"{place}: a time scale is 0")
    traks = [(s, e) for k, s, e in _boxes(data, *moovs[0], place)
             if k == b"trak"]
    require(0 < len(traks) <= MAX_STREAMS, f"{place}: {len(traks)} tracks")
    return [_Trak(data, box, movie_scale, mdats, place).stream()
            for box in traks]
