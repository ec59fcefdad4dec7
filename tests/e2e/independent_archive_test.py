"""A second reader of archives, written from the documents alone, agrees.

On archives good and bad: tests/independent and `diptych check`, both without
any key.
"""

import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unittest
import uuid

_TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(_TESTS))
sys.path.append(str(_TESTS / "independent"))
import archive
import log_files
import media
import wire
from archive import Archive

_MISSING = ""
try:
    import verify_archive
    import volume_frames
    from untrue import Untrue
except ImportError as error:
    if (error.name or "").split(".")[0] != "cryptography":
        raise
    _MISSING = "python3-cryptography is not installed"

_SEED = 20261126
_KEYS_CHANGED = 14


def run_verifier(folder):
    return subprocess.run(
        [sys.executable, "-B",
         str(_TESTS / "independent" / "verify_archive.py"), str(folder)],
        capture_output=True, text=True, check=False, timeout=120)


def without_traceback(test, done):
    test.assertNotIn("Traceback", done.stdout + done.stderr)
    return done


@unittest.skipIf(_MISSING, _MISSING)
class IndependentArchiveTest(unittest.TestCase):

    maxDiff = 3000

    @classmethod
    def setUpClass(cls):
        cls.scratch = pathlib.Path(cls.enterClassContext(
            tempfile.TemporaryDirectory(prefix="diptych-independent-")))
        cls.archive = Archive()
        cls.addClassCleanup(cls.archive.close)
        cls.archive.init()
        cls.volumes = cls.archive.dir / "volumes"
        cls.archive.start()
        cls.push(media.RESIDENT, media.CLERK,
                 "--attach", f"document_captured@3s={media.DOCUMENT}")
        cls.archive.wait_indexed()
        cls.archive.stop()
        # As it was with one session.
        cls.older = cls.copy_data("older")
        cls.archive.start()
        cls.push_through_a_kill()
        cls.push(media.VP8_RESIDENT, media.VP8_CLERK)
        cls.archive.wait_indexed()
        cls.resumed = cls.scratch / "resumed"
        cls.archive.export(cls.session, "--format", "bundle", "-o",
                           cls.resumed)
        cls.ask(260)
        cls.archive.stop()
        done = archive.command("keys", "rotate", cls.archive.dir, "audit")
        assert done.code == 0, str(done)
        cls.archive.start()
        cls.push(media.VP8_RESIDENT, media.VP8_CLERK)
        cls.archive.stop()
        cls.good = cls.copy_data("good")

    @classmethod
    def push(cls, resident, clerk, *arguments):
        return cls.archive.push("--resident", resident, "--clerk", clerk,
                                "--tag", "clerk=C0231", *arguments)

    @classmethod
    def copy_data(cls, name):
        shutil.copytree(cls.archive.dir, cls.scratch / name,
                        ignore=shutil.ignore_patterns("run", "index", "*.key",
                                                      "profiles"))
        return cls.scratch / name

    @classmethod
    def push_through_a_kill(cls):
        """Kills the daemon in the middle of a call, which then goes on."""
        cls.session = str(uuid.uuid4())
        before = log_files.count(cls.volumes, log_files.CHUNK)
        push = subprocess.Popen(
            [str(archive.DIPTYCH),
             f"--profile={cls.archive.profile('gateway')}", "push",
             f"--session={cls.session}", f"--spool={cls.scratch / 'spool'}",
             "--resident", str(media.RESIDENT), "--clerk", str(media.CLERK),
             "--tag", "clerk=C0231"], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            archive.wait_until(
                lambda: log_files.count(cls.volumes, log_files.CHUNK)
                >= before + 3, 30, "three chunks of a push")
            cls.archive.kill()
            cls.killed = cls.copy_data("killed")
            cls.archive.start()
            assert push.wait(60) == 0
        finally:
            push.kill()
            push.wait()

    @classmethod
    def ask(cls, times):
        """Questions: each is a record, and a leaf of the tree."""
        with wire.channel(cls.archive.profile("auditor"),
                          cls.archive.address("audit")) as channel:
            catalog = wire.catalog_grpc.CatalogStub(channel)
            for _ in range(times):
                catalog.CountSessions(wire.catalog.CountSessionsRequest(
                    filter='clerk = "C0231"'), timeout=20)

    def check(self, folder):
        return archive.command("check", folder, "--read-data")

    def assert_good(self, folder):
        done = without_traceback(self, run_verifier(folder))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        ours = self.check(folder)
        self.assertEqual(ours.code, 0, str(ours))
        return done.stdout

    def assert_bad(self, folder, what):
        try:
            said = verify_archive.verify(folder)
        except Untrue:
            said = None
        ours = self.check(folder)
        self.assertEqual(ours.code, 6, f"{what}: {ours}")
        self.assertIsNone(said, f"{what}: the independent verifier sees "
                          f"nothing; ours: {ours.stderr}{ours.stdout}")

    def damaged(self):
        folder = self.scratch / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.good, folder)
        return folder

    def test_good_archives(self):
        self.assertIn("1 sessions, 0 of them open",
                      self.assert_good(self.older))
        said = self.assert_good(self.good)
        self.assertIn("4 sessions, 0 of them open", said)
        self.assertIn("The log signed a tree", said)
        # More than a tile, so that there is a level above.
        self.assertTrue((self.good / "tlog/tile/0/000").is_file())
        self.assertEqual(len(list((self.good / "tlog/tile/1").iterdir())), 1)
        kinds = {r.type for r in log_files.records(self.good / "volumes")}
        self.assertIn(_KEYS_CHANGED, kinds)

    def test_killed_archive(self):
        said = self.assert_good(self.killed)
        self.assertIn("2 sessions, 1 of them open", said)

    def test_bundle_of_a_session_through_a_kill(self):
        keys = self.scratch / "keys.txt"
        keys.write_text(archive.command("keys", "export",
                                        self.archive.dir).stdout)
        done = without_traceback(self, subprocess.run(
            [sys.executable, "-B",
             str(_TESTS / "independent" / "verify_bundle.py"),
             str(self.resumed), "--key", str(keys)],
            capture_output=True, text=True, check=False, timeout=120))
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("This is the whole session", done.stdout)
        ours = archive.command("verify", self.resumed, "--log-key", keys)
        self.assertEqual(ours.code, 0, str(ours))

    def test_running_archive(self):
        """Read while it is written: nothing that is half there is false."""
        self.archive.start()
        try:
            push = subprocess.Popen(
                [str(archive.DIPTYCH),
                 f"--profile={self.archive.profile('gateway')}", "push",
                 "--fast", "--resident", str(media.RESIDENT), "--clerk",
                 str(media.CLERK), "--tag", "clerk=C0231"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL)
            rounds = 0
            while push.poll() is None or rounds < 3:
                done = without_traceback(self, run_verifier(
                    self.archive.dir))
                self.assertEqual(done.returncode, 0, done.stdout)
                rounds += 1
            self.assertEqual(push.returncode, 0)
        finally:
            self.archive.stop()

    def test_torn_tail(self):
        folder = self.damaged()
        path = sorted((folder / "volumes").iterdir())[-1]
        path.write_bytes(path.read_bytes() + b"\xd1PTY half a frame")
        done = without_traceback(self, run_verifier(folder))
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("torn tail", done.stdout)
        ours = self.check(folder)
        self.assertEqual(ours.code, 0, str(ours))

    def test_a_flip_in_the_last_batch(self):
        """No record says that it had been durable; the signed tree does."""
        folder = self.damaged()
        path = sorted((folder / "volumes").iterdir())[-1]
        last = [r for r in log_files.records(self.good / "volumes")
                if r.type == log_files.CHUNK][-1]
        bad = bytearray(path.read_bytes())
        bad[last.position - int(path.stem, 16) + 500] ^= 1
        path.write_bytes(bad)
        self.assert_bad(folder, "the last chunk")

    def test_flips(self):
        chance = random.Random(_SEED)
        folder = self.damaged()
        for under, count, most in (("volumes", 12, 9), ("keystore", 12, 9),
                                   ("tlog", 2, 9)):
            files = sorted(p for p in (folder / under).rglob("*")
                           if p.is_file())
            for path in chance.sample(files, min(most, len(files))):
                name = path.relative_to(folder).as_posix()
                good = path.read_bytes()
                with self.subTest(name):
                    for at in chance.sample(range(len(good)),
                                            min(count, len(good))):
                        bad = bytearray(good)
                        bad[at] ^= 1 << at % 8
                        path.write_bytes(bad)
                        self.assert_bad(folder, f"{name}, byte {at}")
                path.write_bytes(good)

    def test_a_flip_in_each_kind_of_record_with_checksums_made_again(self):
        """What a forger can do, and an accident can't."""
        folder = self.damaged()
        path, = (folder / "volumes").iterdir()
        good = path.read_bytes()
        done = set()
        for record in log_files.records(self.good / "volumes"):
            # A volume's snapshot is a start's own notes, nothing's proof.
            if record.type == 2:
                continue
            for part, data in (("header", record.header),
                               ("body", record.body)):
                if not data or (record.type, part) in done:
                    continue
                done.add((record.type, part))
                bad = bytearray(data)
                bad[len(bad) // 2] ^= 2
                changed = {"header": record.header, "body": record.body,
                           part: bytes(bad)}
                frame = bytearray(good[record.position:record.position + 44])
                frame[32:36] = volume_frames.crc32c(
                    changed["header"]).to_bytes(4, "little")
                frame[36:40] = volume_frames.crc32c(
                    changed["body"]).to_bytes(4, "little")
                whole = (bytes(frame)
                         + volume_frames.crc32c(frame).to_bytes(4, "little")
                         + changed["header"] + changed["body"])
                with self.subTest(f"{record.type} {part}"):
                    path.write_bytes(
                        good[:record.position] + whole
                        + good[record.position + len(whole):])
                    self.assert_bad(folder, f"type {record.type} {part}")
        self.assertGreater(len(done), 12)

    def test_cut_dropped_swapped(self):
        volume = sorted((self.good / "volumes").iterdir())[0].name
        last = [r for r in log_files.records(self.good / "volumes")
                if r.type == log_files.SESSION_CLOSED][-1].position

        def cut(name, to):
            def apply(folder):
                data = (folder / name).read_bytes()
                (folder / name).write_bytes(data[:to])
            return apply

        def older(name):
            def apply(folder):
                shutil.rmtree(folder / name)
                shutil.copytree(self.older / name, folder / name)
            return apply

        def empty(folder):
            (folder / "volumes" / volume).unlink()

        def other_key(folder):
            path = folder / "archive.textproto"
            text = path.read_text()
            at = text.index("public_key", text.index("log_key"))
            sources = text[text.index("public_key", text.index("sources")):]
            line = sources[:sources.index("\n")]
            end = text.index("\n", at)
            path.write_text(text[:at] + line + text[end:])
        for what, change in {
                "cut before the last closing": cut(f"volumes/{volume}", last),
                "cut in half": cut(f"volumes/{volume}", last // 2),
                "older log": older("volumes"),
                "older keys": older("keystore"),
                "no volume": empty,
                "another log key": other_key,
        }.items():
            with self.subTest(what):
                folder = self.damaged()
                change(folder)
                self.assert_bad(folder, what)


if __name__ == "__main__":
    unittest.main()
