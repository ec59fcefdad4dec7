"""What a gateway keeps as proof of delivery.

Proven here from archiver/evidence/FORMAT.md and the log's public key alone.
"""

import base64
import hashlib
import json
import pathlib
import stat
import subprocess
import sys
import tempfile
import unittest
import uuid

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import archive as archives
import log_files
import media
from archive import Archive, wait_until


def sha256(data):
    return hashlib.sha256(data).digest()


def root_of(leaf_hash, index, size, proof):
    """RFC 9162, section 2.1.3.2."""
    if index >= size:
        raise ValueError("no such leaf")
    fn, sn, root = index, size - 1, leaf_hash
    for hash_ in proof:
        if sn == 0:
            raise ValueError("the proof is too long")
        if fn & 1 or fn == sn:
            root = sha256(b"\1" + hash_ + root)
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            root = sha256(b"\1" + root + hash_)
        fn >>= 1
        sn >>= 1
    if sn != 0:
        raise ValueError("the proof is too short")
    return root


class ReceiptTest(unittest.TestCase):

    def setUp(self):
        self.archive = Archive()
        self.addCleanup(self.archive.close)
        self.archive.init()
        self.archive.start()
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="diptych-receipt-")))
        self.path = self.folder / "receipt.json"

    def push(self, *more):
        return self.archive.push("--resident", media.RESIDENT, "--clerk",
                                 media.CLERK, *more)

    def prove(self, receipt):
        """Raises if the receipt does not prove itself."""
        header = base64.b64decode(receipt["closed_header"], validate=True)
        # SessionClosed is record type 9 and has no body.
        digest = sha256(b"diptych-record-1" + bytes([9]) + sha256(header)
                        + sha256(b""))
        leaf = receipt["log_position"].to_bytes(8, "big") + digest
        note, signature = receipt["checkpoint"].split("\n\n")
        origin, size, root = note.split("\n")
        found = root_of(sha256(b"\0" + leaf), receipt["log_index"], int(size),
                        [base64.b64decode(h, validate=True)
                         for h in receipt["inclusion_proof"]])
        if found != base64.b64decode(root):
            raise ValueError("not in the tree")
        self.assertEqual(origin, f"diptych/{receipt['archive']}")
        dash, name, sealed = signature.strip().split(" ")
        self.assertEqual((dash, name), ("—", origin))
        key = serialization.load_pem_private_key(
            (self.archive.dir / "tls/log.key").read_bytes(), None).public_key()
        raw = key.public_bytes(serialization.Encoding.Raw,
                               serialization.PublicFormat.Raw)
        sealed = base64.b64decode(sealed)
        self.assertEqual(sealed[:4],
                         sha256(name.encode() + b"\n\1" + raw)[:4])
        key.verify(sealed[4:], (note + "\n").encode())

    def closing_record(self, receipt):
        return next(r for r in log_files.records(self.archive.dir / "volumes")
                    if r.position == receipt["log_position"])

    def test_it_proves_itself(self):
        # Not the log's first session, so that there is something to prove.
        for _ in range(3):
            self.push()
        done = self.push("--receipt", self.path)
        line = done.of_type("receipt")[0]
        receipt = json.loads(self.path.read_text())
        self.prove(receipt)
        self.assertGreater(len(receipt["inclusion_proof"]), 1)
        self.assertEqual(receipt["format"], "diptych-receipt-1")
        record = self.closing_record(receipt)
        self.assertEqual(record.type, log_files.SESSION_CLOSED)
        self.assertEqual(record.header,
                         base64.b64decode(receipt["closed_header"]))
        self.assertTrue(line["proven"])
        for in_file, in_line in (("session", "session"),
                                 ("archive", "archive"), ("state", "state"),
                                 ("start_time", "start"),
                                 ("closed_time", "closed"),
                                 ("sides", "sides"), ("segments", "segments"),
                                 ("manifest_sha256", "manifest_sha256"),
                                 ("log_position", "log_position"),
                                 ("log_index", "log_index")):
            self.assertEqual(receipt[in_file], line[in_line], in_file)
        self.assertIn(bytes.fromhex(receipt["manifest_sha256"]), record.header)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual([p.name for p in self.folder.iterdir()],
                         [self.path.name])

        for change in ({"log_position": receipt["log_position"] + 1},
                       {"log_index": receipt["log_index"] - 1},
                       {"closed_header": base64.b64encode(
                           record.header + b"\x48\1").decode()},
                       {"inclusion_proof": receipt["inclusion_proof"][:-1]},
                       {"inclusion_proof": receipt["inclusion_proof"][::-1]}):
            with self.assertRaises(ValueError, msg=change):
                self.prove({**receipt, **change})
        with self.assertRaises((InvalidSignature, ValueError)):
            self.prove({**receipt, "checkpoint": receipt["checkpoint"].replace(
                "\n", "\n1", 1)})

    def test_people_are_told_the_entry(self):
        done = self.archive.run("gateway", "push", "--fast", "--resident",
                                media.RESIDENT, "--clerk", media.CLERK)
        self.assertEqual(done.code, 0, str(done))
        self.assertRegex(done.stdout,
                         r"proof +entry \d+ of the log, in a signed checkpoint")

    def test_nothing_is_written_over(self):
        self.path.write_text("somebody's notes\n")
        done = self.archive.run("gateway", "push", "--fast", "--resident",
                                media.RESIDENT, "--receipt", self.path)
        self.assertNotEqual(done.code, 0)
        self.assertIn(str(self.path), done.stderr)
        self.assertEqual(self.path.read_text(), "somebody's notes\n")
        missing = self.folder / "none" / "receipt.json"
        done = self.archive.run("gateway", "push", "--fast", "--resident",
                                media.RESIDENT, "--receipt", missing)
        self.assertNotEqual(done.code, 0)
        self.assertIn(str(missing), done.stderr)
        # Said before anything was sent.
        self.assertEqual(log_files.count(self.archive.dir / "volumes",
                                         log_files.SESSION_OPENED), 0)
        done = self.archive.run("gateway", "push", "--drain", "--spool",
                                self.folder / "spool", "--receipt", self.path)
        self.assertEqual(done.code, 2, str(done))

    def break_tree(self):
        """Nothing can be added to the log tree from here on."""
        tiles = self.archive.dir / "tlog" / "tile"
        aside = tiles.with_name("tile.aside")
        if tiles.exists():
            tiles.rename(aside)
        tiles.write_text("")

        def mend():
            tiles.unlink()
            if aside.exists():
                aside.rename(tiles)
        return mend

    def test_one_that_is_not_proven_yet_is_kept_and_then_replaced(self):
        self.push()
        mend = self.break_tree()
        session = str(uuid.uuid4())
        process = subprocess.Popen(
            [str(archives.DIPTYCH),
             f"--profile={self.archive.profile('gateway')}", "push", "--fast",
             "--json", "--resident", str(media.RESIDENT), "--clerk",
             str(media.CLERK), "--session", session, "--receipt",
             str(self.path)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        wait_until(lambda: self.path.exists() or process.poll() is not None,
                   30, "the first receipt")
        first = json.loads(self.path.read_text())
        self.assertNotIn("checkpoint", first)
        self.assertNotIn("log_index", first)
        mend()
        out, err = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 0, out + err)
        receipt = json.loads(self.path.read_text())
        self.prove(receipt)
        self.assertEqual({k: receipt[k] for k in first}, first)
        self.assertNotIn("not proven", err)

    def test_without_a_checkpoint_that_is_said(self):
        self.push()
        mend = self.break_tree()
        session = str(uuid.uuid4())
        done = self.push("--session", session, "--receipt", self.path)
        self.assertIn("not proven", done.stderr)
        line = done.of_type("receipt")[0]
        self.assertIs(line["proven"], False)
        self.assertIsNone(line["log_index"])
        self.assertNotIn("checkpoint", json.loads(self.path.read_text()))
        # Later the same command brings one that is; it can't send anything.
        mend()
        again = self.archive.run("gateway", "push", "--fast", "--resident",
                                 media.RESIDENT, "--clerk", media.CLERK,
                                 "--session", session, "--receipt", self.path)
        self.assertEqual(again.code, 1, str(again))
        self.assertIn("the session is closed", again.stderr)
        receipt = json.loads(self.path.read_text())
        self.assertEqual(receipt["session"], session)
        self.prove(receipt)


if __name__ == "__main__":
    unittest.main()
