"""The verifier's parts by known answers: notes, trees, numbers, formats."""

import base64
import json
import os
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

_MISSING = ""
try:
    import json_entry
    import signed_note
    import stored_messages
    import text_format
    import tiny_bundle
    import tlog_tree
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


if __name__ == "__main__":
    unittest.main()
