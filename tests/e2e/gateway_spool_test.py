"""A gateway whose archive goes away, and that dies itself: its spool keeps all.

Real processes, killed for real.
"""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import archive as archives
import matroska
import media
from archive import Archive, wait_until

# What dying at once may cost: what is younger than this is in no spool.
MOST_LOST_S = 2.0


class GatewaySpoolTest(unittest.TestCase):

    def setUp(self):
        self.archive = Archive()
        self.addCleanup(self.archive.close)
        self.archive.init()
        self.archive.start()
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="diptych-spool-")))
        self.spool = self.folder / "spool"
        self.session = str(uuid.uuid4())

    def start_push(self):
        """A paced push of the recorded call, in a process of its own."""
        self.out = open(self.folder / "push.out", "w+")
        self.err = open(self.folder / "push.err", "w+")
        self.addCleanup(self.out.close)
        self.addCleanup(self.err.close)
        process = subprocess.Popen(
            [str(archives.DIPTYCH),
             f"--profile={self.archive.profile('gateway')}", "push", "--json",
             f"--resident={media.RESIDENT}", f"--clerk={media.CLERK}",
             f"--session={self.session}", f"--spool={self.spool}",
             "--tag", "clerk=C0231", "--tag", "resident=310106195202030021"],
            stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.err,
            env={**os.environ, "NO_COLOR": "1"})

        def end():
            process.kill()
            process.wait()
        self.addCleanup(end)
        return process

    def said(self):
        self.err.seek(0)
        self.out.seek(0)
        return self.out.read() + self.err.read()

    def finish(self, process):
        try:
            code = process.wait(60)
        except subprocess.TimeoutExpired:
            raise AssertionError(self.said()) from None
        self.assertEqual(code, 0, self.said())
        self.out.seek(0)
        return [json.loads(line) for line in self.out.read().splitlines()]

    def spooled_bytes(self):
        return sum(f.stat().st_size for f in self.spool.glob("*/*.spool"))

    def wait_for_media(self):
        """Until the archive has written some of the call."""
        def stored():
            return sum(f.stat().st_size for f in self.archive.dir.rglob("*")
                       if f.is_file() and "index" not in f.parts)
        before = stored()
        wait_until(lambda: stored() > before + 100_000, 20,
                   "the call to begin")

    def payloads(self, path):
        """The set of payload hashes of each track, and its number of packets."""
        return {n: [hashlib.sha256(p.payload).hexdigest() for p in packets]
                for n, packets in self.by_track(path).items()}

    @staticmethod
    def by_track(path):
        file = matroska.read(path)
        return {n: file.of(n) for n in file.tracks}

    def exported(self):
        self.archive.wait_indexed()
        path = self.folder / "out.mkv"
        self.archive.export(self.session, "--format", "mkv", "-o", path)
        return sorted(self.payloads(path).values(), key=len)

    def recorded(self):
        tracks = [*self.payloads(media.RESIDENT).values(),
                  *self.payloads(media.CLERK).values()]
        return sorted(tracks, key=len)

    def test_a_call_goes_on_while_the_archive_is_down(self):
        push = self.start_push()
        self.wait_for_media()
        calm = self.spooled_bytes()
        self.archive.kill()
        wait_until(lambda: self.spooled_bytes() > calm + 50_000
                   or push.poll() is not None, 30, "the spool to fill")
        self.assertIsNone(push.poll(), self.said())
        self.archive.start()
        lines = self.finish(push)
        for side in lines[-1]["sides"]:
            self.assertEqual(side["dropped"], 0)
            self.assertGreater(side["spooled"], 0)
            self.assertEqual(side["acknowledged"], side["accepted"])
            self.assertEqual(side["sent"], side["accepted"])
        self.assertGreaterEqual(lines[-1]["reconnects"], 1)
        for got, wanted in zip(self.exported(), self.recorded(), strict=True):
            self.assertEqual(got, wanted)
        # Everything is durable: nothing of the call stays here.
        self.assertEqual([p.name for p in self.spool.iterdir()], ["spool.key"])

    def test_what_a_dead_gateway_spooled_is_drained(self):
        push = self.start_push()
        self.wait_for_media()
        began = time.monotonic()
        calm = self.spooled_bytes()
        self.archive.kill()
        wait_until(lambda: self.spooled_bytes() > calm + 200_000
                   or push.poll() is not None, 30, "the spool to fill")
        self.assertIsNone(push.poll(), self.said())
        # In use: left alone.
        busy = self.archive.ok("gateway", "push", "--drain",
                               f"--spool={self.spool}").summary
        self.assertEqual((busy["sessions"], busy["left_alone"]), (0, 1))
        push.kill()
        push.wait()
        ran_s = time.monotonic() - began
        for path in self.spool.rglob("*"):
            wanted = 0o700 if path.is_dir() else 0o600
            if path.name != "lock":
                self.assertEqual(path.stat().st_mode & 0o777, wanted, path)
            if path.is_file():
                self.assertNotIn(b"310106195202030021", path.read_bytes())

        self.archive.start()
        drained = self.archive.ok("gateway", "push", "--drain",
                                  f"--spool={self.spool}")
        self.assertEqual(drained.summary["sessions"], 1)
        self.assertGreater(drained.summary["packets"], 0)
        self.assertEqual(drained.summary["problems"], 0)
        self.assertEqual(drained.of_type("receipt")[0]["session"], self.session)
        # Of each track there is a prefix without a hole, and at most the last
        # two seconds of what was read are missing from it.
        ends = []
        for got, wanted in zip(self.exported(), self.recorded(), strict=True):
            self.assertEqual(got, wanted[:len(got)])
        path = self.folder / "out.mkv"
        for packets in self.by_track(path).values():
            ends.append(packets[-1].pts_ms / 1e3)
        self.assertGreater(max(ends), ran_s - MOST_LOST_S)
        again = self.archive.ok("gateway", "push", "--drain",
                                f"--spool={self.spool}").summary
        self.assertEqual((again["sessions"], again["problems"]), (0, 0))
        row, = self.archive.query('clerk = "C0231"')
        self.assertEqual(row["session"], self.session)
        self.assertEqual(self.archive.check().code, 0)

    def test_a_file_is_sent_again_from_its_start(self):
        push = self.start_push()
        self.wait_for_media()
        self.archive.kill()
        calm = self.spooled_bytes()
        wait_until(lambda: self.spooled_bytes() > calm + 50_000
                   or push.poll() is not None, 30, "the spool to fill")
        push.kill()
        push.wait()
        self.archive.start()
        lines = self.archive.push(
            f"--resident={media.RESIDENT}", f"--clerk={media.CLERK}",
            f"--session={self.session}", f"--spool={self.spool}",
            "--tag", "clerk=C0231", "--tag", "resident=310106195202030021")
        for side in lines.summary["sides"]:
            self.assertEqual(side["acknowledged"], side["accepted"])
        for got, wanted in zip(self.exported(), self.recorded(), strict=True):
            self.assertEqual(got, wanted)


if __name__ == "__main__":
    unittest.main()
