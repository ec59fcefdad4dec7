"""`diptych verify` as a judge's clerk runs it: files and public keys alone."""

import base64
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from html.parser import HTMLParser

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import media
from archive import DIPTYCH, Archive, command


class Page(HTMLParser):
    """What a browser would load or run of a page, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.references, self.words = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.references += [(tag, name) for name, _ in attrs
                            if name in ("src", "href", "srcset", "action")
                            or name.startswith("on")]

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(self.words)


class VerifyTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.scratch = pathlib.Path(cls.enterClassContext(
            tempfile.TemporaryDirectory(prefix="diptych-verify-")))
        cls.archive = Archive()
        cls.addClassCleanup(cls.archive.close)
        cls.archive.init()
        cls.archive.start()
        cls.receipt = cls.scratch / "receipt.json"
        done = cls.archive.push(
            "--resident", media.RESIDENT, "--clerk", media.CLERK,
            "--tag", "clerk=C0231", "--tag", "note=<script>alert(1)</script>",
            "--event", "identity_checked@3s:result=match",
            "--attach", f"document_captured@5s={media.DOCUMENT}",
            "--receipt", cls.receipt)
        cls.session = done.of_type("receipt")[0]["session"]
        cls.archive.wait_indexed()
        cls.keys = cls.scratch / "keys"
        exported = command("keys", "export", cls.archive.dir, "-o", cls.keys)
        assert exported.code == 0, str(exported)
        cls.bundle = cls.export("bundle")
        cls.clip = cls.export("clip", "--from", "3s", "--to", "6s", "--side",
                              "clerk")
        # What follows needs nothing of the archive.
        cls.archive.stop()

    @classmethod
    def export(cls, name, *options):
        path = cls.scratch / name
        cls.archive.export(cls.session, "--format", "bundle", "-o", path,
                           *options, purpose="case 4711 & others")
        return path

    def verify(self, *arguments, **options):
        return command("verify", *arguments, **options)

    # ---- What it says ----

    def test_json(self):
        done = self.verify(self.bundle, "--log-key", self.keys, "--json")
        self.assertEqual(done.code, 0, str(done))
        summary = done.summary
        self.assertEqual(summary["message_type"], "summary")
        self.assertEqual(summary["verdict"], "proven")
        self.assertEqual(summary["session"], self.session)
        self.assertTrue(summary["whole_session"])
        self.assertTrue(summary["log_key_verified"])
        self.assertEqual(done.of_type("missing"), [])
        tracks = done.of_type("track")
        probed = media.probe(self.bundle / "data/media.mkv")
        self.assertEqual(sum(t["packets"] for t in tracks),
                         len(probed["packets"]))
        for track in tracks:
            ranges = [r for r in done.of_type("range")
                      if r["track_id"] == track["track_id"]]
            # No second is passed over.
            self.assertEqual(ranges[0]["from_s"], summary["from_s"])
            self.assertEqual(ranges[-1]["to_s"], summary["to_s"])
            for before, after in zip(ranges, ranges[1:]):
                self.assertEqual(before["to_s"], after["from_s"])
            self.assertEqual(track["signed_packets"], track["packets"])
            self.assertTrue(all(r["key_verified"] for r in ranges
                                if r["state"] == "signed"))

    def test_text(self):
        done = self.verify(self.bundle, "--log-key", self.keys)
        self.assertEqual(done.code, 0, str(done))
        self.assertIn("as its gateway signed it", done.stdout)
        self.assertIn("No witness cosigned it.", done.stdout)
        self.assertIn("No time stamp is with it.", done.stdout)
        self.assertIn("\nproven: ", done.stdout)

    def test_a_clip_is_not_said_to_have_holes(self):
        done = self.verify(self.clip, "--log-key", self.keys, "--json")
        self.assertEqual(done.code, 0, str(done))
        said = [m["text"] for m in done.of_type("missing")]
        self.assertFalse([t for t in said if "Some of track" in t], said)
        self.assertTrue([t for t in said if "resident" in t], said)

    def test_needs_nothing_but_the_files(self):
        # Neither a profile nor a home nor a network.
        elsewhere = self.scratch / "elsewhere"
        shutil.copytree(self.bundle, elsewhere)
        done = subprocess.run(
            ["unshare", "--net", "--map-root-user", str(DIPTYCH), "verify",
             str(elsewhere), "--log-key", str(self.keys)],
            capture_output=True, text=True, check=False, timeout=60,
            env={"PATH": os.environ["PATH"]})
        if "unshare" in done.stderr:
            self.skipTest(f"no network namespaces: {done.stderr.strip()}")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_changes_nothing(self):
        before = {p: p.stat().st_mtime_ns for p in self.bundle.rglob("*")}
        self.verify(self.bundle, "--log-key", self.keys)
        self.assertEqual(
            {p: p.stat().st_mtime_ns for p in self.bundle.rglob("*")}, before)

    # ---- Keys ----

    def test_without_keys_nobody_vouches(self):
        done = self.verify(self.bundle, "--json")
        self.assertEqual(done.code, 7, str(done))
        self.assertEqual(done.summary["verdict"], "consistent")
        self.assertIn("not proven: give --log-key", done.stdout)

    def test_with_the_log_key_alone(self):
        keys = [line for line in self.keys.read_text().splitlines()
                if line and not line.startswith("#")]
        log = next(k for k in keys if "/gateway/" not in k)
        done = self.verify(self.bundle, "--log-key", log, "--json")
        self.assertEqual(done.code, 0, str(done))
        signed = [r for r in done.of_type("range") if r["state"] == "signed"]
        self.assertTrue(signed)
        self.assertFalse(any(r["key_verified"] for r in signed))
        self.assertIn("were not checked", done.stdout)

    def test_with_another_archives_keys(self):
        with Archive() as other:
            keys = self.scratch / "others"
            self.assertEqual(
                command("keys", "export", other.dir, "-o", keys).code, 0)
        done = self.verify(self.bundle, "--log-key", keys, "--json")
        self.assertEqual(done.code, 7, str(done))
        self.assertIn("none of the keys given signed this (its key is",
                      done.stdout)
        # In the right name another key is a false one.
        ours = re.search(r"^(diptych/[0-9a-f-]+)\+", self.keys.read_text(),
                         re.MULTILINE)[1]
        public = re.search(r"^diptych/[0-9a-f-]+\+\w+\+(\S+)$",
                           keys.read_text(), re.MULTILINE)[1]
        key_id = self.key_id(ours, public)
        done = self.verify(self.bundle, "--log-key",
                           f"{ours}+{key_id}+{public}", "--json")
        self.assertEqual(done.code, 6, str(done))
        self.assertIn("data/checkpoint", done.lines[-1]["message"])

    @staticmethod
    def key_id(name, public):
        """Of a signed note's key (C2SP signed-note)."""
        return hashlib.sha256(
            name.encode() + b"\n" + base64.b64decode(public)).hexdigest()[:8]

    def test_wrong_use(self):
        for arguments, code in (
                ((self.scratch / "nowhere",), 3),
                ((self.bundle, "--log-key", "nothing"), 2),
                ((self.keys,), 2),
                ((self.receipt, "--receipt", self.receipt), 2),
                ((), 2)):
            with self.subTest(arguments):
                self.assertEqual(self.verify(*arguments).code, code)
        torn = self.scratch / "torn"
        torn.write_text(self.keys.read_text().replace("+", "-", 1))
        done = self.verify(self.bundle, "--log-key", torn)
        self.assertEqual(done.code, 2, str(done))
        self.assertIn("line", done.stderr)

    # ---- What is given ----

    def test_the_media_file_in_a_bundle(self):
        done = self.verify(self.bundle / "data/media.mkv", "--log-key",
                           self.keys, "--json")
        self.assertEqual(done.code, 0, str(done))
        self.assertEqual(done.summary["session"], self.session)

    def test_an_empty_folder(self):
        empty = self.scratch / "empty"
        empty.mkdir()
        done = self.verify(empty)
        self.assertEqual(done.code, 2, str(done))
        self.assertIn("none of a bundle's files", done.stderr)

    def test_receipts(self):
        done = self.verify(self.receipt, "--log-key", self.keys, "--json")
        self.assertEqual(done.code, 0, str(done))
        self.assertEqual(done.summary["session"], self.session)
        done = self.verify(self.receipt, "--json")
        self.assertEqual(done.code, 7, str(done))
        done = self.verify(self.bundle, "--receipt", self.receipt,
                           "--log-key", self.keys)
        self.assertEqual(done.code, 0, str(done))
        receipt = json.loads(self.receipt.read_text())
        receipt["sides"][0]["packets"] += 1
        forged = self.scratch / "forged.json"
        forged.write_text(json.dumps(receipt))
        done = self.verify(forged, "--log-key", self.keys)
        self.assertEqual(done.code, 6, str(done))
        self.assertIn("sides[0].packets", done.stderr)

    # ---- The custody report ----

    def test_report(self):
        text = (self.bundle / "data/report.html").read_text()
        page = Page(text)
        self.assertEqual(page.references, [])
        self.assertFalse(page.tags & {"script", "link", "img", "iframe",
                                      "object", "form"}, page.tags)
        self.assertIn("svg", page.tags)
        self.assertIn("@media print", text)
        for words in (self.session, "case 4711 & others", "C0231",
                      "<script>alert(1)</script>", "identity_checked",
                      "result=match", "document", "sha256sum -c",
                      "as its gateway signed it", "Chain of custody"):
            self.assertIn(words, page.text)


if __name__ == "__main__":
    unittest.main()
