"""Bundles that are altered, by somebody who knows the formats.

After each change the lists of hashes, the sizes and, where the evidence still
hangs together, the custody report are made again.
"""

import base64
import contextlib
import gzip
import json
import pathlib
import shutil
import struct
import subprocess
import tempfile
import unittest
import zlib

import archive
import matroska_edit
import media
from archive import Archive, command

FORGER = archive.BIN / "tests/mustfail/forger"
_FLIP_S = 3600
# Record types of archiver/log/FORMAT.md.
SOURCE_DIGEST = 13
SIGNED_NOTE_DASH = "\u2014 "


def clip(source, path, seconds, start="0"):
    media.ffmpeg("-ss", start, "-i", source, "-t", seconds, "-map", "0:v:0",
                 "-map", "0:a:0", "-c", "copy", path)
    return path


def forger(*arguments, timeout_s=_FLIP_S):
    done = subprocess.run([str(FORGER), *map(str, arguments)],
                          capture_output=True, text=True, check=False,
                          timeout=timeout_s)
    if done.returncode != 0:
        raise AssertionError(f"forger {arguments}: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


class Forged:
    """A copy of a bundle that is being altered."""

    def __init__(self, path):
        self.path = path
        self.data = path / "data"

    @contextlib.contextmanager
    def evidence(self):
        file = self.data / "evidence.json.gz"
        evidence = read_evidence(self.path)
        yield evidence
        file.write_bytes(gzip_text(
            json.dumps(evidence, separators=(",", ":")).encode() + b"\n"))

    @contextlib.contextmanager
    def media(self):
        file = self.data / "media.mkv"
        editor = matroska_edit.Editor(file.read_bytes())
        yield editor
        file.write_bytes(editor.bytes())

    def change(self, name, old, new):
        """Replaces bytes of a file; they must be there."""
        file = self.data / name
        content = file.read_bytes()
        assert old in content, (name, old)
        file.write_bytes(content.replace(old, new, 1))


def gzip_text(text):
    """As bundles have it (archiver/evidence/BUNDLE_FORMAT.md)."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (bytes.fromhex("1f8b0800000000000203") + packer.compress(text)
            + packer.flush() + struct.pack("<II", zlib.crc32(text), len(text)))


def read_evidence(bundle):
    return json.loads(gzip.decompress(
        (bundle / "data/evidence.json.gz").read_bytes()))


def in_base64(text, old, new):
    content = base64.b64decode(text)
    assert old in content
    return base64.b64encode(content.replace(old, new, 1)).decode()


def flip_base64(text, at=0):
    content = bytearray(base64.b64decode(text))
    content[at] ^= 1
    return base64.b64encode(bytes(content)).decode()


class BundleForgeries(unittest.TestCase):
    """Bundles to alter, and what must come of it."""

    maxDiff = 2000

    @classmethod
    def setUpClass(cls):
        cls.scratch = pathlib.Path(cls.enterClassContext(
            tempfile.TemporaryDirectory(prefix="diptych-forged-")))
        cls.archive = Archive()
        cls.addClassCleanup(cls.archive.close)
        cls.archive.init()
        cls.archive.start()
        resident = clip(media.RESIDENT, cls.scratch / "resident.mkv", "4")
        clerk = clip(media.CLERK, cls.scratch / "clerk.mkv", "4")
        document = cls.scratch / "form.txt"
        document.write_text("An invented form.\n" * 40)
        arguments = ("--resident", resident, "--clerk", clerk,
                     "--tag", "clerk=C0231", "--tag", "item=0417",
                     "--event", "identity_checked@1s:result=match",
                     "--attach", f"document_captured@2s={document}")
        cls.receipt = cls.scratch / "receipt.json"
        cls.session = cls._push(*arguments, "--receipt", cls.receipt)
        # The same media once more, and others of the same codecs.
        cls.again = cls._push(*arguments)
        cls.other = cls._push("--resident", clerk, "--clerk", resident)
        cls.archive.wait_indexed()
        cls.keys = cls.scratch / "keys"
        cls._ok("keys", "export", cls.archive.dir, "-o", cls.keys)
        for name, options in {
                "whole": (cls.session,),
                "later": (cls.session,),
                "mp4": (cls.session, "--media", "mp4"),
                "clip": (cls.session, "--from", "1500ms", "--to", "3s"),
                "again": (cls.again,), "other": (cls.other,)}.items():
            cls.archive.export(*options, "--format", "bundle",
                               "-o", cls.scratch / name)

    @staticmethod
    def _ok(*arguments):
        done = command(*arguments)
        if done.code != 0:
            raise AssertionError(str(done))

    @classmethod
    def _push(cls, *arguments):
        done = cls.archive.push(*arguments)
        return done.of_type("receipt")[0]["session"]

    @contextlib.contextmanager
    def copy_of(self, name, remake=True):
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            path = pathlib.Path(folder) / "bundle"
            shutil.copytree(self.scratch / name, path)
            yield Forged(path)

    def verify(self, path, *arguments):
        return command("verify", path, "--log-key", self.keys, "--json",
                       *arguments, timeout_s=60)

    def assert_false(self, path, *words, arguments=()):
        """Exit 6, with a sentence that has one of the words in it."""
        done = self.verify(path, *arguments)
        self.assertEqual(done.code, 6, str(done))
        message = done.lines[-1]["message"]
        self.assertTrue(any(w in message for w in words), message)

    def forge(self, what, words, change, base="whole"):
        """Alters a copy, remakes what can be, and it must be found."""
        with self.subTest(what), self.copy_of(base) as forged:
            change(forged)
            forger("remake", forged.path)
            self.assert_false(forged.path, *words)

    def forge_evidence(self, what, words, change, base="whole"):
        def alter(forged):
            with forged.evidence() as evidence:
                change(evidence)
        self.forge(what, words, alter, base)

    def forge_media(self, what, words, change, base="whole"):
        def alter(forged):
            with forged.media() as editor:
                change(editor)
        self.forge(what, words, alter, base)
