"""Witnesses: who cosigns a log's checkpoints, and when they stop."""

import pathlib
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import archive as archives
import media
import notes
from archive import Archive, command, wait_until


class WitnessTest(unittest.TestCase):

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="diptych-witness-")))
        self.archive = Archive()
        self.addCleanup(self.archive.close)
        self.archive.init()
        self.keys = self.folder / "public-keys"

    def new_witness(self, name, known=True):
        """Makes a witness's key; its name in files."""
        short = name.replace("/", "-")
        done = command("witness", "init", "--key", self.folder / short,
                       "--name", name)
        self.assertEqual(done.code, 0, str(done))
        key = notes.Key.parse(done.stdout)
        self.assertEqual((key.name, key.kind), (name, notes.COSIGNATURE))
        if known:
            done = command("keys", "add-witness", self.archive.dir, key)
            self.assertEqual(done.code, 0, str(done))
        return short, key

    def start(self):
        done = command("keys", "export", self.archive.dir, "-o", self.keys,
                       "--json")
        self.assertEqual(done.code, 0, str(done))
        self.archive.start()

    def push(self, **tags):
        flags = [f"--tag={k}={v}" for k, v in tags.items()]
        return self.archive.push("--resident", media.VP8_RESIDENT, "--clerk",
                                 media.VP8_CLERK, *flags)

    def arguments(self, short):
        return ["witness", "--state", self.folder / f"{short}.state", "--key",
                self.folder / short, "--log-key", self.keys]

    def once(self, short, role="witness"):
        return self.archive.run(role, *self.arguments(short), "--once",
                                "--json")

    def cosigned(self):
        done = self.archive.run("auditor", "log", "checkpoint", "--cosigned")
        self.assertEqual(done.code, 0, str(done))
        return notes.Checkpoint(done.stdout)

    def size(self):
        return notes.Checkpoint(
            (self.archive.dir / "tlog/checkpoint").read_text()).size

    def log_key(self):
        return next(
            key for key in map(notes.Key.parse, (
                line for line in self.keys.read_text().splitlines()
                if line and not line.startswith("#")))
            if key.kind == notes.ED25519 and "/gateway/" not in key.name)

    def test_two_witnesses_cosign_one_checkpoint(self):
        first, first_key = self.new_witness("witness.example/w1")
        second, second_key = self.new_witness("w2")
        self.assertEqual(
            stat.S_IMODE((self.folder / first).stat().st_mode), 0o600)
        self.start()
        self.push()
        before = int(time.time())
        for short in (first, second):
            done = self.once(short)
            self.assertEqual(done.code, 0, str(done))
            self.assertEqual(done.summary["tree_size"], self.size())
        checkpoint = self.cosigned()
        self.assertEqual(checkpoint.size, self.size())
        checkpoint.verify(self.log_key())
        for key in (first_key, second_key):
            self.assertLessEqual(abs(checkpoint.verify(key) - before), 60)
        # As a bundle will have it.
        self.assertEqual(
            checkpoint.note,
            (self.archive.dir / "tlog/cosigned").read_text())
        # The same again says nothing new, and is no error.
        self.assertEqual(self.once(first).code, 0)
        self.assertEqual(self.cosigned().note, checkpoint.note)

    def test_it_follows_a_log_that_grows_and_comes_back(self):
        short, key = self.new_witness("w1")
        self.start()
        profile = self.archive.profile("witness")
        process = subprocess.Popen(
            [str(archives.DIPTYCH), f"--profile={profile}",
             *map(str, self.arguments(short))],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

        def caught_up():
            path = self.archive.dir / "tlog/cosigned"
            return (path.exists()
                    and notes.Checkpoint(path.read_text()).size == self.size())
        for _ in range(2):
            self.push()
            wait_until(caught_up, 20, "the witness's cosignature")
        self.archive.kill()
        # On the port that it knows.
        address = self.archive.dir / "run/ingest.address"
        port = address.read_text().strip()
        self.archive.start(f"--ingest_listen={port}")
        self.push()
        wait_until(caught_up, 30, "a cosignature after the archive's restart")
        self.cosigned().verify(key)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
        self.assertEqual(process.returncode, 130, err)
        self.assertIn(f"cosigned {self.size()} leaves", out)
        # It went on from where it was, and needs no key of the log any more.
        done = self.archive.run(
            "witness", "witness", "--state", self.folder / f"{short}.state",
            "--key", self.folder / short, "--once")
        self.assertEqual(done.code, 0, str(done))

    def test_an_archive_that_was_put_back_is_refused(self):
        short, _ = self.new_witness("w1")
        self.start()
        self.push()
        self.assertEqual(self.archive.stop(), 0)
        copy = self.folder / "copy"
        shutil.copytree(self.archive.dir, copy)
        self.archive.start()
        self.push(clerk="C1")
        self.assertEqual(self.once(short).code, 0)
        witnessed = self.size()
        self.assertEqual(self.archive.stop(), 0)
        genuine = self.folder / "genuine"
        shutil.move(self.archive.dir, genuine)
        shutil.copytree(copy, self.archive.dir)

        # The copy works as ever; only the witness knows.
        self.archive.start()
        self.assertLess(self.size(), witnessed)
        for _ in range(2):
            done = self.once(short)
            self.assertEqual(done.code, 6, str(done))
            self.assertIn("was cut", done.stderr)
        # It grows again, into another log than the one that was witnessed.
        while self.size() < witnessed + 3:
            self.push(clerk="C2")
        for words in ("contradicts", "has contradicted"):
            done = self.once(short)
            self.assertEqual(done.code, 6, str(done))
            self.assertIn(words, done.stderr)
        self.assertFalse((self.archive.dir / "tlog/cosigned").exists())
        # The two texts prove it to anybody.
        both = (self.folder / f"{short}.state/refused").read_text()
        first, second = both.split("\n\ndiptych/", 1)
        for note in (first + "\n", "diptych/" + second):
            notes.Checkpoint(note).verify(self.log_key())
        self.assertEqual(self.archive.stop(), 0)

        # Once there were two logs, a person has to look.
        shutil.rmtree(self.archive.dir)
        shutil.move(genuine, self.archive.dir)
        self.archive.start()
        self.assertEqual(self.once(short).code, 6)

    def test_a_fork_of_the_same_size_is_refused(self):
        short, _ = self.new_witness("w1")
        self.start()
        self.assertEqual(self.archive.stop(), 0)
        copy = self.folder / "copy"
        shutil.copytree(self.archive.dir, copy)
        self.archive.start()
        self.push(clerk="C1")
        self.assertEqual(self.once(short).code, 0)
        witnessed = self.size()
        self.assertEqual(self.archive.stop(), 0)
        shutil.rmtree(self.archive.dir)
        shutil.copytree(copy, self.archive.dir)
        self.archive.start()
        self.push(clerk="C2")
        self.assertEqual(self.size(), witnessed)
        done = self.once(short)
        self.assertEqual(done.code, 6, str(done))

    def test_strangers_and_wrong_profiles_change_nothing(self):
        known, _ = self.new_witness("w1")
        stranger, _ = self.new_witness("w3", known=False)
        self.start()
        self.push()
        done = self.once(stranger)
        self.assertEqual(done.code, 2, str(done))
        self.assertIn("add-witness", done.stderr)
        for role in ("gateway", "operator"):
            done = self.once(known, role)
            self.assertEqual(done.code, 4, str(done))
        self.assertFalse((self.archive.dir / "tlog/cosigned").exists())
        # Without the log's key it does not begin.
        done = self.archive.run(
            "witness", "witness", "--state", self.folder / "new.state",
            "--key", self.folder / known, "--once")
        self.assertEqual(done.code, 1, str(done))
        self.assertIn("--log-key", done.stderr)
        self.assertEqual(self.archive.run("witness", "witness").code, 2)

    def test_a_killed_witness_goes_on(self):
        short, key = self.new_witness("w1")
        self.start()
        profile = self.archive.profile("witness")
        for round_ in range(3):
            process = subprocess.Popen(
                [str(archives.DIPTYCH), f"--profile={profile}",
                 *map(str, self.arguments(short))],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                self.push(clerk=f"C{round_}")
            finally:
                process.kill()
                process.wait()
            done = self.once(short)
            self.assertEqual(done.code, 0, str(done))
            self.assertEqual(self.cosigned().size, self.size())
            self.cosigned().verify(key)


if __name__ == "__main__":
    unittest.main()
