"""Where the reader's keys come from; the writer needs and holds none of them."""

import os
import pathlib
import signal
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import media
from archive import Archive, open_files, wait_until

PASSPHRASE = "correct horse battery staple"


def pipe_with(data):
    """The reading end of a pipe that holds `data` and has ended."""
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    return reading


class KeySourcesTest(unittest.TestCase):

    def setUp(self):
        self.archive = Archive()
        self.addCleanup(self.archive.close)

    def init(self, *flags):
        self.archive.init(*flags)
        # Index and audit keys come from here; TLS keys stay in the key folder.
        self.elsewhere = self.archive.base / "elsewhere"
        self.elsewhere.mkdir(0o700)
        for name in ("index", "audit", "escrow"):
            (self.archive.keys / f"{name}.key").rename(
                self.elsewhere / f"{name}.key")

    def key(self, name):
        return self.elsewhere / f"{name}.key"

    def expect_reading(self):
        """A call goes in, is found, and comes out."""
        done = self.archive.push("--resident", media.VP8_RESIDENT, "--clerk",
                                 media.VP8_CLERK, "--tag", "clerk=C1")
        session = done.of_type("receipt")[0]["session"]
        self.archive.wait_indexed()
        self.assertIn(session, [s["session"] for s in
                                self.archive.query('clerk = "C1"')])
        out = self.archive.base / f"{session}.mkv"
        self.archive.export(session, "-o", out)
        self.assertGreater(out.stat().st_size, 10_000)

    def refused(self, *flags, env=None, pass_fds=()):
        """What a daemon says that can't start so."""
        with self.assertRaisesRegex(AssertionError, "ended with") as caught:
            self.archive.start(*flags, env=env, pass_fds=pass_fds)
        self.archive.process = None
        return str(caught.exception)

    def test_files(self):
        self.init()
        self.archive.start(f"--index_key=file:{self.key('index')}",
                           f"--audit_key=file:{self.key('audit')}")
        self.expect_reading()

    def test_credentials_and_environment(self):
        self.init()
        for name in ("index", "audit"):
            self.key(name).rename(self.elsewhere / f"diptych.{name}")
        self.archive.start(
            env={"CREDENTIALS_DIRECTORY": str(self.elsewhere),
                 "DIPTYCH_INDEX_KEY": "credential:diptych.index",
                 "DIPTYCH_AUDIT_KEY": "credential:diptych.audit"})
        self.expect_reading()

    def test_commands_with_a_passphrase(self):
        secret = self.archive.base / "passphrase"
        secret.write_text(PASSPHRASE + "\n")
        self.init(f"--passphrase_file={secret}")
        self.archive.start(
            f"--index_key=command:cat '{self.key('index')}'",
            f"--audit_key=command:cat < '{self.key('audit')}'",
            f"--passphrase=command:echo '{PASSPHRASE}'")
        self.expect_reading()
        self.assertEqual(self.archive.stop(), 0)
        self.assertIn("passphrase does not open", self.refused(
            f"--index_key=command:cat '{self.key('index')}'",
            f"--audit_key=command:cat '{self.key('audit')}'",
            "--passphrase=command:echo wrong"))
        self.assertIn("needs a passphrase", self.refused(
            f"--index_key=command:cat '{self.key('index')}'",
            f"--audit_key=command:cat '{self.key('audit')}'"))

    def test_open_files_reach_the_reader_and_not_the_writer(self):
        secret = self.archive.base / "passphrase"
        secret.write_text(PASSPHRASE + "\n")
        self.init(f"--passphrase_file={secret}")
        index = pipe_with(self.key("index").read_bytes())
        audit = os.open(self.key("audit"), os.O_RDONLY)
        words = pipe_with(PASSPHRASE.encode())
        fds = (index, audit, words)
        names = {os.readlink(f"/proc/self/fd/{fd}") for fd in fds}
        try:
            self.archive.start(f"--index_key=fd:{index}",
                               f"--audit_key=fd:{audit}",
                               f"--passphrase=fd:{words}", pass_fds=fds)
        finally:
            for fd in fds:
                os.close(fd)
        # Nobody holds them any more: the reader has read them to their end.
        try:
            for name in ("ingest", "audit"):
                held = set(open_files(self.archive.pid_serving(name)))
                self.assertTrue(held)
                self.assertFalse(held & names)
        except PermissionError:
            self.skipTest("only root may look into the daemon's processes")
        self.expect_reading()
        # A reader that dies can't be had back, and recording goes on.
        os.kill(self.archive.pid_serving("audit"), signal.SIGKILL)
        wait_until(lambda: "its keys came once" in self.archive.log(), 20,
                   "the writer to say that the reader is gone")
        done = self.archive.push("--resident", media.VP8_RESIDENT, "--clerk",
                                 media.VP8_CLERK)
        self.assertEqual(len(done.of_type("receipt")), 1)
        self.assertEqual(self.archive.stop(), 0)

    def test_the_writer_takes_no_open_file_either(self):
        self.init()
        index = os.open(self.key("index"), os.O_RDONLY)
        name = os.readlink(f"/proc/self/fd/{index}")
        try:
            self.archive.start("--roles=archiver", f"--index_key=fd:{index}",
                               pass_fds=(index,))
        finally:
            os.close(index)
        try:
            held = open_files(self.archive.pid_serving("ingest"))
        except PermissionError:
            self.skipTest("only root may look into the daemon's processes")
        self.assertTrue(held)
        self.assertNotIn(name, held)

    def test_the_archiver_needs_no_key_at_all(self):
        self.init()
        self.archive.keys.rename(self.archive.base / "gone")
        self.archive.start("--roles=archiver")
        done = self.archive.push("--resident", media.VP8_RESIDENT, "--clerk",
                                 media.VP8_CLERK)
        self.assertEqual(len(done.of_type("receipt")), 1)
        self.assertEqual(self.archive.stop(), 0)

    def test_refusals_name_the_source(self):
        self.init()
        audit = f"--audit_key=file:{self.key('audit')}"
        for flag, said in (
                ("--index_key=file:/nonexistent/key", "file:/nonexistent/key"),
                ("--index_key=command:exit 3", "exit code 3"),
                ("--index_key=credential:absent", "CREDENTIALS_DIRECTORY"),
                (f"--index_key=file:{self.key('audit')}",
                 "not a key file of the name index"),
                ("--index_key=fd:77", "fd:77 is not open")):
            with self.subTest(flag):
                self.assertIn(said, self.refused(flag, audit))
        for flags in (["--index_key=index.key"], ["--index_key=fd:1"],
                      ["--index_key=fd:7", "--audit_key=fd:7"],
                      ["--passphrase=file:x", "--passphrase_file=x"]):
            with self.subTest(flags):
                self.assertIn("ended with 2", self.refused(*flags))


if __name__ == "__main__":
    unittest.main()
