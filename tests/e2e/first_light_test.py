"""Both sides of a real call go in and come out by tag."""

import pathlib
import subprocess
import sys
import tempfile
import unittest
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import matroska
import media
import wire
from archive import Archive

RESIDENT_NUMBER = "310106195202030021"
FILTER = 'clerk = "C0231" AND item = "0417"'


class FirstLightTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.archive = Archive()
        cls.addClassCleanup(cls.archive.close)
        cls.archive.init()
        cls.archive.start()
        cls.out = pathlib.Path(cls.enterClassContext(
            tempfile.TemporaryDirectory(prefix="diptych-out-")))
        cls.session = str(uuid.uuid4())
        cls.other = str(uuid.uuid4())
        cls.pushed = cls.archive.push(
            "--resident", media.RESIDENT, "--clerk", media.CLERK,
            "--session", cls.session,
            "--tag", "clerk=C0231", "--tag", "item=0417",
            "--tag", f"resident={RESIDENT_NUMBER}", "--tag", "rating=5",
            "--event", "card_read@2s:reader=T1",
            "--attach", f"document_captured@3s={media.DOCUMENT}")
        # Same clerk, another item: must never be found by both.
        cls.archive.push(
            "--resident", media.VP8_RESIDENT, "--clerk", media.VP8_CLERK,
            "--session", cls.other,
            "--tag", "clerk=C0231", "--tag", "item=0999")
        cls.archive.wait_indexed()

    def test_push_names_the_session_and_ends_with_its_receipt(self):
        lines = self.pushed.lines
        self.assertIn(self.session, {l.get("session") for l in lines})
        self.assertEqual(lines[-1]["message_type"], "summary")
        receipt = self.pushed.of_type("receipt")
        self.assertEqual(len(receipt), 1, lines)
        self.assertEqual(receipt[0]["session"], self.session)

    def test_query_by_clerk_and_item(self):
        found = self.archive.query(FILTER)
        self.assertEqual([s["session"] for s in found], [self.session])
        session = found[0]
        self.assertEqual(session["state"], "closed")
        self.assertEqual(session["tags"]["clerk"], ["C0231"])
        self.assertEqual(session["tags"]["item"], ["0417"])
        self.assertEqual(session["tags"]["resident"], [RESIDENT_NUMBER])
        self.assertEqual(set(session["tags"]["event"]),
                         {"card_read", "document_captured"})
        self.assertAlmostEqual(session["duration_s"], 12.0, delta=0.2)
        source = sum(len(p.payload)
                     for side in (media.RESIDENT, media.CLERK)
                     for p in matroska.read(side).packets)
        self.assertEqual(session["bytes"], source)

    def test_every_filter_tells_the_two_apart(self):
        for text, expected in (
                ('clerk = "C0231"', {self.session, self.other}),
                ('item = "0999"', {self.other}),
                (f'resident:"{RESIDENT_NUMBER}"', {self.session}),
                ('resident = "310106195202030022"', set()),
                ('clerk = "C0231" AND NOT item = "0417"', {self.other}),
                ('item = "0417" OR item = "0999"',
                 {self.session, self.other}),
                ('event:document_captured', {self.session}),
                ('rating <= 2', set()),
                ('rating >= 4', {self.session}),
                ('start_time >= "2001-01-01T00:00:00Z"',
                 {self.session, self.other}),
                ('start_time < "2001-01-01T00:00:00Z"', set()),
                ('duration > 600s', set()),
                ('duration > 11s', {self.session})):
            with self.subTest(text):
                found = {s["session"] for s in self.archive.query(text)}
                self.assertEqual(found, expected)

    def test_newest_first_and_pages(self):
        both = self.archive.query('clerk = "C0231"')
        self.assertEqual([s["session"] for s in both],
                         [self.other, self.session])
        oldest = self.archive.query('clerk = "C0231"', "--oldest-first")
        self.assertEqual([s["session"] for s in oldest],
                         [self.session, self.other])
        first = self.archive.ok("auditor", "query", 'clerk = "C0231"',
                                "--limit", "1")
        self.assertEqual([s["session"] for s in first.of_type("session")],
                         [self.other])
        token = first.summary["next_page"]
        self.assertTrue(token)
        second = self.archive.ok("auditor", "query", 'clerk = "C0231"',
                                 "--limit", "1", "--page", token)
        self.assertEqual([s["session"] for s in second.of_type("session")],
                         [self.session])

    def test_count(self):
        done = self.archive.ok("auditor", "count", 'clerk = "C0231"',
                               "--by", "item")
        self.assertEqual(done.summary["sessions"], 2)
        groups = {g["value"]: g["sessions"]
                  for g in done.lines[:-1] if "value" in g}
        self.assertEqual(groups, {"0417": 1, "0999": 1})

    def test_a_bad_filter_shows_the_place(self):
        done = self.archive.run("auditor", "query", 'clerk = = "C0231"')
        self.assertEqual(done.code, 2, str(done))
        self.assertIn("^", done.stderr)

    def test_show(self):
        done = self.archive.ok("auditor", "show", self.session)
        text = done.stdout
        for word in ("card_read", "document_captured", "C0231", "0417"):
            self.assertIn(word, text)
        spans = done.of_type("span")
        # The resident's picture changes its size in mid-call: a new span.
        self.assertEqual(len(spans), 2)
        for span in spans:
            self.assertEqual(
                sorted((t["side"], t["codec"]) for t in span["tracks"]),
                [("clerk", "h264"), ("clerk", "opus"),
                 ("resident", "h264"), ("resident", "opus")])
        missing = self.archive.run("auditor", "show", str(uuid.uuid4()))
        self.assertEqual(missing.code, 3, str(missing))

    def test_attached_image_comes_back(self):
        shown = self.archive.ok("auditor", "show", self.session)
        event = [e for e in shown.of_type("event")
                 if e["type"] == "document_captured"]
        self.assertEqual(len(event), 1, shown.stdout)
        channel = wire.channel(self.archive.profile("auditor"),
                               self.archive.address("audit"))
        with channel:
            parts = wire.media_grpc.MediaStub(channel).ReadAttachment(
                wire.media.ReadAttachmentRequest(
                    session_id=self.session,
                    attachment_id=event[0]["attachment"]["attachment"],
                    purpose="a test"), timeout=wire.WAIT_S)
            data = b"".join(p.data for p in parts)
        self.assertEqual(data, media.DOCUMENT.read_bytes())

    def test_export_both_sides_as_mp4(self):
        path = self.out / "both.mp4"
        self.archive.export(self.session, "--format", "mp4", "-o", path)
        streams = media.probe(path)["streams"]
        self.assertEqual(sorted(s["codec_name"] for s in streams),
                         ["h264", "h264", "opus", "opus"])
        self.assert_plays(path)

    def test_clip_of_one_side(self):
        path = self.out / "clip.mp4"
        self.archive.export(self.session, "--from", "3s", "--to", "8s",
                            "--side", "resident", "--format", "mp4",
                            "-o", path)
        probed = media.probe(path)
        self.assertEqual(sorted(s["codec_name"] for s in probed["streams"]),
                         ["h264", "opus"])
        video = next(s["index"] for s in probed["streams"]
                     if s["codec_name"] == "h264")
        shown = [p for p in probed["packets"] if p["stream_index"] == video]
        self.assertIn("K", shown[0]["flags"])
        source = {p["data_hash"]: float(p["pts_time"])
                  for p in media.probe(media.RESIDENT)["packets"]
                  if p["codec_type"] == "video"}
        begin = source[shown[0]["data_hash"]]
        end = max(source[p["data_hash"]] for p in shown)
        keys = [float(p["pts_time"])
                for p in media.probe(media.RESIDENT)["packets"]
                if p["codec_type"] == "video" and "K" in p["flags"]]
        self.assertEqual(begin, max(k for k in keys if k <= 3.0))
        self.assertLess(end, 8.0)
        self.assertGreater(end, 7.8)
        self.assert_plays(path)

    def test_export_asks_for_a_purpose_and_never_overwrites(self):
        path = self.out / "refused.mkv"
        done = self.archive.run("auditor", "export", self.session, "-o", path)
        self.assertEqual(done.code, 2, str(done))
        self.assertFalse(path.exists())

    def test_check_is_clean(self):
        done = self.archive.check("--read-data", "--json")
        self.assertEqual(done.code, 0, str(done))

    def assert_plays(self, path):
        """Every frame decodes without a word of complaint."""
        run = subprocess.run(
            ["ffmpeg", "-v", "warning", "-nostdin", "-xerror", "-i", str(path),
             "-map", "0", "-f", "null", "-"],
            capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 0, run.stderr)
        complaints = [l for l in run.stderr.splitlines()
                      if "error" in l.lower() or "invalid" in l.lower()]
        self.assertEqual(complaints, [])


if __name__ == "__main__":
    unittest.main()
