"""The index is a view: gone and rebuilt, every query answers the same."""

import pathlib
import shutil
import sys
import unittest
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import media
from archive import Archive, command

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


if __name__ == "__main__":
    unittest.main()
