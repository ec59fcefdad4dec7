"""Evidence, not footage: what comes out is what went in.

Every healthy recording is pushed as one side, another as the other side. The
reference is ffprobe's and ffmpeg's own reading of the source, never the
product's.
"""

import dataclasses
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import media
from archive import Archive

# Timestamps of both sides together may move, one against the other, by a
# millisecond; and a bit, since ffprobe prints microseconds.
_TOLERANCE_S = 0.00101

_MP4 = {"h264", "hevc", "av1", "vp9", "aac", "opus"}
_WEBM = {"vp8", "vp9", "av1", "opus"}

# Damaged on purpose (damaged_files_test.py), all else is healthy.
DAMAGED = {
    "sample_mdat_too_long.mp4", "sample_with_invalid_nalu.mp4",
    "sample_missing_stsd.mp4", "block_ends_beyond_cluster.mkv",
    "invalid_vp9_bitstream-bug_1416.webm",
}

# Codecs that no recording has, made here.
_MADE = {
    "made-g711-alaw.wav": ("-f", "lavfi", "-i", "sine=440:8000:d=3",
                           "-c:a", "pcm_alaw"),
    "made-g711-ulaw.mov": ("-f", "lavfi", "-i", "sine=880:8000:d=3",
                           "-c:a", "pcm_mulaw"),
    "made-aac.mp4": ("-f", "lavfi", "-i", "sine=660:48000:d=3",
                     "-c:a", "aac", "-b:a", "64k"),
}


@dataclasses.dataclass
class Stream:
    index: int
    codec: str
    hashes: list
    times: list
    keys: list
    # Samples at the end that are decoded and not heard.
    padded: bool


def streams_of(path, *options):
    """What ffprobe reads of a file's audio and video streams."""
    probed = media.probe(path, *options)
    found = []
    for stream in probed["streams"]:
        if stream["codec_type"] not in ("audio", "video"):
            continue
        packets = [p for p in probed["packets"]
                   if p["stream_index"] == stream["index"]]
        found.append(Stream(
            stream["index"], stream["codec_name"],
            [p["data_hash"] for p in packets],
            [float(p["pts_time"]) if "pts_time" in p else None
             for p in packets],
            ["K" in p["flags"] for p in packets],
            any(d.get("discard_padding") for p in packets[-1:]
                for d in p.get("side_data_list", ()))))
    return found


def copy_for_reference(path, scratch):
    """A source whose payloads are canonical, by ffmpeg's own rewriting.

    Annex B (elementary streams, and H.264 in Matroska without parameters)
    becomes length-prefixed; all else is canonical in its own container.
    """
    if path.suffix != ".264" and path.name != "mediarecorder-avc1opus.mkv":
        return path
    copy = scratch / f"reference-{path.stem}.mkv"
    if not copy.exists():
        # Elementary streams have no times, which Matroska insists on.
        numbered = (("-bsf:v", "setts=ts=N*48000") if path.suffix == ".264"
                    else ())
        media.ffmpeg("-i", path, "-map", "0", "-c", "copy", *numbered, copy)
    return copy


class MediaFidelityTest(unittest.TestCase):

    maxDiff = 2000

    @classmethod
    def setUpClass(cls):
        cls.scratch = pathlib.Path(cls.enterClassContext(
            tempfile.TemporaryDirectory(prefix="diptych-media-")))
        cls.archive = Archive()
        cls.addClassCleanup(cls.archive.close)
        cls.archive.init()
        cls.archive.start()

    def sources(self):
        found = [p for p in sorted(media.DATA.iterdir())
                 if p.suffix in (".mkv", ".webm")]
        names = {p.name for p in found}
        if media.SHARED.is_dir():
            for folder in (media.SHARED, media.SHARED / "third_party"):
                found += [p for p in sorted(folder.iterdir())
                          if p.suffix in (".mkv", ".webm", ".mp4", ".264")
                          and p.name not in DAMAGED | names]
        for name, arguments in _MADE.items():
            path = self.scratch / name
            if not path.exists():
                media.ffmpeg(*arguments, path)
            found.append(path)
        return found

    def test_recordings_are_there(self):
        if not media.SHARED.is_dir():
            self.skipTest(f"only tests/data: no {media.SHARED.name} folder "
                          "outside the repository (DIPTYCH_SHARED_DIR)")
        self.assertGreater(len(self.sources()), 15)

    def test_every_recording_on_either_side(self):
        found = self.sources()
        for at in range(0, len(found), 2):
            one, other = found[at], found[(at + 1) % len(found)]
            with self.subTest(resident=one.name, clerk=other.name):
                self.compare_pair(one, other)

    def test_same_codec_on_other_sides(self):
        # Sides change places: nothing belongs to one of them.
        self.compare_pair(media.CLERK, media.VP8_RESIDENT)

    def compare_pair(self, resident, clerk):
        done = self.archive.push("--resident", resident, "--clerk", clerk,
                                 "--tag", "clerk=C0231")
        session = done.of_type("receipt")[0]["session"]
        self.archive.wait_indexed()
        sources = {}
        for path in (resident, clerk):
            sources[path] = streams_of(copy_for_reference(path, self.scratch))
        codecs = {s.codec for streams in sources.values() for s in streams}
        for container, able in (("mkv", None), ("mp4", _MP4),
                                ("webm", _WEBM)):
            if able is None or codecs <= able:
                with self.subTest(container):
                    self.compare_export(session, sources, container)

    def compare_export(self, session, sources, container):
        path = self.scratch / f"{session}.{container}"
        self.archive.export(session, "--format", container, "-o", path)
        exported = streams_of(path)
        self.assertEqual(len(exported), sum(map(len, sources.values())))
        offsets = []
        for source, streams in sources.items():
            for stream in streams:
                twin = self.twin_of(stream, exported)
                exported.remove(twin)
                offsets += self.compare_stream(source, stream, path, twin)
        # Both sides moved by the same: within 1 ms as they were sent.
        if offsets:
            self.assertLessEqual(max(offsets) - min(offsets), _TOLERANCE_S)
        path.unlink()

    def twin_of(self, stream, exported):
        """The exported stream with the same packets, whose order counts."""
        same = [e for e in exported
                if e.codec == stream.codec and e.hashes == stream.hashes]
        if not same:
            near = [(e.codec, len(e.hashes),
                     len(set(e.hashes) & set(stream.hashes)))
                    for e in exported]
            self.fail(f"no exported track has the {len(stream.hashes)} "
                      f"packets of the source's {stream.codec} track; "
                      f"(codec, packets, of them in the source): {near}")
        return same[0]

    def compare_stream(self, source, stream, path, twin):
        """Compares one track; returns how far its timestamps moved."""
        self.assertEqual(twin.keys, stream.keys)
        moved = [b - a for a, b in zip(stream.times, twin.times)
                 if a is not None and b is not None]
        if source.suffix != ".264":
            # Elementary streams have no times to compare with.
            self.assertEqual(len(moved), len(stream.times))
            self.assertLessEqual(max(moved) - min(moved), _TOLERANCE_S)
        else:
            moved = []
        # Matroska can't say which frames an edit list hides; MP4 can.
        hidden = (("-ignore_editlist", "1")
                  if source.suffix == ".mp4" and path.suffix != ".mp4" else ())
        decoded = media.frame_hashes(path, f"0:{twin.index}")
        wanted = media.frame_hashes(source, f"0:{stream.index}", *hidden)
        self.assertEqual(len(decoded), len(wanted))
        if stream.padded and path.suffix == ".mp4":
            # MP4 says so by the last sample's duration, which ffmpeg's decoder
            # does not look at: it gives the frame untrimmed.
            decoded, wanted = decoded[:-1], wanted[:-1]
        self.assertEqual(decoded, wanted)
        return moved


if __name__ == "__main__":
    unittest.main()
