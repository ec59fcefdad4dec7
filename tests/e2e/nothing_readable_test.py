"""A stolen data folder shows no payload, no resident, no tag."""

import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import matroska
import media
from archive import Archive

# Long enough not to occur by chance in a few megabytes of random bytes.
RESIDENT_NUMBER = "310106195202030021"
VALUES = {
    "resident": RESIDENT_NUMBER,
    "clerk": "CLERK-Zhuge-0231",
    "item": "ITEM-quixotic-0417",
    "ticket": "TICKET-A052-walrus",
    "note.custom": "some custom value \u5c45\u6c11",
}
_WINDOW = 16


def windows_of(data):
    return {data[i:i + _WINDOW] for i in range(len(data) - _WINDOW + 1)}


def telling_windows(payload):
    """Places of a packet that can't be there by chance."""
    for at in range(0, len(payload) - _WINDOW + 1, 97):
        window = payload[at:at + _WINDOW]
        if len(set(window)) >= 12:
            yield window


class NothingReadableTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.archive = Archive()
        cls.addClassCleanup(cls.archive.close)
        cls.archive.init()
        cls.archive.start()
        tags = [f"--tag={k}={v}" for k, v in VALUES.items()]
        done = cls.archive.push(
            "--resident", media.RESIDENT, "--clerk", media.CLERK, *tags,
            "--event", "card_read@2s:reader=READER-heliotrope",
            "--attach", f"document_captured@3s={media.DOCUMENT}")
        cls.session = done.of_type("receipt")[0]["session"]
        cls.archive.wait_indexed()
        # Reading and asking leave traces too.
        cls.archive.query(f'resident = "{RESIDENT_NUMBER}"')
        with tempfile.TemporaryDirectory() as out:
            path = pathlib.Path(out) / "x.mkv"
            cls.archive.export(cls.session, "--format", "mkv", "-o", path,
                               purpose="PURPOSE-marmalade")
            cls.control = path.read_bytes()
        # Killed, so that also what a clean stop would flush or drop is seen;
        # then what a clean stop writes.
        cls.archive.kill()
        cls.files = cls.read_all()
        cls.archive.start()
        cls.archive.wait_indexed()
        cls.archive.stop()
        cls.files.update(
            {f"stopped:{k}": v for k, v in cls.read_all().items()})
        cls.payloads = [
            p.payload for path in (media.RESIDENT, media.CLERK)
            for p in matroska.read(path).packets]

    @classmethod
    def read_all(cls):
        """Everything in the data folder but the clients' own certificates."""
        profiles = cls.archive.dir / "profiles"
        return {str(p.relative_to(cls.archive.dir)): p.read_bytes()
                for p in cls.archive.dir.rglob("*")
                if p.is_file() and profiles not in p.parents}

    def test_there_is_something_to_search(self):
        stored = sum(len(d) for n, d in self.files.items()
                     if n.startswith("volumes/"))
        self.assertGreater(stored, sum(map(len, self.payloads)))
        self.assertTrue(any(n.startswith("index/") for n in self.files))

    def test_no_payload(self):
        telling = {w for p in self.payloads for w in telling_windows(p)}
        telling.update(telling_windows(media.DOCUMENT.read_bytes()))
        self.assertGreater(len(telling), 5000)
        # The search finds what is there to be found.
        self.assertGreater(len(telling & windows_of(self.control)), 5000)
        for name, data in self.files.items():
            with self.subTest(name):
                self.assertEqual(len(telling & windows_of(data)), 0)

    def test_no_tag_event_or_purpose(self):
        words = [*VALUES.values(), "READER-heliotrope", "document_captured",
                 "card_read", media.DOCUMENT.name, "PURPOSE-marmalade",
                 "note.custom"]
        for word in words:
            for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
                secret = word.encode(encoding)
                for name, data in self.files.items():
                    with self.subTest(f"{word} ({encoding}) in {name}"):
                        self.assertFalse(secret in data)

    def test_no_resident_in_the_daemons_log(self):
        for value in VALUES.values():
            self.assertNotIn(value, self.archive.log())

    def test_private_keys_lie_outside(self):
        for name, data in self.files.items():
            # The writer's own: they say who it is and sign, and open nothing.
            if name.removeprefix("stopped:") in ("tls/ingest.key",
                                                 "tls/log.key"):
                continue
            with self.subTest(name):
                self.assertFalse(b"PRIVATE KEY" in data)
                self.assertFalse(b"private_key" in data)


if __name__ == "__main__":
    unittest.main()
