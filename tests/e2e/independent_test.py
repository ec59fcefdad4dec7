"""A second verifier, written from the documents alone, agrees with ours.

On every bundle here, good and bad: tests/independent, `diptych verify` and, of
hashes of files, sha256sum.
"""

import base64
import json
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

_TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(_TESTS))
sys.path.append(str(_TESTS / "independent"))
import archive
import media
from archive import Archive
from timestamp_test import Authority

_MISSING = ""
try:
    import ebml_packets
    import json_entry
    import mp4_samples
    import signed_note
    import tiny_bundle
    import verify_bundle
    from untrue import Untrue
except ImportError as error:
    if (error.name or "").split(".")[0] != "cryptography":
        raise
    _MISSING = "python3-cryptography is not installed"

_FOLDER = _TESTS / "independent"
_SEED = 20261126
_SHA256_OID = bytes.fromhex("0609608648016503040201")
# What `diptych verify` says of a bundle that is not proven: something is
# false, or the log's signature is not there.
_BAD = (6, 7)
_CALL = (media.SHARED / "call-75s-resident.mkv",
         media.SHARED / "call-75s-clerk.mkv")


def run_script(name, *arguments):
    return subprocess.run(
        [sys.executable, "-B", str(_FOLDER / name), *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=120)


def without_traceback(test, done):
    test.assertNotIn("Traceback", done.stdout + done.stderr)
    return done


@unittest.skipIf(_MISSING, _MISSING)
class IndependentTest(unittest.TestCase):

    maxDiff = 3000

    @classmethod
    def setUpClass(cls):
        cls.scratch = pathlib.Path(cls.enterClassContext(
            tempfile.TemporaryDirectory(prefix="diptych-independent-")))
        cls.archive = Archive()
        cls.addClassCleanup(cls.archive.close)
        cls.archive.init()
        cls.archive.start()
        cls.h264 = cls.push(
            media.RESIDENT, media.CLERK, "--tag", "item=0417",
            "--event", "card_read@2s:reader=T1",
            "--attach", f"document_captured@3s={media.DOCUMENT}")
        cls.vp8 = cls.push(media.VP8_RESIDENT, media.VP8_CLERK)
        cls.archive.wait_indexed()
        done = archive.command("keys", "export", cls.archive.dir)
        assert done.code == 0, str(done)
        cls.key_file = cls.scratch / "keys.txt"
        cls.key_file.write_text(done.stdout)
        cls.keys = signed_note.parse_verifier_keys(done.stdout, "keys")
        cls.made = {}

    @classmethod
    def push(cls, resident, clerk, *arguments):
        done = cls.archive.push("--resident", resident, "--clerk", clerk,
                                "--tag", "clerk=C0231", *arguments)
        return done.of_type("receipt")[0]["session"]

    def bundle(self, name):
        """A bundle by its name, exported once: never to be changed."""
        if name not in self.made:
            session, *arguments = {
                "h264 whole": (self.h264,),
                "h264 clip": (self.h264, "--from", "4s", "--to", "8s"),
                "h264 clerk": (self.h264, "--side", "clerk", "--from", "3s"),
                "h264 mp4": (self.h264, "--media", "mp4"),
                "h264 mp4 clip": (self.h264, "--media", "mp4", "--from",
                                  "4.3s", "--to", "11s"),
                "h264 mp4 resident": (self.h264, "--media", "mp4", "--side",
                                      "resident"),
                "vp8 whole": (self.vp8,),
                "vp8 clip": (self.vp8, "--from", "3.2s", "--to", "7s"),
                "vp8 resident": (self.vp8, "--side", "resident", "--to",
                                 "5s"),
            }[name]
            path = self.scratch / name.replace(" ", "-")
            self.archive.export(session, *arguments, "--format", "bundle",
                                "-o", path)
            self.made[name] = path
        return self.made[name]

    def copy(self, name):
        folder = self.scratch / "forged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.bundle(name), folder)
        return folder

    def verify(self, folder):
        return archive.command("verify", folder, "--log-key", self.key_file)

    @staticmethod
    def sums_hold(folder):
        return subprocess.run(
            ["sha256sum", "--quiet", "--strict", "-c", "manifest-sha256.txt"],
            cwd=folder, capture_output=True, check=False).returncode == 0

    def assert_good(self, folder):
        """All three say so; what the independent one said."""
        done = without_traceback(self, run_script(
            "verify_bundle.py", folder, "--key", self.key_file))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        ours = self.verify(folder)
        self.assertEqual(ours.code, 0, str(ours))
        self.assertTrue(self.sums_hold(folder))
        return done.stdout

    def assert_bad(self, folder, what):
        """Both verifiers refuse it, each with a sentence."""
        try:
            said = verify_bundle.verify(str(folder), self.keys)
        except Untrue:
            said = None
        ours = self.verify(folder)
        self.assertIn(ours.code, _BAD, f"{what}: {ours}")
        self.assertIsNone(said, f"{what}: the independent verifier sees "
                          f"nothing; ours: {ours.stderr}{ours.stdout}")

    # ---- Good ones ----

    def test_good_bundles_of_h264(self):
        for name in ("h264 whole", "h264 mp4"):
            with self.subTest(name):
                said = self.assert_good(self.bundle(name))
                self.assertIn("This is the whole session", said)
                self.assertIn("as gateway signed it", said)
                self.assertNotIn("not signed by its source", said)
        for name in ("h264 clip", "h264 clerk", "h264 mp4 clip",
                     "h264 mp4 resident"):
            with self.subTest(name):
                said = self.assert_good(self.bundle(name))
                self.assertIn("This is a part of the session", said)
                self.assertIn("as gateway signed it", said)

    def test_good_bundles_of_vp8(self):
        for name, whole in (("vp8 whole", True), ("vp8 clip", False),
                            ("vp8 resident", False)):
            with self.subTest(name):
                said = self.assert_good(self.bundle(name))
                self.assertEqual("This is the whole session" in said, whole)

    def test_a_clip_of_a_longer_call(self):
        if not _CALL[0].is_file():
            self.skipTest("no recordings outside the repository "
                          "(DIPTYCH_SHARED_DIR)")
        session = self.push(*_CALL)
        self.archive.wait_indexed()
        for container in ("mkv", "mp4"):
            for number, arguments in enumerate((
                    (), ("--from", "25s", "--to", "47s"),
                    ("--from", "31.5s", "--to", "33s", "--side",
                     "resident"))):
                with self.subTest(f"{container} {arguments}"):
                    path = self.scratch / f"call-{container}-{number}"
                    self.archive.export(session, *arguments, "--format",
                                        "bundle", "--media", container, "-o",
                                        path)
                    said = self.assert_good(path)
                    self.assertEqual("This is the whole session" in said,
                                     not arguments)

    def test_both_know_what_only_a_gateways_key_shows(self):
        folder = self.bundle("h264 whole")
        log_only = self.scratch / "log.txt"
        log_only.write_text("".join(
            line + "\n" for line in self.key_file.read_text().splitlines()
            if not line.startswith("#") and "/gateway/" not in line))
        done = without_traceback(self, run_script(
            "verify_bundle.py", folder, "--key", log_only))
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("not signed by its source", done.stdout)
        nobody = self.scratch / "nobody.txt"
        nobody.write_text(tiny_bundle.Key("nobody").text + "\n")
        done = without_traceback(self, run_script(
            "verify_bundle.py", folder, "--key", nobody))
        self.assertEqual(done.returncode, 1, done.stdout)
        ours = archive.command("verify", folder, "--log-key", nobody)
        self.assertIn(ours.code, _BAD, str(ours))

    # ---- Bad ones ----

    def test_a_byte_in_any_file_and_sha256sum_knows(self):
        folder = self.copy("h264 clerk")
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = path.relative_to(folder).as_posix()
            with self.subTest(name):
                good = path.read_bytes()
                bad = bytearray(good)
                bad[len(bad) // 2] ^= 0x10
                path.write_bytes(bad)
                self.assert_bad(folder, name)
                if name.startswith("data/"):
                    self.assertFalse(self.sums_hold(folder))
                path.write_bytes(good)

    def flip_with_lists(self, folder, name, places, mask=None):
        """Flips bytes one by one and makes the lists of hashes again."""
        path = folder / name
        good = path.read_bytes()
        for at in places:
            bad = bytearray(good)
            bad[at] ^= mask or 1 << at % 7
            path.write_bytes(bad)
            tiny_bundle.write_lists(folder)
            self.assertTrue(self.sums_hold(folder))
            self.assert_bad(folder, f"{name}, byte {at}")
        path.write_bytes(good)
        tiny_bundle.write_lists(folder)

    def test_flips_in_small_files_with_the_lists_made_again(self):
        chance = random.Random(_SEED)
        for bundle in ("h264 clerk", "vp8 clip"):
            folder = self.copy(bundle)
            for path in sorted((folder / "data").rglob("*")):
                name = path.relative_to(folder).as_posix()
                if path.is_dir() or path.suffix in (".json", ".html", ".mkv"):
                    continue
                with self.subTest(f"{bundle}: {name}"):
                    size = path.stat().st_size
                    self.flip_with_lists(folder, name,
                                         chance.sample(range(size), 5))

    def test_flips_in_packets_with_the_lists_made_again(self):
        chance = random.Random(_SEED)
        for bundle, name, read in (
                ("h264 clip", "media.mkv", ebml_packets.read_streams),
                ("vp8 clip", "media.mkv", ebml_packets.read_streams),
                ("h264 mp4 clip", "media.mp4", mp4_samples.read_streams)):
            folder = self.copy(bundle)
            data = (folder / "data" / name).read_bytes()
            for number, stream in enumerate(read(data, name)):
                with self.subTest(f"{bundle}: stream {number}"):
                    picked = chance.sample(stream.packets, 3)
                    self.flip_with_lists(folder, f"data/{name}", [
                        p.offset + chance.randrange(p.size) for p in picked])

    def test_times_with_the_lists_made_again(self):
        """One block's time by a millisecond; one sample's duration."""
        folder = self.copy("h264 clip")
        data = (folder / "data/media.mkv").read_bytes()
        streams = ebml_packets.read_streams(data, "media.mkv")
        # Two bytes of time and one of flags lie before the payload.
        self.flip_with_lists(folder, "data/media.mkv", [
            s.packets[len(s.packets) // 2].offset - 2 for s in streams], 1)
        folder = self.copy("h264 mp4 clip")
        data = (folder / "data/media.mp4").read_bytes()
        # The lowest bit but eight of the first duration of each track: less
        # might be less than a millisecond, which is no other time.
        self.flip_with_lists(folder, "data/media.mp4", [
            m.start() + 12 + 6 for m in re.finditer(b"stts", data)], 1)

    def test_report_is_ours_alone_to_check(self):
        folder = self.copy("vp8 clip")
        path = folder / "data/report.html"
        path.write_bytes(path.read_bytes() + b"<p>and more</p>\n")
        tiny_bundle.write_lists(folder)
        self.assertEqual(self.verify(folder).code, 6)
        done = without_traceback(self, run_script(
            "verify_bundle.py", folder, "--key", self.key_file))
        self.assertEqual(done.returncode, 0)
        self.assertIn("report is for reading", done.stdout)

    def test_every_kind_of_value_in_the_evidence(self):
        """One value changed: each field, of a few of its places."""
        for bundle in ("h264 clip", "vp8 clip"):
            folder = self.copy(bundle)
            path = folder / "data/evidence.json.gz"
            good = json.loads(json_entry.unpack(path.read_bytes(), 1 << 28))
            tried = set()
            for place, forged in _changed_values(good):
                kind = re.sub(r"\d+", "#", place)
                # Told, not proven: what the clip covers.
                if kind in tried or kind in (".from_us", ".to_us"):
                    continue
                tried.add(kind)
                with self.subTest(f"{bundle}: {place}"):
                    path.write_bytes(tiny_bundle.pack(json.dumps(
                        forged, separators=(",", ":")).encode()))
                    tiny_bundle.write_lists(folder)
                    self.assert_bad(folder, place)
            self.assertGreater(len(tried), 40)

    def test_files_swapped_cut_dropped_added(self):
        def swap(folder):
            one, other = sorted((folder / "data/proofs").iterdir())[:2]
            one.rename(folder / "aside")
            other.rename(one)
            (folder / "aside").rename(other)

        def take(name, bundle):
            def apply(folder):
                shutil.copy(self.bundle(bundle) / "data" / name,
                            folder / "data" / name)
            return apply

        def cut(name, by):
            def apply(folder):
                data = (folder / "data" / name).read_bytes()
                (folder / "data" / name).write_bytes(data[:-by])
            return apply

        changes = {
            "proofs swapped": swap,
            "media of another clip": take("media.mkv", "vp8 whole"),
            "media of another session": take("media.mkv", "h264 clerk"),
            "evidence of another clip": take("evidence.json.gz", "vp8 whole"),
            "boundary of another clip": take("boundary.bin", "h264 clerk"),
            "one more file": lambda f: (f / "data/more.txt").write_text("x"),
            "one more proof": lambda f: shutil.copy(
                f / "data/proofs/opened.tlog-proof",
                f / "data/proofs/more.tlog-proof"),
            "a link": lambda f: (f / "data/checkpoint2").symlink_to(
                "checkpoint"),
        }
        for path in sorted((self.bundle("vp8 clip") / "data").rglob("*")):
            if path.is_dir() or path.name == "report.html":
                continue
            name = path.relative_to(self.bundle("vp8 clip") / "data")
            # JSON may end with or without a line's end.
            changes[f"{name} cut"] = cut(name, 2)
            changes[f"{name} cut in half"] = cut(
                name, path.stat().st_size // 2)
            changes[f"{name} emptied"] = cut(name, path.stat().st_size)
            changes[f"{name} dropped"] = (
                lambda f, n=name: (f / "data" / n).unlink())
        for what, change in changes.items():
            with self.subTest(what):
                folder = self.copy("vp8 clip")
                change(folder)
                tiny_bundle.write_lists(folder)
                self.assert_bad(folder, what)

    def test_a_track_encoded_again(self):
        folder = self.copy("vp8 clip")
        path = folder / "data/media.mkv"
        again = self.scratch / "again.mkv"
        media.ffmpeg("-i", path, "-map", "0", "-c", "copy", "-c:a:0",
                     "libopus", "-b:a", "24k", again)
        shutil.copy(again, path)
        tiny_bundle.write_lists(folder)
        self.assert_bad(folder, "encoded again")


def _changed_values(evidence):
    """(place, all of the evidence with one value changed), for each value."""
    def walk(value, place):
        if isinstance(value, dict):
            for key in value:
                for where, put in walk(value[key], f"{place}.{key}"):
                    yield where, lambda v, k=key, p=put: {**v, k: p(v[k])}
        elif isinstance(value, list):
            for i, _ in enumerate(value):
                for where, put in walk(value[i], f"{place}.{i}"):
                    yield where, lambda v, n=i, p=put: [
                        *v[:n], p(v[n]), *v[n + 1:]]
        else:
            yield place, _change
    for place, put in walk(evidence, ""):
        yield place, put(evidence)


def _change(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    try:
        data = bytearray(base64.b64decode(value, validate=True))
        data[len(data) * 2 // 3] ^= 4
        return base64.b64encode(data).decode("ascii")
    except (ValueError, IndexError):
        return value[:-1] + ("0" if value[-1] != "0" else "1")


@unittest.skipIf(_MISSING, _MISSING)
class IndependentAnchorsTest(unittest.TestCase):
    """Others vouch: a witness and a time-stamp authority."""

    def setUp(self):
        self.scratch = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="diptych-independent-")))
        (self.scratch / "tsa").mkdir()
        self.authority = Authority(self.scratch / "tsa")
        self.addCleanup(self.authority.close)
        self.archive = Archive()
        self.addCleanup(self.archive.close)
        self.archive.init()
        made = archive.command("witness", "init", "--key",
                               self.scratch / "w1", "--name",
                               "witness.example/w1")
        self.assertEqual(made.code, 0, str(made))
        added = archive.command("keys", "add-witness", self.archive.dir,
                                made.stdout.strip())
        self.assertEqual(added.code, 0, str(added))
        self.key_file = self.scratch / "keys.txt"
        self.key_file.write_text(archive.command(
            "keys", "export", self.archive.dir).stdout)
        self.archive.start()

    def cosign_and_stamp(self):
        done = self.archive.run(
            "witness", "witness", "--state", self.scratch / "state", "--key",
            self.scratch / "w1", "--log-key", self.key_file, "--once")
        self.assertEqual(done.code, 0, str(done))
        done = self.archive.run("operator", "log", "timestamp", "--tsa",
                                self.authority.url)
        self.assertEqual(done.code, 0, str(done))

    def both(self, folder):
        """(what the independent one said, what ours did)."""
        done = without_traceback(self, run_script(
            "verify_bundle.py", folder, "--key", self.key_file, "--tsa-ca",
            self.authority.ca))
        ours = archive.command("verify", folder, "--log-key", self.key_file,
                               "--tsa-ca", self.authority.ca)
        return done, ours

    def test_bundle_and_archive_that_others_vouch_for(self):
        session = self.archive.push(
            "--resident", media.VP8_RESIDENT, "--clerk", media.VP8_CLERK,
            "--tag", "clerk=C0231").of_type("receipt")[0]["session"]
        self.archive.wait_indexed()
        self.cosign_and_stamp()
        folder = self.scratch / "bundle"
        self.archive.export(session, "--to", "4s", "--format", "bundle", "-o",
                            folder)
        done, ours = self.both(folder)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(ours.code, 0, str(ours))
        self.assertIn("witness.example/w1", done.stdout)
        self.assertIn("a time-stamp authority at", done.stdout)
        for path in sorted((folder / "data/anchors").iterdir()):
            name = path.name
            good = path.read_bytes()
            # A checkpoint's root; of a time stamp, what it is of, and the
            # authority's signature.
            places = ((good.index(b"\n", 45) + 8,)
                      if path.suffix == ".checkpoint" else
                      (good.index(_SHA256_OID) + 20, len(good) - 3))
            for at in places:
                with self.subTest(f"{name}, byte {at}"):
                    bad = bytearray(good)
                    bad[at] ^= 1
                    path.write_bytes(bad)
                    tiny_bundle.write_lists(folder)
                    done, ours = self.both(folder)
                    self.assertEqual(done.returncode, 1, done.stdout)
                    self.assertEqual(ours.code, 6, str(ours))
            path.write_bytes(good)
        self.archive.stop()
        said = run_script("verify_archive.py", self.archive.dir)
        self.assertEqual(said.returncode, 0, said.stdout)
        self.assertIn("witness.example/w1 cosigned a tree", said.stdout)
        for path in (self.archive.dir / "tlog/cosigned", *sorted(
                (self.archive.dir / "tlog/timestamps").iterdir())):
            with self.subTest(path.name):
                good = path.read_bytes()
                bad = bytearray(good)
                bad[(good.index(_SHA256_OID) + 20 if path.suffix == ".tsr"
                     else good.index(b"\n", 45) + 8)] ^= 1
                path.write_bytes(bad)
                said = without_traceback(self, run_script(
                    "verify_archive.py", self.archive.dir))
                self.assertEqual(said.returncode, 1, said.stdout)
                ours = self.archive.check()
                self.assertEqual(ours.code, 6, str(ours))
                path.write_bytes(good)


if __name__ == "__main__":
    unittest.main()
