"""A small disk that fills up in mid-session, and is emptied again.

On a tmpfs of its own: real ENOSPC for the log, the key store and the index.
"""

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest
import uuid

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent),
                str(pathlib.Path(__file__).resolve().parent)]

import grpc

import archive
import ledgers
import load
import matroska
import media
import wire

_DISK_BYTES = 256 << 20
_RESERVE_BYTES = 80 << 20
# Above the floor under which the daemon leaves the disk alone.
_WITHIN_RESERVE_BYTES = 60 << 20
_UNDER_FLOOR_BYTES = 4 << 20
_SERVING = b"\x08\x01"
_NOTICE_S = 20
# Live sessions have a chunk each second.
_QUIET_S = 3
_SESSIONS = 4


def _in_a_namespace_of_its_own():
    """Runs this file again where it may mount; True if that was done."""
    if os.geteuid() == 0 or os.environ.get("DIPTYCH_DISK_FULL_INSIDE"):
        return False
    return subprocess.run(["unshare", "-rm", "true"], check=False,
                          capture_output=True).returncode == 0


@contextlib.contextmanager
def small_disk():
    with tempfile.TemporaryDirectory(prefix="diptych-disk-") as folder:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "none",
             folder], capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            raise unittest.SkipTest(
                f"no file system can be mounted: {mounted.stderr.strip()}")
        try:
            yield pathlib.Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=False)


class Ballast:
    """A file that takes up all of a disk but so many bytes."""

    def __init__(self, folder):
        self._path = folder / "ballast"

    def leave(self, free_bytes):
        have = os.statvfs(self._path.parent)
        more = have.f_bavail * have.f_frsize - free_bytes
        with open(self._path, "ab") as file:
            os.posix_fallocate(file.fileno(), file.tell(), more)

    def remove(self):
        self._path.unlink()


def _files(folder):
    return {str(p.relative_to(folder)) for store in ("volumes", "keys")
            for p in (folder / store).rglob("*") if p.is_file()}


@unittest.skipIf(_in_a_namespace_of_its_own(), "done in a mount namespace")
class DiskFullTest(unittest.TestCase):

    def setUp(self):
        # The short recordings fill a disk too slowly, and change their tracks
        # at each turn.
        if not media.SHARED.is_dir():
            self.skipTest("no recordings outside the repository "
                          "(DIPTYCH_SHARED_DIR)")
        self.disk = self.enterContext(small_disk())
        self.scratch = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="diptych-out-")))
        self.ballast = Ballast(self.disk)
        self.archive = archive.Archive(keep_folder=self.disk)
        self.addCleanup(self.archive.close)
        self.archive.init()
        self.archive.start(f"--reserve_bytes={_RESERVE_BYTES}")

    def channel(self):
        channel = wire.channel(self.archive.profile("gateway"),
                               self.archive.address("ingest"))
        self.addCleanup(channel.close)
        return channel

    def serving(self):
        with wire.channel(self.archive.profile("operator"),
                          self.archive.address("ingest")) as channel:
            return channel.unary_unary("/grpc.health.v1.Health/Check")(
                b"", timeout=5) == _SERVING

    def assert_refused_for_space(self):
        source = wire.Source(matroska.read(media.CLERK), wire.CLERK, 1)
        stream = wire.Stream(self.channel())
        stream.send(open=wire.open_message(uuid.uuid4(), [source]))
        code, _, detail = stream.wait_status()
        self.assertEqual(code, grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertEqual(detail.reason, "NO_SPACE")
        self.assertTrue(detail.retryable)
        self.assertGreater(detail.retry_after_ms, 0)

    def start_load(self, name, *flags):
        return self.enterContext(load.Load(
            self.archive.profile("gateway"), "--finish_s=120", *flags,
            ledger=self.scratch / name))

    def assert_whole(self, name, summary):
        self.assertEqual(summary["code"], 0, summary)
        self.assertEqual(summary["violations"], 0, summary)
        promises = ledgers.Promises(self.scratch / name)
        self.assertEqual(promises.problems, [])
        self.assertTrue(promises.closed)
        for session in promises.sessions:
            path = self.scratch / f"{session}.mkv"
            self.archive.export(session, "-o", path)
            self.assertEqual(
                ledgers.export_problems(path, promises, session), [])

    def test_it_fills_up_and_is_emptied(self):
        before = self.start_load("before", f"--sessions={_SESSIONS}",
                                 "--session_s=600")
        before.wait_packets(200, 30)
        self.assertTrue(self.serving())

        # Into the reserve: it is for those that are there.
        self.ballast.leave(_WITHIN_RESERVE_BYTES)
        archive.wait_until(self.refuses, _NOTICE_S, "a refusal")
        self.assert_refused_for_space()
        later = self.start_load("later", "--sessions=2", "--session_s=4",
                                "--fast")
        later.wait_for(lambda p: p["refused"] >= 2, _NOTICE_S, "refusals")
        self.assertEqual(later.progress["sessions_opened"], 0)
        before.wait_packets(500, 30)
        self.assertEqual(before.progress["reconnects"], 0)
        self.assertTrue(self.serving())

        # Under the floor, and then nothing at all: no promise is made.
        self.ballast.leave(_UNDER_FLOOR_BYTES)
        archive.wait_until(lambda: not self.serving(), _NOTICE_S,
                           "NOT_SERVING")
        self.ballast.leave(0)
        there = _files(self.archive.dir)
        promised = self.wait_until_no_promise(before)
        self.assertGreater(before.progress["packets_sent"], promised)
        self.assertFalse(self.serving())
        self.assertIsNone(self.archive.process.poll(), self.archive.log())
        # A read wants its record in the log, which can't be had.
        asked = self.archive.run("auditor", "query", 'clerk = "C0001"',
                                 timeout_s=60)
        self.assertNotEqual(asked.code, 0, str(asked))
        self.assertLessEqual(there, _files(self.archive.dir))

        # Space again: everything goes on by itself.
        self.ballast.remove()
        archive.wait_until(self.serving, _NOTICE_S, "SERVING")
        before.wait_packets(500, 60)
        later_summary = later.finish(60)
        before_summary = before.finish(early=True)
        self.archive.wait_indexed(60)
        self.assert_whole("before", before_summary)
        self.assert_whole("later", later_summary)
        self.assertIsNone(self.archive.process.poll(), self.archive.log())
        self.assertEqual(self.archive.stop(), 0)
        checked = self.archive.check("--read-data")
        self.assertEqual(checked.code, 0, str(checked))

    @staticmethod
    def wait_until_no_promise(running):
        """What was on its way is through, and nothing follows for a while."""
        promised, since = None, 0

        def quiet():
            nonlocal promised, since
            durable = running.progress["packets_durable"]
            if durable != promised:
                promised, since = durable, time.monotonic()
            return time.monotonic() > since + _QUIET_S
        archive.wait_until(quiet, _NOTICE_S, "an end of acknowledgements")
        return promised

    def refuses(self):
        source = wire.Source(matroska.read(media.CLERK), wire.CLERK, 1)
        with wire.channel(self.archive.profile("gateway"),
                          self.archive.address("ingest")) as channel:
            stream = wire.Stream(channel)
            stream.send(open=wire.open_message(uuid.uuid4(), [source]))
            archive.wait_until(
                lambda: stream.status is not None or stream.of("opened"),
                wire.WAIT_S, "an answer")
            refused = stream.status is not None
            stream.cancel()
            return refused


@unittest.skipUnless(_in_a_namespace_of_its_own(), "runs above")
class InsideTest(unittest.TestCase):

    def test_in_a_mount_namespace(self):
        inside = subprocess.run(
            ["unshare", "-rm", sys.executable, "-B", __file__],
            env={**os.environ, "DIPTYCH_DISK_FULL_INSIDE": "1"},
            capture_output=True, text=True, check=False, timeout=300)
        self.assertEqual(inside.returncode, 0, inside.stderr)


if __name__ == "__main__":
    unittest.main()
