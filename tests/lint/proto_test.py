"""The .proto files: linted, and never changed so that old peers break."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import npm
import tree

# What was last released: `tests/lint/renew_proto_baseline` makes it anew.
_BASELINE = tree.ROOT / "tests/lint/proto_baseline.binpb"


class ProtoTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.program = npm.buf()
        cls.scratch = tempfile.TemporaryDirectory(prefix="diptych-buf-")
        cls.addClassCleanup(cls.scratch.cleanup)

    def buf(self, folder, *arguments):
        return subprocess.run(
            [self.program, *arguments], cwd=folder, capture_output=True,
            text=True, check=False, timeout=120,
            env={**os.environ, "BUF_CACHE_DIR": self.scratch.name})

    def copy_of_protos(self):
        copy = pathlib.Path(tempfile.mkdtemp(dir=self.scratch.name))
        shutil.copy(tree.ROOT / "buf.yaml", copy)
        shutil.copytree(tree.ROOT / "proto", copy / "proto")
        return copy

    def test_lint(self):
        run = self.buf(tree.ROOT, "lint")
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def test_nothing_breaks_old_peers(self):
        run = self.buf(tree.ROOT, "breaking", "--against", str(_BASELINE))
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def test_baseline_names_every_file(self):
        # A file that the baseline lacks is a file that may change freely.
        image = _BASELINE.read_bytes()
        for f in tree.files_ending(".proto"):
            with self.subTest(f):
                self.assertTrue(f.encode() in image,
                                "run tests/lint/renew_proto_baseline")

    def test_a_breaking_change_is_noticed(self):
        changes = {
            "proto/api/v1/ingest.proto":
                ("uint64 sequence = 2;", "uint64 sequence = 20;"),
            "proto/stored/v1/records.proto":
                ("uint32 segments = 6;", "string segments = 6;"),
        }
        for name, (old, new) in changes.items():
            with self.subTest(name):
                copy = self.copy_of_protos()
                text = (copy / name).read_text()
                self.assertEqual(text.count(old), 1)
                (copy / name).write_text(text.replace(old, new))
                run = self.buf(copy, "breaking", "--against", str(_BASELINE))
                self.assertNotEqual(run.returncode, 0)
                self.assertIn(name, run.stdout)

    def test_an_added_field_is_fine(self):
        copy = self.copy_of_protos()
        name = copy / "proto/api/v1/ingest.proto"
        text = name.read_text()
        old = "uint32 pause_ms = 1;"
        self.assertEqual(text.count(old), 1)
        name.write_text(text.replace(old, old + "\n  uint32 added = 99;"))
        run = self.buf(copy, "breaking", "--against", str(_BASELINE))
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)


if __name__ == "__main__":
    unittest.main()
