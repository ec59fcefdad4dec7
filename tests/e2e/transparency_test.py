"""The transparency log: what lies in DIR/tlog, what a server proves of it, and
what a start says of a log that is not the one it was.

Trees and signatures are computed here from the specifications, apart from the
archive's own code.
"""

import base64
import pathlib
import shutil
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import media
import notes
from archive import Archive, command


class TransparencyTest(unittest.TestCase):

    def setUp(self):
        self.archive = Archive()
        self.addCleanup(self.archive.close)
        self.archive.init()
        self.archive.start()
        self.tlog = self.archive.dir / "tlog"
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="diptych-tlog-")))

    def push(self, *more):
        return self.archive.push("--resident", media.RESIDENT, "--clerk",
                                 media.CLERK, *more).of_type("receipt")[0]

    def log_key(self):
        """The log's public key, from what `keys export` gives."""
        done = command("keys", "export", self.archive.dir)
        self.assertEqual(done.code, 0, str(done))
        keys = [notes.Key.parse(line) for line in done.stdout.splitlines()
                if line and not line.startswith("#")]
        return next(k for k in keys if k.kind == notes.ED25519
                    and "/gateway/" not in k.name)

    def checkpoint(self, role="auditor", *flags):
        done = self.archive.run(role, "log", "checkpoint", *flags)
        self.assertEqual(done.code, 0, str(done))
        return notes.Checkpoint(done.stdout)

    def expect_tree(self, checkpoint):
        """The tree on disk is exactly the log's leaves."""
        leaves = notes.log_leaves(self.archive.dir)
        hashes = [notes.leaf_hash(leaf) for leaf in leaves]
        self.assertEqual(checkpoint.size, len(leaves))
        self.assertEqual(notes.tree_leaves(self.tlog, len(leaves)), leaves)
        self.assertEqual(notes.tree_hashes(self.tlog, len(leaves)), hashes)
        self.assertEqual(checkpoint.root, notes.root_of(hashes))
        checkpoint.verify(self.log_key())

    def on_disk(self):
        return notes.Checkpoint((self.tlog / "checkpoint").read_text())

    def save(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def start_must_fail(self, *words):
        with self.assertRaises(AssertionError) as failed:
            self.archive.start()
        for word in words:
            self.assertIn(word, str(failed.exception))

    def test_every_leaf_of_the_log_is_proven(self):
        # More than one tile's worth would take minutes; the unit tests do that.
        for _ in range(4):
            receipt = self.push()
        checkpoint = self.checkpoint("auditor", "--log-key",
                                     str(self.log_key()))
        self.assertEqual(checkpoint.origin, f"diptych/{receipt['archive']}")
        leaves = notes.log_leaves(self.archive.dir)
        for index in range(checkpoint.size):
            done = self.archive.ok("gateway", "log", "prove",
                                   "--index", index)
            proof = done.of_type("proof")[0]
            leaf = base64.b64decode(proof["leaf_data"])
            self.assertEqual(leaf, leaves[index])
            proven = notes.Checkpoint(proof["checkpoint"])
            proven.verify(self.log_key())
            self.assertEqual(
                notes.root_from_inclusion(
                    notes.leaf_hash(leaf), index, proven.size,
                    [base64.b64decode(h) for h in proof["hashes"]]),
                proven.root)
        # By its record, as text in the form of C2SP tlog-proof.
        done = self.archive.run("auditor", "log", "prove", "--position",
                                receipt["log_position"])
        lines = done.stdout.split("\n")
        self.assertEqual(lines[:2], ["c2sp.org/tlog-proof@v1",
                                     f"index {receipt['log_index']}"])
        end = lines.index("")
        proven = notes.Checkpoint("\n".join(lines[end + 1:]))
        self.assertEqual(
            notes.root_from_inclusion(
                notes.leaf_hash(leaves[receipt["log_index"]]),
                receipt["log_index"], proven.size,
                [base64.b64decode(h) for h in lines[2:end]]), proven.root)
        self.assertEqual(self.archive.stop(), 0)
        self.expect_tree(self.on_disk())

    def test_what_is_not_there_is_said(self):
        receipt = self.push()
        for arguments, code in (
                (("--index", 10_000), 3),
                (("--position", receipt["log_position"] + 1), 3),
                ((), 2),
                (("--index", 1, "--position", 2), 2),
                (("--index", 1, "--log-key", "/nonexistent"), 2)):
            done = self.archive.run("auditor", "log", "prove", *arguments)
            self.assertEqual(done.code, code, str(done))

    def test_another_key_than_the_logs_is_noticed(self):
        self.push()
        own = self.log_key()
        forged = notes.Key(own.name, own.kind, bytes(31) + b"\1")
        stranger = notes.Key("other", own.kind, own.public)
        for key, code in ((own, 0), (forged, 6), (stranger, 2)):
            done = self.archive.run("auditor", "log", "checkpoint",
                                    "--log-key", key)
            self.assertEqual(done.code, code, str(done))

    def test_only_known_certificates_may_ask(self):
        self.push()
        with Archive() as other:
            profile = self.folder / "stranger"
            shutil.copytree(other.profile("auditor"), profile)
            text = (profile / "profile.json").read_text()
            (profile / "profile.json").write_text(
                text.replace(str(other.dir), str(self.archive.dir)))
            done = command(f"--profile={profile}", "log", "checkpoint")
            self.assertIn(done.code, (4, 5), str(done))
            self.assertEqual(done.stdout, "")

    def test_killed_at_any_moment_it_goes_on_from_what_it_signed(self):
        older = []
        for _ in range(3):
            self.push()
            older.append(self.save(f"{len(older)}.checkpoint",
                                   (self.tlog / "checkpoint").read_text()))
            self.archive.kill()
            self.archive.start()
        self.push()
        for path in older:
            done = self.archive.ok("operator", "log", "consistency", path,
                                   "--log-key", str(self.log_key()))
            self.assertTrue(done.summary["verified"])
        self.assertEqual(self.archive.stop(), 0)
        self.expect_tree(self.on_disk())

    def test_lost_tiles_come_back_from_the_log(self):
        self.push()
        before = self.checkpoint()
        self.assertEqual(self.archive.stop(), 0)
        shutil.rmtree(self.tlog / "tile")
        self.archive.start()
        self.assertGreaterEqual(self.checkpoint().size, before.size)
        self.assertIn("made again", self.archive.log())
        self.assertEqual(self.archive.stop(), 0)
        self.expect_tree(self.on_disk())

    def test_a_log_that_was_cut_does_not_start(self):
        self.push()
        self.push()
        self.assertEqual(self.archive.stop(), 0)
        leaves = notes.log_leaves(self.archive.dir)
        volume = sorted((self.archive.dir / "volumes").iterdir())[0]
        whole = volume.read_bytes()
        last = int.from_bytes(leaves[-1][:8], "big")
        volume.write_bytes(whole[:last])
        for _ in range(2):
            self.start_must_fail("the log was cut")
            volume.write_bytes(volume.read_bytes()[:last])
        volume.write_bytes(whole)
        self.archive.start()

    def test_another_log_in_its_place_does_not_start(self):
        self.push()
        self.assertEqual(self.archive.stop(), 0)
        volume = sorted((self.archive.dir / "volumes").iterdir())[0]
        older = volume.read_bytes()
        self.archive.start()
        self.push("--tag", "clerk=C1")
        self.assertEqual(self.archive.stop(), 0)
        # An older copy of the log, with what the tree has seen since.
        volume.write_bytes(older)
        self.start_must_fail("the log was cut")

    def test_a_forged_checkpoint_does_not_start(self):
        self.push()
        self.assertEqual(self.archive.stop(), 0)
        path = self.tlog / "checkpoint"
        good = path.read_text()
        origin, size, rest = good.split("\n", 2)
        path.write_text(f"{origin}\n{int(size) - 1}\n{rest}")
        self.start_must_fail("not signed by this archive's log key")
        path.write_text(good)
        self.archive.start()

    def test_an_older_copy_of_everything_shows_to_who_kept_a_checkpoint(self):
        self.push()
        self.assertEqual(self.archive.stop(), 0)
        copy = self.folder / "copy"
        shutil.copytree(self.archive.dir, copy)
        self.archive.start()
        self.push("--tag", "clerk=C1")
        kept = self.save("kept", (self.tlog / "checkpoint").read_text())
        size = self.on_disk().size
        self.assertEqual(self.archive.stop(), 0)
        shutil.rmtree(self.archive.dir)
        shutil.copytree(copy, self.archive.dir)
        # Nothing on this machine can tell.
        self.archive.start()
        done = self.archive.run("auditor", "log", "consistency", kept)
        self.assertEqual(done.code, 6, str(done))
        self.assertIn("was cut", done.stderr)
        # Nor does it help to let it grow again.
        while self.on_disk().size < size:
            self.push("--tag", "clerk=C2")
        done = self.archive.run("auditor", "log", "consistency", kept)
        self.assertEqual(done.code, 6, str(done))
        self.assertIn("was changed", done.stderr)


if __name__ == "__main__":
    unittest.main()
