"""The verifier itself: known answers, and forgeries of a bundle made by hand."""

import base64
import copy
import json
import os
import pathlib
import struct
import sys
import tempfile
import unittest
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

_MISSING = ""
try:
    import ebml_packets
    import json_entry
    import signed_note
    import stored_messages
    import text_format
    import tiny_bundle
    import tlog_tree
    import verify_bundle
    import volume_frames
    from untrue import Untrue
except ImportError as error:
    if (error.name or "").split(".")[0] != "cryptography":
        raise
    _MISSING = "python3-cryptography is not installed"

_VECTORS = pathlib.Path(os.environ.get(
    "DIPTYCH_SHARED_DIR",
    pathlib.Path(__file__).resolve().parents[2].parent / "shared")
    ) / "vectors" / "merkle"

# The example of c2sp.org/signed-note.
_EXAMPLE_KEY = ("example.com/foo+530d903a+"
                "AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
_EXAMPLE_NOTE = (
    "This is an example message.\n\n"
    "\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlT"
    "gK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n").encode()

# RFC 6962's reference implementation: its test leaves and their roots.
_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657",
           "606162636465666768696a6b6c6d6e6f"]
_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"]


@unittest.skipIf(_MISSING, _MISSING)
class KnownAnswersTest(unittest.TestCase):

    def test_signed_note(self):
        key = signed_note.parse_verifier_key(_EXAMPLE_KEY)
        note = signed_note.parse_note(_EXAMPLE_NOTE, "note")
        self.assertTrue(signed_note.verify_note(note, key, "note"))
        self.assertEqual(note.text, "This is an example message.\n")

    def test_every_flip_in_a_signed_note(self):
        key = signed_note.parse_verifier_key(_EXAMPLE_KEY)
        for at in range(len(_EXAMPLE_NOTE)):
            for bit in range(8):
                bad = bytearray(_EXAMPLE_NOTE)
                bad[at] ^= 1 << bit
                try:
                    note = signed_note.parse_note(bytes(bad), "note")
                    # A line under another name or id is nobody's.
                    self.assertFalse(
                        signed_note.verify_note(note, key, "note"))
                except Untrue:
                    pass

    def test_bad_verifier_keys(self):
        for bad in ("", "example.com/foo", _EXAMPLE_KEY[:-1],
                    _EXAMPLE_KEY.replace("530d", "530e"),
                    _EXAMPLE_KEY.replace("foo", "bar"),
                    "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"):
            with self.subTest(bad), self.assertRaises(Untrue):
                signed_note.parse_verifier_key(bad)

    def test_roots(self):
        leaves = [bytes.fromhex(leaf) for leaf in _LEAVES]
        self.assertEqual(tlog_tree.root([]).hex(), (
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        ))
        for size, wanted in enumerate(_ROOTS, 1):
            self.assertEqual(tlog_tree.root(leaves[:size]).hex(), wanted)

    def test_paths_of_all_small_trees(self):
        leaves = [tlog_tree.leaf_hash(bytes([i])) for i in range(20)]
        for size in range(1, 21):
            tree = leaves[:size]
            root = tlog_tree.root_of_hashes(tree)
            for first in range(size):
                tlog_tree.check_inclusion(
                    tree[first], first, size,
                    tiny_bundle.inclusion_path(tree, first), root, "leaf")
                tlog_tree.check_consistency(
                    first + 1, tlog_tree.root_of_hashes(tree[:first + 1]),
                    size, root,
                    tiny_bundle.consistency_path(tree, first + 1), "tree")
                for end in range(first + 1, size + 1):
                    others = tiny_bundle.others_of(tree, first, end)
                    self.assertEqual(tlog_tree.root_with_others(
                        size, first, tree[first:end], others, "range"), root)
                    with self.assertRaises(Untrue):
                        tlog_tree.root_with_others(
                            size, first, tree[first:end],
                            others + [root], "range")

    def test_published_vectors(self):
        if not _VECTORS.is_dir():
            self.skipTest("no published vectors outside the repository "
                          "(DIPTYCH_SHARED_DIR)")
        count = 0
        for kind in ("inclusion", "consistency"):
            for path in sorted((_VECTORS / kind).rglob("*.json")):
                vector = json.loads(path.read_text())
                with self.subTest(str(path.relative_to(_VECTORS))):
                    self.assertEqual(self.holds(kind, vector),
                                     not vector["wantErr"], vector["desc"])
                count += 1
        self.assertGreater(count, 100)

    @staticmethod
    def holds(kind, vector):
        def plain(text):
            return base64.b64decode(text or "")
        proof = [plain(p) for p in vector["proof"] or []]
        try:
            if kind == "inclusion":
                tlog_tree.check_inclusion(
                    plain(vector["leafHash"]), vector["leafIdx"],
                    vector["treeSize"], proof, plain(vector["root"]), "leaf")
            else:
                tlog_tree.check_consistency(
                    vector["size1"], plain(vector["root1"]), vector["size2"],
                    plain(vector["root2"]), proof, "tree")
        except Untrue:
            return False
        return True

    def test_crc32c(self):
        # RFC 3720, B.4.
        for data, wanted in ((bytes(32), 0x8A9136AA),
                             (b"\xff" * 32, 0x62A8AB43),
                             (bytes(range(32)), 0x46DD794E),
                             (b"123456789", 0xE3069283)):
            self.assertEqual(volume_frames.crc32c(data), wanted)

    def test_varints(self):
        for data, wanted in (("00", 0), ("7f", 127), ("8001", 128),
                             ("ac02", 300),
                             ("ffffffffffffffffff01", (1 << 64) - 1)):
            self.assertEqual(stored_messages.read_varint(
                bytes.fromhex(data), 0, "n"), (wanted, len(data) // 2))
        for data in ("", "80", "8000", "ffffffffffffffffff02",
                     "ffffffffffffffffffff01"):
            with self.subTest(data), self.assertRaises(Untrue):
                stored_messages.read_varint(bytes.fromhex(data), 0, "n")
        for value, wanted in ((0, 0), (1, -1), (2, 1), (3, -2),
                              ((1 << 64) - 1, -(1 << 63))):
            self.assertEqual(stored_messages.unzigzag(value), wanted)

    def test_strict_messages(self):
        reader = stored_messages.stored_reader()
        good = tiny_bundle.encode("SideTotals", side=1, packets=300,
                                  start_us=-5, ended=True)
        read = reader.read("SideTotals", good, "totals")
        self.assertEqual((read.side, read.packets, read.start_us, read.ended,
                          read.last_note), (1, 300, -5, True, 0))
        for bad in (good + b"\x08\x01",       # side once more
                    good[:-1],                # cut off
                    b"\xf8\x01\x00",          # field 31
                    b"\x0a\x01\x01",          # side as bytes
                    b"\x08\x07",              # no such side
                    b"\x40\x02",              # neither true nor false
                    b"\x0b\x0c"):             # a group
            with self.subTest(bad.hex()), self.assertRaises(Untrue):
                reader.read("SideTotals", bad, "totals")
        with self.assertRaises(Untrue):
            reader.read("Note", tiny_bundle.encode(
                "Note", tag=tiny_bundle.encode("TagUpdate", key="a"))
                + tiny_bundle.encode("Note", event=b""), "two kinds")

    def test_text_format(self):
        reader = text_format.TextReader(
            stored_messages.stored_reader().schema)
        read = reader.read("ArchiveConfig", r'''
            archive_id: "\000a\x41\n" "b"  # a comment
            suite: 1
            recipients { name: 'audit' classes: [KEY_CLASS_MEDIA, 2] }
            recipients: < name: "escrow" retired: true >
            ''', "config")
        self.assertEqual(read.archive_id, b"\0aA\nb")
        self.assertEqual([(r.name, r.classes, r.retired)
                          for r in read.recipients],
                         [("audit", [1, 2], False), ("escrow", [], True)])
        for bad in ("suite 1", "suite: x", "nothing: 1", "suite: 1 suite: 1",
                    "recipients {", "archive_id: \"", "}"):
            with self.subTest(bad), self.assertRaises(Untrue):
                reader.read("ArchiveConfig", bad, "config")

    def test_strict_json(self):
        for bad in (b'{"a":1,"a":2}', b'{"a":NaN}', b"[]", b"{", b"\xff",
                    b"[" * 100000):
            with self.subTest(bad[:20]), self.assertRaises(Untrue):
                json_entry.parse(bad)
        entry = json_entry.parse(
            b'{"a":true,"b":1.0,"c":"YQ","d":"YR==","e":-1}')
        for read in (lambda: entry.number("a"), lambda: entry.number("b"),
                     lambda: entry.data("c"), lambda: entry.data("d"),
                     lambda: entry.number("e"), lambda: entry.text("f"),
                     lambda: entry.entries("a")):
            with self.assertRaises(Untrue):
                read()


def _flip_base64(text, at=3):
    data = bytearray(base64.b64decode(text))
    data[at % len(data)] ^= 1
    return tiny_bundle.b64(bytes(data))


# What a forger may change in evidence.json; each must be found out.
def _forgeries():
    def change(path, edit):
        def apply(evidence):
            *way, last = path
            here = evidence
            for step in way:
                here = here[step]
            here[last] = edit(here[last])
        return apply

    def drop(*path):
        def apply(evidence):
            *way, last = path
            here = evidence
            for step in way:
                here = here[step]
            del here[last]
        return apply

    first_run = ("segments", 0, "tracks", 0)
    audio_end = ("segments", 2, "tracks", 1)
    found = {
        "format": change(("format",), lambda v: v + "0"),
        "archive": change(("archive",), lambda v: v[:-1] + "2"),
        "session": change(("session",), lambda v: v[:-1] + "c"),
        "start time": change(("start_time_us",), lambda v: v + 1),
        "range": change(("to_us",), lambda v: 1),
        "origin by 1 ms": change(("media", "origin_us"),
                                 lambda v: v + 1000),
        "origin by 1 us": change(("media", "origin_us"), lambda v: v + 1),
        "container": change(("media", "container"), lambda v: "mp4"),
        "other file": change(("media", "file"), lambda v: "boundary.bin"),
        "other side": change(("tracks", 0, "side"), lambda v: "clerk"),
        "other source": change(("tracks", 0, "source"), lambda v: "screen"),
        "other codec": change(("tracks", 0, "codec"), lambda v: "vp9"),
        "no video": change(("tracks", 0, "video"), lambda v: False),
        "other track": change(("tracks", 0, "track_id"), lambda v: 3),
        "tracks turned": change(("tracks",), lambda v: v[::-1]),
        "raw times": change(("tracks", 0, "raw_ms"), lambda v: tiny_bundle.b64(
            zlib.compress(b"\0" * 40))),
        "too many raw times": change(
            ("tracks", 1, "raw_ms"), lambda v: tiny_bundle.b64(zlib.compress(
                zlib.decompress(base64.b64decode(v)) + b"\0"))),
        "segments turned": change(("segments",), lambda v: v[::-1]),
        "segment dropped": change(("segments",), lambda v: v[:2]),
        "segment twice": change(("segments",), lambda v: v + v[-1:]),
        "other manifest": change(("segments", 1, "manifest"), lambda v: 3),
        "track dropped": change(("segments", 1, "tracks"), lambda v: v[:1]),
        "track twice": change(("segments", 1, "tracks"), lambda v: v + v[:1]),
        "stream swapped": change((*first_run, "stream"), lambda v: 1),
        "no such stream": change((*first_run, "stream"), lambda v: 2),
        "other chunk": change((*first_run, "first"), lambda v: 0),
        "fewer packets": change((*first_run, "packets"), lambda v: [9]),
        "no packets": change((*first_run, "packets"), lambda v: []),
        "empty chunk": change((*first_run, "packets"), lambda v: v + [0]),
        "salt": change(("segments", 1, "tracks", 0, "salt"), _flip_base64),
        "salts": change((*first_run, "salts", 0), _flip_base64),
        "salt missing": drop(*first_run, "salts"),
        "others": change((*first_run, "others", 0), _flip_base64),
        "others missing": drop(*first_run, "others"),
        "one more other": change((*first_run, "others"), lambda v: v * 2),
        "boundary missing": drop(*first_run, "boundary"),
        "boundary less": change((*first_run, "boundary", "before"),
                                lambda v: 2),
        "boundary behind": change((*first_run, "boundary"),
                                  lambda v: {"after": 3}),
        "boundary before": change((*audio_end, "boundary"),
                                  lambda v: {"before": 2}),
        "signed run longer": change(("sources", 0, "packets"),
                                    lambda v: v + 1),
        "signed run elsewhere": change(("sources", 0, "first"),
                                       lambda v: v + 1),
        "signed by other": change(("sources", 0, "record"), lambda v: v + 2),
        "not a statement": change(("sources", 0, "record"), lambda v: 0),
        "sources dropped": change(("sources",), lambda v: v[:-1]),
        "sources turned": change(("sources",), lambda v: v[::-1]),
        "source rest": change(("sources", 0, "others", 0), _flip_base64),
        "manifest dropped": change(("manifests",), lambda v: v[1:]),
        "manifest amid dropped": change(("manifests",),
                                        lambda v: v[:1] + v[2:]),
        "manifest changed": change(("manifests", 0, "header"), _flip_base64),
        "manifests turned": change(("manifests",), lambda v: v[::-1]),
        "proof dropped": drop("manifests", 2, "proof"),
        "proof swapped": change(("closed", "proof"),
                                lambda v: "proofs/opened.tlog-proof"),
        "position": change(("opened", "position"), lambda v: v + 1),
        "opened changed": change(("opened", "header"), _flip_base64),
        "closed left out": drop("closed"),
        "closed changed": change(("closed", "header"),
                                 lambda v: _flip_base64(v, -5)),
        "record dropped": change(("records",), lambda v: v[1:]),
        "record twice": change(("records",), lambda v: v + v[:1]),
        "record's kind": change(("records", 0, "type"), lambda v: 6),
        "record's body": change(("records", 0, "body_sha256"), _flip_base64),
        "record's header": change(("records", 1, "header"),
                                  lambda v: _flip_base64(v, -1)),
        "span": change(("spans", 0, "description"),
                       lambda v: _flip_base64(v, -1)),
        "span's salt": change(("spans", 0, "salt"), _flip_base64),
        "span missing": drop("spans"),
        "tag": change(("notes", 0, "note"), lambda v: _flip_base64(v, -4)),
        "event": change(("notes", 1, "note"), lambda v: _flip_base64(v, 12)),
        "note's salt": change(("notes", 0, "salt"), _flip_base64),
        "note elsewhere": change(("notes", 0, "at"), lambda v: 1),
        "note twice": change(("notes",), lambda v: v + v[:1]),
        "part's salt": change(("attachments", 0, "salt"), _flip_base64),
        "part elsewhere": change(("attachments", 1, "offset"),
                                 lambda v: v - 1),
        "part shorter": change(("attachments", 1, "bytes"), lambda v: v - 1),
        "part missing": change(("attachments",), lambda v: v[:1]),
        "parts missing": drop("attachments"),
        "part of another file": change(("attachments", 0, "file"),
                                       lambda v: "checkpoint"),
        "access record": change(("access", "record"),
                                lambda v: _flip_base64(v, -1)),
        "access body": change(("access", "body_sha256"), _flip_base64),
        "access missing": drop("access"),
        "anchor dropped": drop("anchors"),
        "anchor's proof": change(("anchors", 0, "consistency", 0),
                                 _flip_base64),
        "anchor's proof cut": change(("anchors", 0, "consistency"),
                                     lambda v: v[:-1]),
    }
    return found


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
        for name, forge in _forgeries().items():
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
                "link": link, "date": info}.items():
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

    def test_every_byte_flipped_and_the_lists_made_again(self):
        """Nothing may be changed unseen but what means nothing."""
        self.bundle.write(self.folder)
        wanted = self.said()
        names = sorted(p.relative_to(self.folder).as_posix()
                       for p in self.folder.rglob("*") if p.is_file())
        names.remove("data/report.html")
        for name in names:
            path = self.folder / name
            good = path.read_bytes()
            # All of a small file, samples of a long one.
            for at in range(0, len(good), 1 + len(good) // 400):
                bad = bytearray(good)
                bad[at] ^= 1 << at % 8
                path.write_bytes(bad)
                if not name.endswith("-sha256.txt"):
                    tiny_bundle.write_lists(self.folder)
                try:
                    unseen = self.said() == wanted
                except Untrue:
                    unseen = False
                if unseen:
                    self.assertEqual(
                        _meaning(name, path.read_bytes()),
                        _meaning(name, good),
                        f"{name}: byte {at} was flipped unseen, in "
                        f"{good[max(0, at - 40):at + 20]}")
            path.write_bytes(good)
            tiny_bundle.write_lists(self.folder)


def _meaning(name, data):
    """What a file says to those who read it by its format."""
    if name == "data/evidence.json":
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
