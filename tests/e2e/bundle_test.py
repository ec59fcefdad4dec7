"""Bundles: what `export --format bundle` writes proves itself, or is not there."""

import base64
import collections
import gzip
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest
import uuid
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import matroska
import media
import timestamp_test
import wire
from archive import DIPTYCH, Archive, command, wait_until

# Record types of archiver/log/FORMAT.md.
OPENED, SPAN, CHUNK, NOTES, PART = 3, 4, 5, 6, 7
STATE, CLOCK, SOURCE_DIGEST = 11, 12, 13


def _files(folder):
    return sorted(p.relative_to(folder).as_posix()
                  for p in folder.rglob("*") if p.is_file())


class Bundle:
    """A bundle's files, and evidence.json."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.data = self.path / "data"
        self.files = _files(self.path)
        self.evidence = json.loads(
            gzip.decompress((self.data / "evidence.json.gz").read_bytes()))
        self.tracks = {t["track_id"]: t for t in self.evidence["tracks"]}

    def runs(self, track):
        return [run for segment in self.evidence["segments"]
                for run in segment["tracks"] if run["track_id"] == track]

    def packets(self, track):
        return sum(sum(run["packets"]) for run in self.runs(track))

    def records(self, kind):
        return [r for r in self.evidence["records"] if r["type"] == kind]

    def boundary(self):
        """[(track, pts in ms, flags, payload)]."""
        path = self.data / "boundary.bin"
        data = path.read_bytes() if path.exists() else b""
        found = []
        while data:
            length = int.from_bytes(data[13:17], "big")
            found.append((int.from_bytes(data[:4], "big"),
                          int.from_bytes(data[4:12], "big", signed=True),
                          data[12], data[17:17 + length]))
            data = data[17 + length:]
        return found

    def raw_ms(self, track):
        """Of each packet: the gateway's milliseconds less the session's."""
        data = zlib.decompress(base64.b64decode(self.tracks[track]["raw_ms"]))
        found, value, shift, last = [], 0, 0, 0
        for byte in data:
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                last += (value >> 1) ^ -(value & 1)
                found.append(last)
                value, shift = 0, 0
        return found

    def played(self):
        """Per stream: [(pts in ms of the session, payload)], in order.

        By the demuxers of ffprobe, which shares them with the product; what
        they make of the file is what a player sees.
        """
        run = subprocess.run(
            ["ffprobe", "-v", "error", "-advanced_editlist", "0", "-show_packets",
             "-show_entries", "packet=stream_index,pts_time,data_hash",
             "-show_data_hash", "SHA256", "-of", "json",
             str(self.data / self.evidence["media"]["file"])],
            capture_output=True, text=True, check=True, timeout=120)
        origin_ms = self.evidence["media"]["origin_us"] // 1000
        found = collections.defaultdict(list)
        for packet in json.loads(run.stdout)["packets"]:
            found[packet["stream_index"]].append(
                (origin_ms + round(float(packet["pts_time"]) * 1000),
                 packet["data_hash"].removeprefix("SHA256:")))
        return found

    def track_packets(self, track):
        """[(pts in ms, SHA-256 of the payload)], boundary and media."""
        boundary = [(ms, hashlib.sha256(payload).hexdigest())
                    for of, ms, _, payload in self.boundary() if of == track]
        played = self.played()
        taken = collections.Counter()
        found = []
        for run in self.runs(track):
            at = run.get("boundary", {"before": 0, "after": 0})
            in_media = sum(run["packets"]) - at["before"] - at["after"]
            found += boundary[:at["before"]]
            del boundary[:at["before"]]
            first = taken[run["stream"]]
            found += played[run["stream"]][first:first + in_media]
            taken[run["stream"]] += in_media
            found += boundary[:at["after"]]
            del boundary[:at["after"]]
        return found


def _source(path, number):
    """[(pts in ms, SHA-256)] of a track of a recording."""
    return [(p.pts_ms, hashlib.sha256(p.payload).hexdigest())
            for p in matroska.read(path).of(number)]


def _position(whole, part):
    """Where `part` lies in `whole`, by its hashes; None if it does not."""
    whole = [h for _, h in whole]
    part = [h for _, h in part]
    for at in range(len(whole) - len(part) + 1):
        if whole[at:at + len(part)] == part:
            return at
    return None


class BundleFixture(unittest.TestCase):

    def make_archive(self):
        archive = Archive()
        self.addCleanup(archive.close)
        archive.init()
        archive.start()
        return archive

    def setUp(self):
        self.out = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="diptych-out-")))

    def export(self, archive, session, *options, name="bundle"):
        path = self.out / name
        archive.export(session, "--format", "bundle", *options, "-o", path)
        self.assert_proves(archive, path)
        return Bundle(path)

    def assert_proves(self, archive, path):
        """By the list of hashes, and by verify with the archive's keys."""
        for name in ("manifest-sha256.txt", "tagmanifest-sha256.txt"):
            done = subprocess.run(["sha256sum", "--quiet", "-c", name],
                                  cwd=path, capture_output=True, text=True,
                                  check=False)
            self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        keys = self.out / "archive.pub"
        if not keys.exists():
            made = command("keys", "export", archive.dir, "-o", keys)
            self.assertEqual(made.code, 0, str(made))
        done = command("verify", path, "--log-key", keys)
        self.assertEqual(done.code, 0, str(done))

    def assert_refused(self, done, code, words, name="bundle"):
        self.assertEqual(done.code, code, str(done))
        self.assertIn(words, done.stderr + done.stdout)
        self.assertEqual([p for p in os.listdir(self.out)
                          if p.startswith(name)], [])


class RecordedSessionTest(BundleFixture):
    """One recorded call in one archive, exported in many ways."""

    @classmethod
    def setUpClass(cls):
        cls.archive = Archive()
        cls.addClassCleanup(cls.archive.close)
        cls.archive.init()
        cls.archive.start()
        cls.session = str(uuid.uuid4())
        cls.archive.push(
            "--resident", media.RESIDENT, "--clerk", media.CLERK,
            "--session", cls.session, "--tag", "clerk=C0231",
            "--set_tag", "6s:item=0418", "--event", "card_read@2s:reader=T1",
            "--attach", f"document_captured@1s={media.DOCUMENT}")
        cls.sources = {1: _source(media.RESIDENT, 1),
                       2: _source(media.RESIDENT, 2),
                       9: _source(media.CLERK, 1), 10: _source(media.CLERK, 2)}

    def assert_holds(self, bundle, track):
        """Pairs' packets are the recording's, in a row, times and all."""
        found = bundle.track_packets(track)
        self.assertEqual(len(found), bundle.packets(track))
        at = _position(self.sources[track], found)
        self.assertIsNotNone(at, f"track {track}")
        source = self.sources[track][at:at + len(found)]
        # The gateway's own times are the recording's, from its beginning on.
        begin = {t: self.sources[t][0][0] for t in self.sources}
        first = min(begin[t] for t in ((1, 2) if track < 9 else (9, 10)))
        raw = bundle.raw_ms(track)
        self.assertEqual(len(raw), len(found))
        self.assertEqual([ms + off for (ms, _), off in zip(found, raw)],
                         [ms - first for ms, _ in source])

    def assert_signed(self, bundle, track):
        runs = [r for r in bundle.evidence["sources"]
                if r["track_id"] == track]
        self.assertEqual(sum(r["packets"] for r in runs),
                         bundle.packets(track))
        for run in runs:
            self.assertEqual(
                bundle.evidence["records"][run["record"]]["type"],
                SOURCE_DIGEST)

    def test_the_whole_session_in_both_containers(self):
        for container in ("mkv", "mp4"):
            with self.subTest(container):
                bundle = self.export(self.archive, self.session,
                                     "--media", container, name=container)
                self.assertIn(f"data/media.{container}", bundle.files)
                self.assertIn("data/report.html", bundle.files)
                self.assertIn("data/attachments/1-document.png", bundle.files)
                self.assertEqual(
                    (bundle.data / "attachments/1-document.png").read_bytes(),
                    media.DOCUMENT.read_bytes())
                self.assertNotIn("data/boundary.bin", bundle.files)
                self.assertEqual(sorted(bundle.tracks), sorted(self.sources))
                for track, source in self.sources.items():
                    self.assertEqual(bundle.packets(track), len(source))
                    self.assert_holds(bundle, track)
                    self.assert_signed(bundle, track)
                self.assertIsNotNone(bundle.evidence["closed"])
                for kind in (OPENED, SPAN, NOTES, PART, SOURCE_DIGEST):
                    self.assertTrue(bundle.records(kind), kind)
                # Every manifest, each naming the one before.
                self.assertEqual(
                    [m.get("proof") is not None
                     for m in bundle.evidence["manifests"]],
                    [False] * (len(bundle.evidence["manifests"]) - 1)
                    + [True])

    def test_a_clip_in_the_middle(self):
        for container in ("mkv", "mp4"):
            with self.subTest(container):
                bundle = self.export(
                    self.archive, self.session, "--from", "4s", "--to", "8s",
                    "--media", container, name=f"clip-{container}")
                self.assertTrue(bundle.boundary())
                for track in self.sources:
                    self.assertLess(bundle.packets(track),
                                    len(self.sources[track]))
                    self.assert_holds(bundle, track)
                    self.assert_signed(bundle, track)
                played = bundle.played()
                # Key frame first, nothing at or behind the end.
                for packets in played.values():
                    self.assertTrue(packets)
                    self.assertLess(max(ms for ms, _ in packets), 8000)
                # The document was captured before the range.
                self.assertEqual(bundle.evidence["attachments"], [])
                self.assertFalse([f for f in bundle.files
                                  if "attachments" in f])
                # What holds for the session is shown all the same.
                self.assertTrue(bundle.records(NOTES))
                self.assertFalse(bundle.records(PART))
                self.assertLess(bundle.evidence["from_us"], 4_000_001)
                self.assertEqual(bundle.evidence["to_us"], 8_000_000)

    def test_one_side_alone_says_nothing_of_the_other(self):
        bundle = self.export(self.archive, self.session, "--side", "clerk")
        self.assertEqual(sorted(bundle.tracks), [9, 10])
        for track in (9, 10):
            self.assertEqual(bundle.packets(track), len(self.sources[track]))
            self.assert_holds(bundle, track)
            self.assert_signed(bundle, track)
        text = gzip.decompress((bundle.data / "evidence.json.gz").read_bytes())
        other = self.export(self.archive, self.session, "--side", "resident",
                            name="other")
        for run in [r for t in (1, 2) for r in other.runs(t)]:
            # Without its salt nobody can try what the other side may have
            # been silent about.
            self.assertNotIn(run["salt"].encode(), text)

    def test_what_was_not_asked_for_stays_hidden(self):
        """The resident's events and document, early in the session."""
        late = ["--from", "8s", "--to", "9s"]
        for side, times in (("resident", []), ("clerk", []), ("clerk", late),
                            ("both", late)):
            bundle = self.export(self.archive, self.session, "--side", side,
                                 *times, name=side + "-".join(times))
            notes = b"".join(base64.b64decode(n["note"])
                             for n in bundle.evidence["notes"])
            shown = side == "resident"
            self.assertIn(b"C0231", notes)
            self.assertEqual(b"card_read" in notes, shown)
            self.assertEqual(b"document_captured" in notes, shown)
            self.assertEqual("data/attachments/1-document.png" in bundle.files,
                             shown)

    def test_a_clip_shows_no_salt_of_what_it_has_not(self):
        bundle = self.export(self.archive, self.session,
                             "--from", "9s", "--to", "10s", "--side", "clerk")
        whole = self.export(self.archive, self.session, name="whole")
        text = gzip.decompress((bundle.data / "evidence.json.gz").read_bytes())
        partial = 0
        for track in (9, 10):
            for run in bundle.runs(track):
                if "salts" in run:
                    partial += 1
                    self.assertEqual(len(run["salts"]), len(run["packets"]))
        self.assertTrue(partial)
        hidden = [r["salt"] for t in (1, 2, 9, 10) for r in whole.runs(t)]
        shown = [s for s in hidden if s.encode() in text]
        self.assertLess(len(shown), len(hidden))

    def test_a_bundle_of_a_filter(self):
        folder = self.out / "all"
        self.archive.export("--filter", 'clerk = "C0231"', "--format",
                            "bundle", "-o", folder)
        self.assertEqual(os.listdir(folder), [self.session])
        self.assert_proves(self.archive, folder / self.session)

    def test_what_is_there_is_not_overwritten(self):
        bundle = self.export(self.archive, self.session, "--side", "clerk")
        before = (bundle.path / "manifest-sha256.txt").read_bytes()
        done = self.archive.run(
            "auditor", "export", self.session, "--format", "bundle",
            "-o", bundle.path, "--purpose", "a test")
        self.assertEqual(done.code, 1, str(done))
        self.assertEqual((bundle.path / "manifest-sha256.txt").read_bytes(),
                         before)
        again = self.archive.export(
            self.session, "--format", "bundle", "--force", "--side",
            "resident", "-o", bundle.path)
        self.assertEqual(again.code, 0)
        self.assertEqual(sorted(Bundle(bundle.path).tracks), [1, 2])
        self.assertEqual(sorted(os.listdir(self.out)),
                         ["archive.pub", "bundle"])

    def test_wrong_wishes_are_refused_and_leave_nothing(self):
        def export(*options):
            return self.archive.run(
                "auditor", "export", self.session, "--format", "bundle",
                "-o", self.out / "bundle", "--purpose", "a test", *options)
        self.assert_refused(export("--from", "9s", "--to", "3s"), 2, "--to")
        self.assert_refused(export("--from", "900s"), 1, "range")
        self.assert_refused(
            self.archive.run("auditor", "export", self.session, "--media",
                             "mp4", "-o", self.out / "bundle", "--purpose",
                             "a test"), 2, "--media")

    def test_an_interrupt_leaves_nothing(self):
        process = subprocess.Popen(
            [str(DIPTYCH), f"--profile={self.archive.profile('auditor')}",
             "export", self.session, "--format", "bundle", "-o",
             self.out / "bundle", "--purpose", "a test"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        wait_until(lambda: os.listdir(self.out) or process.poll() is not None,
                   20, "the export to begin")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        # It may have been quicker; then it is whole.
        if process.returncode == 0:
            self.assert_proves(self.archive, self.out / "bundle")
        else:
            self.assertEqual(process.returncode, 130)
            self.assertEqual(os.listdir(self.out), [])


class VouchedTest(BundleFixture):
    """What others say of the log comes with the bundle."""

    def start_with_witness(self):
        self.archive = Archive()
        self.addCleanup(self.archive.close)
        self.archive.init()
        made = command("witness", "init", "--key", self.out / "w1", "--name",
                       "w1")
        self.assertEqual(made.code, 0, str(made))
        done = command("keys", "add-witness", self.archive.dir,
                       made.stdout.strip())
        self.assertEqual(done.code, 0, str(done))
        self.keys = self.out / "archive.pub"
        done = command("keys", "export", self.archive.dir, "-o", self.keys)
        self.assertEqual(done.code, 0, str(done))
        self.archive.start()

    def witness(self):
        return [f"--profile={self.archive.profile('witness')}", "witness",
                "--state", self.out / "w1.state", "--key", self.out / "w1",
                "--log-key", self.keys]

    def push(self):
        session = str(uuid.uuid4())
        self.archive.push("--resident", media.VP8_RESIDENT, "--clerk",
                          media.VP8_CLERK, "--session", session)
        return session

    @staticmethod
    def signers(note):
        return [line.split()[1] for line in note.splitlines()
                if line.startswith("\u2014")]

    def test_a_witness_that_follows_signs_the_bundles_checkpoint(self):
        self.start_with_witness()
        session = self.push()
        process = subprocess.Popen(
            [str(DIPTYCH), *map(str, self.witness())],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        wait_until((self.archive.dir / "tlog/cosigned").exists, 20,
                   "the first cosignature")
        bundle = self.export(self.archive, session)
        self.assertIn("w1", self.signers(
            (bundle.data / "checkpoint").read_text()))
        self.assertEqual(bundle.evidence["anchors"], [])

    def test_a_witness_that_is_away_vouches_for_what_it_saw(self):
        self.start_with_witness()
        session = self.push()
        done = command(*self.witness(), "--once")
        self.assertEqual(done.code, 0, str(done))
        bundle = self.export(self.archive, session)
        self.assertNotIn("w1", self.signers(
            (bundle.data / "checkpoint").read_text()))
        anchor, = bundle.evidence["anchors"]
        self.assertIn("w1", self.signers(
            (bundle.data / anchor["checkpoint"]).read_text()))
        self.assertNotIn("timestamp", anchor)

    def test_a_time_stamp_comes_along(self):
        archive = self.make_archive()
        folder = self.out / "tsa"
        folder.mkdir()
        authority = timestamp_test.Authority(folder)
        self.addCleanup(authority.close)
        session = str(uuid.uuid4())
        archive.push("--resident", media.VP8_RESIDENT, "--clerk",
                     media.VP8_CLERK, "--session", session)
        archive.ok("operator", "log", "timestamp", "--tsa", authority.url)
        bundle = self.export(archive, session)
        anchor, = bundle.evidence["anchors"]
        checkpoint = bundle.data / anchor["checkpoint"]
        subprocess.run(
            ["openssl", "ts", "-verify", "-data", checkpoint, "-in",
             bundle.data / anchor["timestamp"], "-CAfile", authority.ca],
            check=True, capture_output=True, timeout=60)


class OtherSessionsTest(BundleFixture):

    def test_vp8_and_opus(self):
        archive = self.make_archive()
        session = str(uuid.uuid4())
        archive.push("--resident", media.VP8_RESIDENT, "--clerk",
                     media.VP8_CLERK, "--session", session)
        whole = self.export(archive, session, name="whole")
        for track, path, number in ((1, media.VP8_RESIDENT, 1),
                                    (2, media.VP8_RESIDENT, 2),
                                    (9, media.VP8_CLERK, 1),
                                    (10, media.VP8_CLERK, 2)):
            source = _source(path, number)
            self.assertEqual([h for _, h in whole.track_packets(track)],
                             [h for _, h in source])
        self.export(archive, session, "--from", "5s", "--to", "7s",
                    name="clip")
        done = archive.run("auditor", "export", session, "--format", "bundle",
                           "--media", "mp4", "-o", self.out / "bundle",
                           "--purpose", "a test")
        self.assert_refused(done, 1, "VP8")

    def test_damage_is_named_and_leaves_nothing(self):
        archive = self.make_archive()
        session = str(uuid.uuid4())
        archive.push("--resident", media.RESIDENT, "--clerk", media.CLERK,
                     "--session", session)
        archive.wait_indexed()
        volume, = (archive.dir / "volumes").glob("*.vol")
        data = bytearray(volume.read_bytes())
        data[len(data) // 2] ^= 1
        volume.write_bytes(data)
        done = archive.run("auditor", "export", session, "--format", "bundle",
                           "-o", self.out / "bundle", "--purpose", "a test")
        self.assert_refused(done, 6, "log position")

    def test_a_session_that_was_killed_and_went_on(self):
        archive = self.make_archive()
        session = str(uuid.uuid4())
        sources = [wire.Source(matroska.read(media.RESIDENT), wire.RESIDENT, 1),
                   wire.Source(matroska.read(media.CLERK), wire.CLERK, 3)]

        def connect():
            channel = wire.channel(archive.profile("gateway"),
                                   archive.address("ingest"))
            self.addCleanup(channel.close)
            return wire.Stream(channel)

        def send(stream, after, up_to_us):
            batches = [(b.packets[0].pts_us, s.side, b) for s in sources
                       for b in s.batches(after[s.side])]
            for start_us, _, batch in sorted(batches, key=lambda b: b[:2]):
                if start_us < up_to_us:
                    stream.send(packets=batch)

        stream = connect()
        stream.send(open=wire.open_message(session, sources))
        stream.wait_for("opened")
        send(stream, collections.Counter(), 7_000_000)
        stream.wait_durable(wire.RESIDENT, 200)
        stream.wait_durable(wire.CLERK, 200)
        archive.kill()
        stream.wait_status()
        archive.start()

        # Still open: what is under a manifest is proven, and no more.
        partial = self.export(archive, session, name="open")
        self.assertIsNone(partial.evidence["closed"])
        self.assertLess(partial.packets(1), 400)
        self.assertGreater(partial.packets(1), 0)

        stream = connect()
        stream.send(open=wire.open_message(session, sources))
        stream.wait_for("opened")
        done = {s.side: stream.durable(s.side) for s in sources}
        send(stream, done, 1 << 60)
        stream.send(close=wire.close_message(
            *[(s.side, len(s.packets), 0) for s in sources]))
        stream.wait_for("receipt")
        stream.half_close()
        whole = self.export(archive, session, name="whole")
        self.assertIsNotNone(whole.evidence["closed"])
        self.assertEqual(len(whole.records(OPENED)), 2)
        for source in sources:
            for track in source.tracks:
                self.assertEqual(
                    [h for _, h in whole.track_packets(track.track_id)],
                    [hashlib.sha256(p.payload).hexdigest()
                     for p in source.packets
                     if p.track_id == track.track_id])
        # This gateway signs nothing, and that is not hidden.
        self.assertEqual([r for r in whole.evidence["sources"]
                          if "record" in r], [])

    def test_a_track_whose_parameters_change(self):
        archive = self.make_archive()
        session = str(uuid.uuid4())
        sources = [wire.Source(matroska.read(media.RESIDENT), wire.RESIDENT, 1),
                   wire.Source(matroska.read(media.CLERK), wire.CLERK, 3)]
        channel = wire.channel(archive.profile("gateway"),
                               archive.address("ingest"))
        self.addCleanup(channel.close)
        stream = wire.Stream(channel)
        stream.send(open=wire.open_message(session, sources))
        stream.wait_for("opened")
        resident = sources[0]
        video = next(t for t in resident.tracks if t.width)
        # The first key frame behind four seconds begins another size.
        change = next(p for p in resident.packets
                      if p.track_id == video.track_id and p.key_frame
                      and p.pts_us > 2_500_000)
        batches = [(b.packets[0].pts_us, 0, b) for s in sources
                   for b in s.batches(size=1)]
        for start_us, _, batch in sorted(batches, key=lambda b: b[0]):
            packet = batch.packets[0]
            if packet == change:
                video.width //= 2
                video.height //= 2
                video.codec_config = video.codec_config[:-1] + b"\x81"
                stream.send(tracks_changed=wire.ingest.TracksChanged(
                    side=resident.open_side()))
            stream.send(packets=batch)
        stream.send(close=wire.close_message(
            *[(s.side, len(s.packets), 0) for s in sources]))
        stream.wait_for("receipt")
        stream.half_close()
        bundle = self.export(archive, session)
        runs = bundle.runs(video.track_id)
        self.assertEqual(len({r["stream"] for r in runs}), 2)
        self.assertEqual(
            [h for _, h in bundle.track_packets(video.track_id)],
            [hashlib.sha256(p.payload).hexdigest() for p in resident.packets
             if p.track_id == video.track_id])
        self.export(archive, session, "--from",
                    f"{change.pts_us / 1e6 - 0.5:.3f}s", "--to",
                    f"{change.pts_us / 1e6 + 0.5:.3f}s", name="clip")


if __name__ == "__main__":
    unittest.main()
