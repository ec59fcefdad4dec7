"""Damaged recordings: what is wrong is said, what can be read is archived."""

import pathlib
import sys
import tempfile
import unittest
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import matroska
import media
from archive import Archive

THIRD_PARTY = media.SHARED / "third_party"

# File -> how many of ffprobe's packets at least are archived, by codec.
FILES = {
    "sample_mdat_too_long.mp4": {"h264": 30, "aac": 45},
    "sample_with_invalid_nalu.mp4": {"h264": 1},
    "sample_missing_stsd.mp4": {"h264": 30},
    "block_ends_beyond_cluster.mkv": {},
    "invalid_vp9_bitstream-bug_1416.webm": {},
}


class DamagedFilesTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.archive = Archive()
        cls.addClassCleanup(cls.archive.close)
        cls.archive.init()
        cls.archive.start()
        cls.scratch = pathlib.Path(cls.enterClassContext(
            tempfile.TemporaryDirectory(prefix="diptych-media-")))

    def setUp(self):
        self.processes = self.archive.processes()

    def push(self, path):
        """Pushes a bad file beside a good one; (run, session)."""
        session = str(uuid.uuid4())
        done = self.archive.run(
            "gateway", "push", "--fast", "--json", "--session", session,
            "--resident", path, "--clerk", media.CLERK,
            "--tag", "clerk=C0231", timeout_s=60)
        self.assertIn(done.code, (0, 1), str(done))
        self.assertEqual(self.archive.processes(), self.processes,
                         "the daemon's processes changed")
        self.assertIn(path.name, done.stderr + done.stdout,
                      "nothing said which file is wrong")
        return done, session

    def exported(self, session):
        self.archive.wait_indexed()
        path = self.scratch / f"{session}.mkv"
        done = self.archive.run("auditor", "export", session, "--format",
                                "mkv", "-o", path, "--purpose", "a test")
        if done.code == 3:
            return None
        self.assertEqual(done.code, 0, str(done))
        return path

    def assert_whole_clerk(self, path):
        """The good side came through untouched."""
        export = matroska.read(path)
        for number in (1, 2):
            wanted = [p.payload for p in matroska.read(media.CLERK).of(number)]
            self.assertIn(wanted, [[p.payload for p in export.of(n)]
                                   for n in export.tracks])

    def test_damaged_recordings(self):
        if not THIRD_PARTY.is_dir():
            self.skipTest("no recordings outside the repository "
                          "(DIPTYCH_SHARED_DIR)")
        for name, least in FILES.items():
            with self.subTest(name):
                done, session = self.push(THIRD_PARTY / name)
                path = self.exported(session)
                if path is None:
                    self.assertFalse(least)
                    self.assertEqual(done.code, 1)
                    continue
                self.assert_whole_clerk(path)
                self.assert_least(path, THIRD_PARTY / name, least)

    def assert_least(self, export, source, least):
        """So many packets of the source are there, and in its order."""
        archived = media.probe(export)
        read = media.probe(source)
        for codec, wanted in least.items():
            with self.subTest(codec):
                order = {}
                for p in read["packets"]:
                    order.setdefault(p["data_hash"], len(order))
                index = {s["index"] for s in archived["streams"]
                         if s["codec_name"] == codec}
                places = [order[p["data_hash"]] for p in archived["packets"]
                          if p["stream_index"] in index
                          and p["data_hash"] in order]
                self.assertGreaterEqual(len(places), wanted)
                self.assertEqual(places, sorted(places))

    def test_files_that_are_no_media(self):
        noise = self.scratch / "noise.mp4"
        noise.write_bytes(bytes((i * 7919 >> 3) & 0xFF for i in range(65536)))
        empty = self.scratch / "empty.mkv"
        empty.touch()
        for path in (noise, empty, self.scratch / "absent.mkv"):
            with self.subTest(path.name):
                done = self.archive.run(
                    "gateway", "push", "--fast", "--resident", path,
                    "--clerk", media.CLERK, "--tag", "clerk=C0231",
                    timeout_s=60)
                self.assertIn(done.code, (1, 2, 3), str(done))
                self.assertIn(path.name, done.stderr)

    def test_truncated_recording(self):
        for source in (media.RESIDENT, media.VP8_RESIDENT):
            with self.subTest(source.suffix):
                cut = self.scratch / f"cut{source.suffix}"
                data = source.read_bytes()
                cut.write_bytes(data[:len(data) * 2 // 3])
                session = str(uuid.uuid4())
                done = self.archive.run(
                    "gateway", "push", "--fast", "--json", "--session",
                    session, "--resident", cut, "--clerk", media.CLERK,
                    "--tag", "clerk=C0231", timeout_s=60)
                self.assertIn(done.code, (0, 1), str(done))
                path = self.exported(session)
                self.assert_whole_clerk(path)
                self.assert_prefixes(path, source, cut)

    def assert_prefixes(self, exported, source, cut):
        """Each track holds the source's packets up to the cut, no others."""
        export = matroska.read(exported)
        tracks = [[p.payload for p in export.of(n)] for n in export.tracks]
        whole = matroska.read(source)
        read = media.probe(cut)["packets"]
        for number in whole.tracks:
            wanted = [p.payload for p in whole.of(number)]
            # ffprobe gives the packet that was cut in two, too.
            least = sum(p["stream_index"] == number - 1 for p in read) - 1
            self.assertGreater(least, 50)
            longest = max((t for t in tracks if t == wanted[:len(t)]),
                          key=len, default=[])
            self.assertGreaterEqual(len(longest), least)

    def test_zz_check_is_clean_after_all_this(self):
        done = self.archive.check("--read-data")
        self.assertEqual(done.code, 0, str(done))


if __name__ == "__main__":
    unittest.main()
