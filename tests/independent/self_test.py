"""The verifier on a bundle made by hand, and on forgeries of it."""

import copy
import json
import pathlib
import struct
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

_MISSING = ""
try:
    import bundle_forgeries
    import ebml_packets
    import json_entry
    import signed_note
    import tiny_bundle
    import verify_bundle
    from untrue import Untrue
except ImportError as error:
    if (error.name or "").split(".")[0] != "cryptography":
        raise
    _MISSING = "python3-cryptography is not installed"


@unittest.skipIf(_MISSING, _MISSING)
class TinyBundleTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.scratch = pathlib.Path(cls.enterClassContext(
            tempfile.TemporaryDirectory(prefix="diptych-independent-")))
        cls.good = tiny_bundle.TinyBundle()

    def setUp(self):
        self.folder = self.scratch / "bundle"
        self.bundle = copy.copy(self.good)
        self.bundle.files = dict(self.good.files)
        self.bundle.evidence = copy.deepcopy(self.good.evidence)

    def said(self, keys=None):
        return verify_bundle.verify(
            str(self.folder), self.good.keys() if keys is None else keys)

    def refused(self, keys=None):
        with self.assertRaises(Untrue) as caught:
            self.said(keys)
        return str(caught.exception)

    def test_good(self):
        self.bundle.write(self.folder)
        said = "\n".join(self.said())
        self.assertIn("00:00:01 to 00:00:05: as hall-3 signed it", said)
        self.assertIn("Cosigned by witness.example/w1", said)
        self.assertIn("Notes of the resident side: 6 of 6", said)
        self.assertIn("a part of the session", said)

    def test_without_the_logs_key(self):
        self.bundle.write(self.folder)
        log, gateway, witness = self.good.keys()
        self.assertIn("checkpoint", self.refused([gateway, witness]))
        self.assertIn("checkpoint", self.refused([]))
        other = tiny_bundle.Key("another").public
        self.assertIn("checkpoint", self.refused([signed_note.VerifierKey(
            log.name, log.kind, other.public_key)]))

    def test_without_the_gateways_key(self):
        self.bundle.write(self.folder)
        log = self.good.keys()[0]
        said = "\n".join(self.said([log]))
        self.assertIn("not signed by its source", said)
        self.assertIn("No known witness", said)
        self.assertNotIn("as hall-3 signed it", said)

    def test_signature_of_a_known_gateway_that_is_wrong(self):
        self.bundle.write(self.folder)
        log, gateway, _ = self.good.keys()

        class Lying(signed_note.VerifierKey):
            short_id = gateway.short_id
        other = tiny_bundle.Key("another").public
        self.assertIn("the signature of", self.refused(
            [log, Lying(gateway.name, gateway.kind, other.public_key)]))

    def test_forged_evidence(self):
        for name, forge in bundle_forgeries.forgeries().items():
            with self.subTest(name):
                self.setUp()
                forge(self.bundle.evidence)
                self.bundle.write(self.folder)
                self.refused()

    def test_packets_swapped_dropped_doubled_changed(self):
        played = []
        for run in range(3):
            for track in (1, 2):
                _, _, media = self.good._pair_run(
                    track, run, ((1,), (2, 3), (4,))[run])
                played += media
        swapped = list(played)
        swapped[3], swapped[4] = swapped[4], swapped[3]
        later = copy.copy(played[5][1])
        later.time_ms += 1
        key = copy.copy(played[6][1])
        key.key = not key.key
        other = copy.copy(played[7][1])
        other.payload = other.payload[:-1] + b"\xfe"
        for name, packets in {
                "swapped": swapped, "dropped": played[1:],
                "cut": played[:-1], "doubled": played[:4] + played[3:],
                "one time": played[:5] + [(1, later)] + played[6:],
                "one key flag": played[:6] + [(1, key)] + played[7:],
                "one payload": played[:7] + [(played[7][0], other)]
                + played[8:]}.items():
            with self.subTest(name):
                self.setUp()
                self.bundle.files["media.mkv"] = (
                    tiny_bundle.TinyBundle.matroska(packets))
                self.bundle.write(self.folder)
                self.refused()

    def test_matroska_that_could_be_read_in_two_ways(self):
        head = (tiny_bundle.element(0x1A45DFA3, tiny_bundle.element(
            0x4282, b"matroska")))
        info = tiny_bundle.element(0x1549A966, b"")
        entry = (tiny_bundle.element(0xD7, b"\1")
                 + tiny_bundle.element(0x83, b"\1")
                 + tiny_bundle.element(0x86, b"V_VP8"))

        def file(track=entry, flags=0x80, tail=b"", number=0x81,
                 between=b""):
            cluster = tiny_bundle.element(
                0x1F43B675, tiny_bundle.element(0xE7, b"\5") + between
                + tiny_bundle.element(0xA3, bytes([number]) + struct.pack(
                    ">hB", -2, flags) + b"payload"))
            return head + tiny_bundle.element(
                0x18538067, info + tiny_bundle.element(
                    0x1654AE6B, tiny_bundle.element(0xAE, track))
                + cluster) + tail

        stream, = ebml_packets.read_streams(file(), "file")
        packet, = stream.packets
        self.assertEqual((packet.time_ms, packet.key, packet.size),
                         (3, True, 7))
        element = tiny_bundle.element
        for name, bad in {
                "laced": file(flags=0x82),
                "unknown track": file(number=0x82),
                "encoded": file(entry + element(0x6D80, b"")),
                "stretched": file(entry + element(
                    0x23314F, struct.pack(">f", 2.0))),
                "two numbers": file(entry + element(0xD7, b"\2")),
                "something behind": file(tail=element(0xEC, b"")),
                "two times": file(between=element(0xE7, b"\6")),
                "unknown element": file(between=element(0xA5, b"")),
                "cut off": file()[:-1]}.items():
            with self.subTest(name), self.assertRaises(Untrue):
                ebml_packets.read_streams(bad, "file")

    def test_files(self):
        def link(folder):
            (folder / "data/checkpoint").rename(self.scratch / "aside")
            (folder / "data/checkpoint").symlink_to(self.scratch / "aside")

        def other_name(folder):
            (folder / "data/attachments/3-form.png").rename(
                folder / "data/attachments/3-forn.png")
            for part in self.bundle.evidence["attachments"]:
                part["file"] = "attachments/3-forn.png"
            (folder / "data/evidence.json.gz").write_bytes(
                tiny_bundle.pack(json.dumps(self.bundle.evidence).encode()))

        def info(folder):
            path = folder / "bag-info.txt"
            path.write_text(path.read_text().replace("09-21", "09-22"))
        for name, change in {
                "one more": lambda f: (f / "data/more").write_text("x"),
                "one more beside": lambda f: (f / "more").write_text("x"),
                "one more proof": lambda f: (
                    f / "data/proofs/x.tlog-proof").write_text("x"),
                "one less": lambda f: (f / "data/report.html").unlink(),
                "no boundary": lambda f: (f / "data/boundary.bin").unlink(),
                "empty folder": lambda f: (f / "data/empty").mkdir(),
                "name": lambda f: (f / "data/a b").write_text("x"),
                "link": link, "date": info,
                "name of a document": other_name}.items():
            with self.subTest(name):
                self.setUp()
                self.bundle.write(self.folder)
                change(self.folder)
                tiny_bundle.write_lists(self.folder)
                self.refused()

    def test_list_of_hashes_alone(self):
        self.bundle.write(self.folder)
        (self.folder / "data/report.html").write_text("<html>another")
        self.assertIn("report.html", self.refused())

    def unseen_flips(self, name, wanted, pack=bytes, unpack=bytes):
        """Flips bytes of a file, makes the lists of hashes again, and yields
        what the file was where nobody saw it."""
        path = self.folder / name
        packed = path.read_bytes()
        good = unpack(packed)
        # All of a small file, samples of a long one.
        for at in range(0, len(good), 1 + len(good) // 150):
            bad = bytearray(good)
            bad[at] ^= 1 << at % 8
            path.write_bytes(pack(bytes(bad)))
            if not name.endswith("-sha256.txt"):
                tiny_bundle.write_lists(self.folder)
            try:
                unseen = self.said() == wanted
            except Untrue:
                unseen = False
            if unseen:
                yield unpack(path.read_bytes()), good, at
        path.write_bytes(packed)
        tiny_bundle.write_lists(self.folder)

    def test_every_byte_flipped_and_the_lists_made_again(self):
        """Nothing may be changed unseen but what means nothing."""
        self.bundle.write(self.folder)
        wanted = self.said()
        names = sorted(p.relative_to(self.folder).as_posix()
                       for p in self.folder.rglob("*") if p.is_file())
        names.remove("data/report.html")
        evidence = "data/evidence.json.gz"

        def unpack(data):
            return json_entry.unpack(data, 1 << 20)
        for name, pack, plain in [(n, bytes, bytes) for n in names] + [
                (evidence, tiny_bundle.pack, unpack)]:
            for bad, good, at in self.unseen_flips(name, wanted, pack, plain):
                kind = "evidence" if pack is tiny_bundle.pack else name
                self.assertEqual(
                    _meaning(kind, bad), _meaning(kind, good),
                    f"{name}: byte {at} was flipped unseen, in "
                    f"{good[max(0, at - 40):at + 20]}")


def _meaning(name, data):
    """What a file says to those who read it by its format."""
    if name == "evidence":
        # Unknown fields are nothing, and so is a number 0; the range is only
        # told, in seconds.
        def plain(value, known):
            if isinstance(value, dict):
                return {k: plain(v, known) for k, v in value.items()
                        if k in known and not (type(v) is int and v == 0)
                        and k not in ("from_us", "to_us")}
            if isinstance(value, list):
                return [plain(v, known) for v in value]
            return value
        return plain(json.loads(data), _FIELDS)
    if name == "data/media.mkv":
        return [(s.codec, s.video, s.config, s.width, s.height,
                 [(p.time_ms, p.key and s.video,
                   data[p.offset:p.offset + p.size]) for p in s.packets])
                for s in ebml_packets.read_streams(data, name)]
    return data


# Of evidence.json, as far as the bundle here has them.
_FIELDS = {
    "format", "archive", "session", "start_time_us", "from_us", "to_us",
    "media", "file", "container", "origin_us", "tracks", "track_id", "side",
    "source", "codec", "video", "raw_ms", "segments", "manifest", "sources",
    "manifests", "header", "proof", "position", "opened", "closed", "records",
    "type", "body_sha256", "spans", "record", "salt", "description", "notes",
    "at", "note", "attachments", "offset", "bytes", "access", "anchors",
    "checkpoint", "consistency", "stream", "first", "packets", "boundary",
    "before", "after", "salts", "others"}


if __name__ == "__main__":
    unittest.main()
