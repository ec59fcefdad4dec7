"""Damage in any file of the index: an error or a right answer, never a wrong
one, and in the end a whole index again without anybody's help."""

import pathlib
import shutil
import sys
import unittest
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import media
from archive import Archive, wait_until

# What the command line says of an answer that is not whole, or of none.
SAID = (1, 5, 6, 7)


class DamageTest(unittest.TestCase):
    """An index as a crash has left it, and what it must answer."""

    @classmethod
    def last(cls):
        """What the daemon does before the crash."""

    @classmethod
    def setUpClass(cls):
        cls.archive = Archive()
        cls.addClassCleanup(cls.archive.close)
        cls.archive.init()
        cls.archive.start()
        cls.expected = {"": set()}
        for n in range(3):
            session = str(uuid.uuid4())
            cls.archive.push(
                "--resident", media.VP8_RESIDENT, "--clerk", media.VP8_CLERK,
                "--session", session, "--tag", f"clerk=C000{n % 2}",
                "--tag", f"item=041{n}")
            cls.expected[""].add(session)
            for text in (f'clerk = "C000{n % 2}"', f'item = "041{n}"'):
                cls.expected.setdefault(text, set()).add(session)
        cls.archive.wait_indexed()
        cls.archive.stop()
        # The write-ahead log goes into sorted files when it is read again; what
        # comes after that stays in it.
        cls.archive.start()
        cls.archive.wait_indexed()
        session = str(uuid.uuid4())
        cls.archive.push(
            "--resident", media.VP8_RESIDENT, "--clerk", media.VP8_CLERK,
            "--session", session, "--tag", "clerk=C0000")
        cls.expected[""].add(session)
        cls.expected['clerk = "C0000"'].add(session)
        cls.archive.wait_indexed()
        cls.last()
        # As a crash leaves it.
        cls.archive.kill()
        cls.whole = cls.archive.base / "whole"
        shutil.copytree(cls.index(), cls.whole)

    @classmethod
    def index(cls):
        return cls.archive.dir / "index"

    def files(self, kind):
        return sorted(p.name for p in self.whole.iterdir()
                      if (p.name.startswith(kind) or p.name.endswith(kind))
                      and p.stat().st_size > 0)

    def ask(self):
        """Whether every answer is right and whole. None may be wrong."""
        right = True
        for text, sessions in self.expected.items():
            done = self.archive.run("auditor", "query", text, "--json")
            if done.code != 0:
                self.assertIn(done.code, SAID, str(done))
                right = False
            found = {line["session"] for line in done.of_type("session")}
            if done.code == 0:
                self.assertEqual(found, sessions, text)
            else:
                self.assertLessEqual(found, sessions, text)
        return right

    def damaged(self, damage, *names):
        """The daemon on an index whose files were damaged so."""
        shutil.rmtree(self.index(), ignore_errors=True)
        shutil.rmtree(self.archive.dir / "index.rebuild", ignore_errors=True)
        shutil.copytree(self.whole, self.index())
        for name in names:
            damage(self.index() / name)
        self.archive.start()
        try:
            wait_until(self.ask, 60, "right answers again")
        finally:
            self.archive.kill()

    @staticmethod
    def flip(part):
        def damage(path):
            content = bytearray(path.read_bytes())
            content[int((len(content) - 1) * part)] ^= 0x10
            path.write_bytes(content)
        return damage

    @staticmethod
    def cut_at(part):
        def damage(path):
            content = path.read_bytes()
            path.write_bytes(content[:int(len(content) * part)])
        return damage

    def every_way(self, kind):
        names = self.files(kind)
        self.assertTrue(names, kind)
        for what, damage in (("a byte in front", self.flip(0)),
                             ("a byte in the middle", self.flip(0.5)),
                             ("a byte behind", self.flip(1)),
                             ("cut", self.cut_at(0.5)),
                             ("missing", lambda path: path.unlink())):
            with self.subTest(kind=kind, what=what):
                self.damaged(damage, *names)


class IndexDamageTest(DamageTest):

    def test_each_sorted_file(self):
        for name in self.files(".sst"):
            with self.subTest(name):
                self.damaged(self.flip(0.3), name)

    def test_all_sorted_files(self):
        self.every_way(".sst")

    def test_manifest(self):
        self.every_way("MANIFEST-")

    def test_current(self):
        self.every_way("CURRENT")

    def test_options(self):
        self.every_way("OPTIONS-")

    def test_write_ahead_log(self):
        self.every_way(".log")

    def test_everything_is_rubbish(self):
        self.damaged(lambda path: path.write_bytes(b"rubbish"),
                     *[p.name for p in self.whole.iterdir() if p.is_file()])


class AfterARebuildTest(DamageTest):
    """Files of a new index are named by the manifest only."""

    @classmethod
    def last(cls):
        cls.archive.ok("operator", "index", "rebuild")

    def test_the_end_of_the_manifest(self):
        name, = self.files("MANIFEST-")
        for tenth in range(4, 10):
            with self.subTest("cut", tenth=tenth):
                self.damaged(self.cut_at(tenth / 10), name)
            with self.subTest("a byte", tenth=tenth):
                self.damaged(self.flip(tenth / 10), name)


if __name__ == "__main__":
    unittest.main()
