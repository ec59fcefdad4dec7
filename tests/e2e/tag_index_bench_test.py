"""The benchmark of the tag index runs, and all systems give the same answers."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import tree
from archive import BIN

sys.path.insert(0, str(tree.ROOT / "tests/bench"))
import postgres_cluster

_SHAPES = 12


class TagIndexBenchTest(unittest.TestCase):

    def setUp(self):
        if not (BIN / "tests/tag_index/tag_index_bench").is_file():
            self.skipTest("//tests/tag_index is not built")

    def run_bench(self, *arguments):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "figures.json"
            done = subprocess.run(
                [tree.ROOT / "tests/bench/tag_index", "--no-build",
                 "--no-write", "--segments=20000", "--questions=20",
                 "--budget_s=5", "--json", path, *arguments],
                text=True, capture_output=True, check=False, timeout=300)
            self.assertEqual(done.returncode, 0, done.stderr[-3000:])
            return json.loads(path.read_text()), done.stdout

    def test_every_system_answers_every_question_and_alike(self):
        # It ends with an error if any answer differs from another's.
        figures, section = self.run_bench()
        ways = figures["ways"]
        systems = {"SQLite", "Diptych"}
        if postgres_cluster.is_installed():
            systems.add("PostgreSQL")
        for system in systems:
            answered = {shape for way, shapes in ways.items()
                        if way.startswith(system + ": ") for shape in shapes}
            self.assertEqual(len(answered), _SHAPES, system)
        for way in ("Catalog in process", "over gRPC with TLS"):
            self.assertEqual(len(ways[f"Diptych: {way}"]), _SHAPES)
        self.assertGreater(figures["sustained"]["segments"], 0)
        self.assertGreater(figures["sizes"]["postings"], 0)
        self.assertIn("clerk AND item, newest 50", section)

    def test_alone_it_is_fed_without_a_log(self):
        figures, _ = self.run_bench("--alone")
        self.assertEqual(len(figures["ways"]["Diptych: Catalog in process"]),
                         _SHAPES)


if __name__ == "__main__":
    unittest.main()
