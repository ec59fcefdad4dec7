"""Whatever is done to a bundle's media, `diptych verify` finds it.

Byte after byte of every file as well. DIPTYCH_EVERY_BYTE=1 flips every byte
and not a share of them.
"""

import gzip
import os
import pathlib
import shutil
import sys
import unittest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent),
                str(pathlib.Path(__file__).resolve().parent)]
import matroska_edit
import media
from forged_bundle import BundleForgeries, forger

_EVERY = bool(os.environ.get("DIPTYCH_EVERY_BYTE"))


class BundleForgeriesTest(BundleForgeries):

    # ---- What is good is good ----

    def test_good_ones_are_proven(self):
        for name in ("whole", "mp4", "clip", "again", "other"):
            with self.subTest(name):
                done = self.verify(self.scratch / name)
                self.assertEqual(done.code, 0, str(done))
                self.assertEqual(done.summary["verdict"], "proven")

    def test_what_the_forger_remakes_is_what_was_there(self):
        # Else everything below could be found for the wrong reason.
        for name in ("whole", "mp4", "clip"):
            with self.subTest(name), self.copy_of(name) as forged:
                forger("remake", forged.path)
                for file in (self.scratch / name).rglob("*"):
                    if file.is_file():
                        copy = forged.path / file.relative_to(
                            self.scratch / name)
                        self.assertEqual(copy.read_bytes(), file.read_bytes(),
                                         file.name)

    def test_media_put_together_again_is_still_proven(self):
        with self.copy_of("whole") as forged:
            with forged.media():
                pass
            forger("remake", forged.path)
            done = self.verify(forged.path)
            self.assertEqual(done.code, 0, str(done))

    # ---- Byte after byte ----

    def flip(self, name, stride, media_flips):
        with self.copy_of(name) as forged:
            *missed, summary = forger("flip", forged.path, self.keys, stride,
                                       media_flips)
            evidence = gzip.decompress(
                (forged.data / "evidence.json.gz").read_bytes()).decode()
            left = [m for m in missed
                    if not self.means_the_same(forged, evidence, m)]
            self.assertEqual(left, [])
            self.assertGreater(summary["flips"], 1000)

    def means_the_same(self, forged, evidence, missed):
        """True for a flip that changes nothing of what the bundle says."""
        at = missed["offset"]
        if missed["path"] == "data/evidence.json.gz":
            # A number or list whose name nobody knows is 0 or empty, as it was.
            begin, end = evidence.rfind('"', 0, at), evidence.find('":', at)
            return (end - begin < 20
                    and evidence[end + 2:].startswith(("0,", "0}", "[]")))
        if missed["path"] != "data/media.mp4":
            return False
        # MP4 has no checksums: times of making, names of makers.
        file = forged.path / missed["path"]
        good = file.read_bytes()
        bad = bytearray(good)
        bad[at] ^= missed["mask"]
        wanted = self.played(file)
        try:
            file.write_bytes(bytes(bad))
            return self.played(file) == wanted
        finally:
            file.write_bytes(good)

    @staticmethod
    def played(path):
        """What somebody else's reader makes of a file."""
        probed = media.probe(path)
        return ([{k: s.get(k) for k in
                  ("codec_name", "width", "height", "extradata_hash",
                   "sample_rate", "channels", "sample_aspect_ratio",
                   "disposition", "side_data_list")}
                 for s in probed["streams"]],
                [(p["stream_index"], p.get("pts_time"), p["flags"],
                  p["data_hash"]) for p in probed["packets"]])

    def test_flipped_bytes(self):
        self.flip("whole", 1 if _EVERY else 11, 20000 if _EVERY else 600)

    def test_flipped_bytes_of_a_clip(self):
        self.flip("clip", 1 if _EVERY else 17, 20000 if _EVERY else 300)

    def test_flipped_bytes_of_mp4(self):
        self.flip("mp4", 1 if _EVERY else 101, 20000 if _EVERY else 900)

    def test_a_changed_file_without_its_hash(self):
        for name in ("data/media.mkv", "data/evidence.json.gz",
                     "data/checkpoint", "data/report.html"):
            with self.subTest(name), self.copy_of("whole") as forged:
                file = forged.path / name
                content = bytearray(file.read_bytes())
                content[len(content) // 2] ^= 1
                file.write_bytes(bytes(content))
                self.assert_false(forged.path, f"{name}: is not what")

    # ---- Packets ----

    def test_packets(self):
        def swap(editor, a, b):
            blocks = editor.blocks
            blocks[a].payload, blocks[b].payload = (blocks[b].payload,
                                                    blocks[a].payload)

        def move(editor, a, b):
            editor.blocks.insert(b, editor.blocks.pop(a))

        changes = {
            "two payloads change places":
                lambda e, t: swap(e, e.of(t)[3], e.of(t)[9]),
            "two chunks' packets change places":
                lambda e, t: [swap(e, e.of(t)[i], e.of(t)[-1 - i])
                              for i in range(4)],
            "a packet is gone": lambda e, t: e.blocks.pop(e.of(t)[5]),
            "the first is gone": lambda e, t: e.blocks.pop(e.of(t)[0]),
            "the last is gone": lambda e, t: e.blocks.pop(e.of(t)[-1]),
            "a packet comes twice":
                lambda e, t: e.blocks.insert(e.of(t)[5],
                                             e.blocks[e.of(t)[5]]),
            "the last comes twice":
                lambda e, t: e.blocks.append(e.blocks[e.of(t)[-1]]),
            "two packets in another order":
                lambda e, t: move(e, e.of(t)[5], e.of(t)[6]),
            "one millisecond later":
                lambda e, t: setattr(e.blocks[e.of(t)[7]], "ms",
                                     e.blocks[e.of(t)[7]].ms + 1),
            "one millisecond earlier at the end":
                lambda e, t: setattr(e.blocks[e.of(t)[-1]], "ms",
                                     e.blocks[e.of(t)[-1]].ms - 1),
            "a byte of a payload":
                lambda e, t: setattr(
                    e.blocks[e.of(t)[4]], "payload",
                    e.blocks[e.of(t)[4]].payload[:-1] + b"\x55"),
            "a payload is longer":
                lambda e, t: setattr(e.blocks[e.of(t)[4]], "payload",
                                     e.blocks[e.of(t)[4]].payload + b"\0"),
        }
        # Track numbers of the file: resident's video and sound, the clerk's.
        for track in (1, 2, 3, 4):
            for what, change in changes.items():
                self.forge_media(
                    f"{what}, track {track}", ("track ", "stream "),
                    lambda e, c=change, t=track: c(e, t))

    def test_more_of_packets(self):
        def all_later(editor):
            for block in editor.blocks:
                block.ms += 1

        def cut(editor):
            last = max(block.ms for block in editor.blocks) - 500
            editor.blocks = [b for b in editor.blocks if b.ms < last]

        def other_track(editor):
            for block in editor.blocks:
                block.track = {1: 3, 3: 1}.get(block.track, block.track)

        def unkey(editor):
            block = next(b for b in editor.blocks
                         if b.track == 1 and b.flags & 0x80)
            block.flags &= ~0x80

        def splice(editor):
            other = matroska_edit.Editor(
                (self.scratch / "other/data/media.mkv").read_bytes())
            for at, fresh in zip(editor.of(1)[5:15], other.of(1)[5:15]):
                editor.blocks[at].payload = other.blocks[fresh].payload

        words = ("track ", "stream ")
        self.forge_media("all a millisecond later", words, all_later)
        self.forge_media("the end is cut off", words, cut)
        self.forge_media("sides change places", words, other_track)
        self.forge_media("no key frame any more", words, unkey)
        self.forge_media("spliced from another session", words, splice)
        self.forge_media("spliced into a clip", words, splice, "clip")

    def test_another_picture(self):
        encoded = self.scratch / "encoded.mkv"
        media.ffmpeg("-i", self.scratch / "whole/data/media.mkv", "-map", "0:0",
                     "-c:v", "mpeg4", "-g", "15", "-bf", "0",
                     "-fps_mode", "passthrough", encoded)
        fresh = matroska_edit.Editor(encoded.read_bytes()).blocks

        def encode(editor):
            for at, block in zip(editor.of(1), fresh):
                editor.blocks[at].payload = block.payload
                editor.blocks[at].flags = block.flags
        self.forge_media("encoded again", ("track 1 ",), encode)

        def reencode(forged):
            shutil.copy(encoded, forged.data / "media.mkv")
        self.forge("the file of another program", ("data/media.mkv",), reencode)

    # ---- What a file tells players besides ----

    def test_what_players_are_told(self):
        def track_entry(editor, old, new, number=1):
            tracks = editor.part(0x1654AE6B)
            entries = [[n, v] for n, v in matroska_edit.elements(tracks[1])]
            entry = entries[number - 1]
            assert old in entry[1], (old, entry[1])
            entry[1] = entry[1].replace(old, new, 1)
            tracks[1] = b"".join(matroska_edit.element(n, v)
                                 for n, v in entries)

        def add_to_video(editor, extra):
            tracks = editor.part(0x1654AE6B)
            built = b""
            for number, entry in matroska_edit.elements(tracks[1]):
                inner = b"".join(
                    matroska_edit.element(n, v + extra if n == 0xE0 else v)
                    for n, v in matroska_edit.elements(entry))
                built += matroska_edit.element(number, inner)
            tracks[1] = built

        def third_track(editor):
            tracks = editor.part(0x1654AE6B)
            text = (b"\xd7\x81\x09" + b"\x73\xc5\x81\x09" + b"\x83\x81\x11"
                    + matroska_edit.element(0x86, b"S_TEXT/UTF8"))
            tracks[1] += matroska_edit.element(0xAE, text)
            editor.blocks.append(matroska_edit.Block(9, 100, 0x80, b"pay now"))

        def hide(editor):
            editor.blocks[editor.of(1)[5]].flags |= 0x08

        def mute(editor):
            for at in editor.of(2):
                block = editor.blocks[at]
                block.flags, block.beside = 0, b"\x75\xa2\x84\x01\x31\x2d\x00"

        file = "data/media.mkv"
        self.forge_media("codec parameters", (file,),
                         lambda e: track_entry(e, b"\x01B\xc0\x1f\xff",
                                               b"\x01B\xc0\x1e\xff"))
        self.forge_media("names of sides", (file,),
                         lambda e: track_entry(e, b"resident", b"clerk!!!"))
        self.forge_media("a smaller picture", (file,),
                         lambda e: track_entry(e, b"\xb0", b"\xba"))
        self.forge_media("cropped", (file,),
                         lambda e: add_to_video(e, b"\x54\xdd\x82\x00\x64"))
        self.forge_media("stretched", (file,),
                         lambda e: add_to_video(e, b"\x54\xb0\x82\x00\x64"))
        self.forge_media("a track with text", (file,), third_track)
        self.forge_media("a hidden frame", (file,), hide)
        self.forge_media("chapters", (file,), lambda e: e.parts.append(
            [0x1043A770, b"\x45\xb9\x80"]))
        self.forge_media("an attached file", (file,), lambda e: e.parts.append(
            [0x1941A469, b""]))
        # Sound that players leave out is proven, and it is said.
        with self.copy_of("whole") as forged:
            with forged.media() as editor:
                mute(editor)
            forger("remake", forged.path)
            done = self.verify(forged.path)
            self.assertIn("Players are told to leave out", done.stdout)

    def test_what_is_behind_the_media(self):
        def append(forged):
            with open(forged.data / "media.mkv", "ab") as file:
                file.write(b"\xec\x84abcd")
        self.forge("bytes behind the end", ("data/media.mkv",), append)

    def test_mp4(self):
        file = "data/media.mp4"

        def replace(old, new):
            return lambda forged: forged.change("media.mp4", old, new)
        unity = bytes.fromhex("00010000" + "00" * 12 + "00010000")
        turned = bytes.fromhex("00000000" "00010000" + "00" * 4
                               + "ffff0000" "00000000")

        def turn(forged):
            path = forged.data / "media.mp4"
            content = path.read_bytes()
            at = content.index(unity, content.index(b"tkhd"))
            path.write_bytes(content[:at] + turned + content[at + 20:])

        def shorten(forged):
            path = forged.data / "media.mp4"
            content = bytearray(path.read_bytes())
            at = content.index(b"elst") + 8
            count = int.from_bytes(content[at:at + 4], "big")
            last = at + 4 + 12 * (count - 1)
            content[last:last + 4] = (90000).to_bytes(4, "big")
            path.write_bytes(bytes(content))

        def speed(forged):
            path = forged.data / "media.mp4"
            content = bytearray(path.read_bytes())
            at = content.index(b"elst") + 8
            count = int.from_bytes(content[at:at + 4], "big")
            content[at + 12 * count] ^= 2
            path.write_bytes(bytes(content))

        self.forge("the picture is turned", (file,), turn, "mp4")
        self.forge("another speed", (file,), speed, "mp4")
        self.forge("a track is switched off", (file,),
                   replace(b"tkhd\0\0\0\x03", b"tkhd\0\0\0\x02"), "mp4")
        self.forge("names of sides", (file,),
                   replace(b"resident camera\0", b"resident screen\0"), "mp4")
        self.forge("a box more", (file,), replace(b"udta", b"skip"), "mp4")
        with self.copy_of("mp4") as forged:
            shorten(forged)
            forger("remake", forged.path)
            done = self.verify(forged.path)
            self.assertTrue(done.code == 6 or
                            "Players are told to leave out" in done.stdout,
                            str(done))


if __name__ == "__main__":
    unittest.main()
