"""The index is a view: gone and rebuilt, every query answers the same."""

import concurrent.futures
import pathlib
import shutil
import subprocess
import sys
import unittest
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import media
from archive import DIPTYCH, Archive, command

QUERIES = (
    ("query", 'clerk = "C0001"'),
    ("query", 'clerk = "C0001"', "--oldest-first"),
    ("query", 'clerk = "C0001"', "--segments"),
    ("query", 'item = "0417" OR item = "0418"', "--segments"),
    ("query", 'clerk = "C0002" AND item = "0418"'),
    ("query", 'NOT clerk = "C0001"'),
    ("query", 'event:document_captured'),
    ("query", 'rating <= 2'),
    ("query", 'duration > 5s'),
    ("query", 'resident = "310106195202030021"'),
    ("count", 'clerk = "C0001"', "--by", "item"),
    ("count", 'item = "0417"', "--by", "outcome"),
)


class IndexRebuildTest(unittest.TestCase):

    def setUp(self):
        self.archive = Archive()
        self.addCleanup(self.archive.close)
        self.archive.init()
        self.archive.start()
        self.sessions = []
        for n in range(4):
            session = str(uuid.uuid4())
            self.sessions.append(session)
            self.archive.push(
                "--resident", media.VP8_RESIDENT, "--clerk", media.VP8_CLERK,
                "--session", session, "--tag", f"clerk=C000{1 + n % 2}",
                "--tag", f"item=041{7 + n // 2}", "--tag", f"rating={1 + n}",
                "--tag", "resident=310106195202030021",
                "--tag", "outcome=accepted",
                "--attach", f"document_captured@{n}s={media.DOCUMENT}")
        self.archive.wait_indexed()

    def answers(self):
        found = {}
        for query in QUERIES:
            found[query] = self.archive.ok("auditor", *query).stdout
        for session in self.sessions:
            found[session] = self.archive.ok("auditor", "show", session).stdout
        return found

    def test_every_query_answers_the_same(self):
        before = self.answers()
        # The comparison is worth something: there are hits, and not the same
        # ones everywhere.
        self.assertGreater(len(set(before.values())), len(QUERIES) // 2)
        self.assertEqual(len(self.archive.query('clerk = "C0001"')), 2)
        self.assertEqual(self.archive.stop(), 0)
        shutil.rmtree(self.archive.dir / "index")
        rebuilt = command("index", "rebuild", self.archive.dir)
        self.assertEqual(rebuilt.code, 0, str(rebuilt))
        self.archive.start()
        self.archive.wait_indexed()
        after = self.answers()
        for query, answer in before.items():
            with self.subTest(query):
                self.assertEqual(after[query], answer)

    def test_a_lost_index_mends_itself_at_the_start(self):
        before = self.answers()
        self.archive.kill()
        shutil.rmtree(self.archive.dir / "index")
        self.archive.start()
        self.archive.wait_indexed()
        self.assertEqual(self.answers(), before)

    def rebuild_now(self, *flags):
        return self.archive.run("operator", "index", "rebuild", "--json",
                                *flags)

    def test_the_daemon_does_it_while_it_serves(self):
        before = self.answers()
        page = self.archive.ok("auditor", "query", "", "--limit=1").stdout
        self.assertTrue(page)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            asked = [pool.submit(self.rebuild_now) for _ in range(3)]
            # Whoever asks meanwhile is answered as ever.
            while not all(a.done() for a in asked):
                self.assertEqual(len(self.archive.query('clerk = "C0001"')), 2)
        for one in asked:
            self.assertEqual(one.result().code, 0, str(one.result()))
            self.assertEqual(one.result().summary["sessions"], 4)
            self.assertTrue(one.result().summary["complete"])
        self.assertEqual(self.answers(), before)
        # Nothing of it is left, and the new one goes on.
        self.assertFalse((self.archive.dir / "index.rebuild").exists())
        self.archive.push("--resident", media.VP8_RESIDENT, "--clerk",
                          media.VP8_CLERK, "--tag", "clerk=C0001")
        self.archive.wait_indexed()
        self.assertEqual(len(self.archive.query('clerk = "C0001"')), 3)
        # Not for auditors.
        refused = self.archive.run("auditor", "index", "rebuild")
        self.assertEqual(refused.code, 4, str(refused))

    def test_an_index_of_an_older_layout_is_made_again_at_the_start(self):
        before = self.answers()
        self.assertEqual(self.archive.stop(), 0)
        # What every program before the fourth layout left behind.
        index = self.archive.dir / "index"
        (index / "CURRENT").write_text("MANIFEST-000001\n")
        self.archive.start()
        self.archive.wait_indexed()
        self.assertEqual(self.answers(), before)
        self.assertIn("made again", self.archive.log())

    def test_killed_anywhere_it_goes_on(self):
        before = self.answers()
        self.assertEqual(self.archive.stop(), 0)
        shutil.rmtree(self.archive.dir / "index")
        argv = [str(DIPTYCH), "index", "rebuild", str(self.archive.dir),
                "--checkpoint_bytes=100000"]
        # From before its first checkpoint to shortly before its end, or after.
        kills = 0
        for n in range(10):
            process = subprocess.Popen(argv, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
            try:
                process.wait(0.05 * 1.4 ** n)
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kills += 1
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120,
                              check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertGreater(kills, 0)
        self.assertFalse((self.archive.dir / "index.rebuild").exists())
        self.archive.start()
        self.archive.wait_indexed()
        self.assertEqual(self.answers(), before)


if __name__ == "__main__":
    unittest.main()
