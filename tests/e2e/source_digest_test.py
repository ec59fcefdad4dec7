"""What a gateway signs: every packet of a session, and nothing else.

Statements are read from the log's clear headers and proven here from
archiver/evidence/FORMAT.md and the inputs alone.
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
import uuid

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import archive as archives
import log_files
import media
from archive import Archive, wait_until

PACKET_DUMP = archives.BIN / "tools/gateway/packet_dump"
SOURCE_DIGEST = 13
EVERY_US = 10_000_000
SIDES = {1: "resident", 2: "clerk"}
NUMBERS = {word: number for number, word in SIDES.items()}
# Of the second input: behind the eight that the first may have.
FIRST_TRACK = {1: 1, 2: 9}


def fields(message):
    """A protobuf message's fields: number → its last value."""
    found = {}
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        tag = varint()
        value = varint()
        if tag & 7 == 2:
            at += value
            value = message[at - value:at]
        elif tag & 7 != 0:
            raise ValueError(f"wire type {tag & 7}")
        found[tag >> 3] = value
    return found


class Statement:

    def __init__(self, header):
        record = fields(header)
        said = fields(record[4])
        self.session = record[1]
        self.note = record[3]
        self.signature = record[5]
        self.key_id = record[6]
        self.side, self.track = said[1], said[2]
        self.first, self.last = said[3], said[4]
        self.packets, self.root = said.get(5, 0), said.get(6, b"")
        self.time_us = said[7]

    def signed_bytes(self, archive_id):
        number = lambda value, size: value.to_bytes(size, "big")
        return (b"diptych-source-1" + archive_id + self.session
                + number(self.side, 1) + number(self.track, 4)
                + number(self.first, 8) + number(self.last, 8)
                + number(self.packets, 8) + (self.root or bytes(32))
                + number(self.time_us, 8))


def tree_root(leaves):
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return hashlib.sha256(b"\1" + tree_root(leaves[:half])
                          + tree_root(leaves[half:])).digest()


class Packet:

    def __init__(self, line):
        (_, track, pts, dts, _, flags, _, _, size, sha256) = line.split()
        self.track = int(track)
        self.pts_us, self.dts_us = int(pts), int(dts)
        self.key = flags[0] == "K"
        self.size, self.sha256 = int(size), bytes.fromhex(sha256)

    def line(self, video):
        return (((self.pts_us + 500) // 1000).to_bytes(8, "big", signed=True)
                + bytes([self.key and video])
                + self.size.to_bytes(4, "big") + self.sha256)


class Input:
    """What a file gives, by a program that sends nothing."""

    def __init__(self, path):
        out = subprocess.run([str(PACKET_DUMP), str(path)],
                             capture_output=True, text=True, check=True,
                             timeout=120).stdout.splitlines()
        self.video = {int(words[1]): "x0 " not in line
                      for line in out if line.startswith("track ")
                      for words in [line.split()]}
        self.packets = [Packet(line) for line in out
                        if line.startswith("packet ")]


class SourceDigestTest(unittest.TestCase):

    def setUp(self):
        self.archive = Archive()
        self.addCleanup(self.archive.close)
        self.archive.init()
        self.archive.start()
        config = (self.archive.dir / "archive.textproto").read_text()
        self.assertIn("/gateway/gateway", config)
        self.key_file = self.archive.profile("gateway") / "source.key"

    def public_key(self, path=None):
        key = serialization.load_pem_private_key(
            (path or self.key_file).read_bytes(), None)
        return key.public_key()

    def raw_key(self, path=None):
        return self.public_key(path).public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    def statements(self):
        return [Statement(r.header)
                for r in log_files.records(self.archive.dir / "volumes")
                if r.type == SOURCE_DIGEST]

    def prove(self, session, archive_id, inputs):
        """Every packet of `inputs` (side → Input) is stated once, and well."""
        public = self.public_key()
        statements = self.statements()
        for side, source in inputs.items():
            shift = FIRST_TRACK[side] - 1
            for track, video in source.video.items():
                of_track = [s for s in statements
                            if (s.side, s.track) == (side, track + shift)]
                name = f"{SIDES[side]}, track {track}"
                next_number = 1
                stated = 0
                for s in of_track:
                    self.assertEqual(s.session, uuid.UUID(session).bytes)
                    self.assertEqual(s.first, next_number, name)
                    next_number = s.last + 1
                    packets = [p for p in source.packets[s.first - 1:s.last]
                               if p.track == track]
                    lines = [p.line(video) for p in packets]
                    self.assertEqual(s.packets, len(lines), name)
                    self.assertEqual(s.root, tree_root(lines) if lines else b"",
                                     f"{name}, {s.first} to {s.last}")
                    public.verify(s.signature, s.signed_bytes(archive_id))
                    if packets:
                        self.assertLess(packets[-1].dts_us - packets[0].dts_us,
                                        EVERY_US, name)
                    stated += s.packets
                self.assertEqual(next_number, len(source.packets) + 1, name)
                self.assertEqual(stated, sum(
                    p.track == track for p in source.packets), name)
        return statements

    def check_finds_nothing(self):
        done = self.archive.check("--json")
        self.assertEqual(done.code, 0, str(done))
        # What came last may be in no checkpoint yet.
        self.assertEqual([f for f in done.of_type("finding")
                          if f["store"] != "tree"], [])

    def push_both(self, resident, clerk, *more):
        done = self.archive.push("--resident", resident, "--clerk", clerk,
                                 "--event", "bell@1s", *more)
        receipt = done.of_type("receipt")[0]
        return done, receipt["session"], uuid.UUID(receipt["archive"]).bytes

    def long_call(self):
        return media.long_call(self.enterContext(
            tempfile.TemporaryDirectory(prefix="diptych-call-")))

    def test_every_packet_is_stated(self):
        inputs = [(media.RESIDENT, media.CLERK),
                  (media.VP8_RESIDENT, media.VP8_CLERK), self.long_call()]
        recorded = media.SHARED / "mediarecorder-avc1opus.mp4"
        if recorded.exists():
            inputs.append((recorded, recorded.with_suffix(".mkv")))
        for resident, clerk in inputs:
            with self.subTest(resident.name), Archive() as self.archive:
                self.key_file = self.archive.profile("gateway") / "source.key"
                done, session, archive_id = self.push_both(resident, clerk)
                inputs = {1: Input(resident), 2: Input(clerk)}
                statements = self.prove(session, archive_id, inputs)
                sides = {s["side"]: s for s in done.summary["sides"]}
                for side, word in SIDES.items():
                    self.assertEqual(
                        sides[word]["statements"],
                        sum(s.side == side for s in statements))
                    self.assertEqual(sides[word]["signed_packets"],
                                     len(inputs[side].packets))
                # One changed bit and none of it holds.
                forged = statements[0]
                forged.last += 1
                with self.assertRaises(InvalidSignature):
                    self.public_key().verify(forged.signature,
                                             forged.signed_bytes(archive_id))
                self.check_finds_nothing()

    def start_push(self, *arguments):
        process = subprocess.Popen(
            [str(archives.DIPTYCH),
             f"--profile={self.archive.profile('gateway')}", "push", "--json",
             *map(str, arguments)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)

        def end():
            process.kill()
            process.communicate()
        self.addCleanup(end)
        return process

    def test_the_archive_is_killed_in_mid_session(self):
        resident, clerk = self.long_call()
        session = str(uuid.uuid4())
        process = self.start_push("--resident", resident, "--clerk", clerk,
                                  "--session", session)
        # Twice: between statements and as soon as there are some.
        wait_until(lambda: log_files.count(self.archive.dir / "volumes",
                                           log_files.CHUNK) > 3,
                   30, "the first chunks")
        self.archive.kill()
        self.archive.start()
        wait_until(lambda: len(self.statements()) >= 4, 60,
                   "the first statements")
        self.archive.kill()
        self.archive.start()
        # What is left need not come in real time: Ctrl-C ends the inputs.
        wait_until(lambda: len(self.statements()) >= 8, 60, "more of them")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        receipts = [json.loads(line) for line in out.splitlines()
                    if '"receipt"' in line]
        self.assertEqual(len(receipts), 1, out + err)
        inputs = {1: Input(resident), 2: Input(clerk)}
        for side in receipts[0]["sides"]:
            source = inputs[NUMBERS[side["side"]]]
            self.assertGreater(side["final_sequence"], 500)
            source.packets = source.packets[:side["final_sequence"]]
        self.prove(session, self.archive_id(), inputs)
        self.check_finds_nothing()

    def archive_id(self):
        profile = (self.archive.profile("gateway") / "profile.json").read_text()
        return uuid.UUID(re.search(r'"archive_id": "([^"]+)"', profile)[1]).bytes

    def test_the_gateway_is_killed_and_its_spool_drained(self):
        spool = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="diptych-spool-"))) / "spool"
        resident, clerk = self.long_call()
        session = str(uuid.uuid4())
        process = self.start_push("--resident", resident, "--clerk", clerk,
                                  "--session", session, "--spool", spool)
        wait_until(lambda: log_files.count(self.archive.dir / "volumes",
                                           log_files.CHUNK) > 3,
                   30, "the first chunks")
        # From here on everything goes to the spool.
        self.archive.kill()
        wait_until(lambda: sum(f.stat().st_size
                               for f in spool.glob("*/*.spool")) > 1_000_000,
                   60, "the spool to fill")
        process.kill()
        process.communicate()
        self.archive.start()
        drained = self.archive.ok("gateway", "push", "--drain", "--spool",
                                  spool)
        self.assertGreater(drained.summary["statements"], 0)
        receipt = drained.of_type("receipt")[0]
        inputs = {1: Input(resident), 2: Input(clerk)}
        statements = self.statements()
        public = self.public_key()
        for side in receipt["sides"]:
            number = NUMBERS[side["side"]]
            source = inputs[number]
            shift = FIRST_TRACK[number] - 1
            covered = set()
            for s in statements:
                if s.side != number:
                    continue
                lines = [p.line(source.video[p.track])
                         for p in source.packets[s.first - 1:s.last]
                         if p.track + shift == s.track]
                self.assertEqual(s.packets, len(lines))
                self.assertEqual(s.root, tree_root(lines) if lines else b"")
                public.verify(s.signature, s.signed_bytes(self.archive_id()))
                covered.update(n for n in range(s.first, s.last + 1)
                               if source.packets[n - 1].track + shift == s.track)
            # What was durable before it died is nowhere but in the archive;
            # everything after the first number that is stated is stated.
            self.assertGreater(len(covered), 200)
            self.assertEqual(covered, set(range(min(covered),
                                                side["final_sequence"] + 1)))
        done = self.archive.check()
        self.assertEqual(done.code, 0, str(done))

    def test_a_key_that_the_archive_does_not_know_is_refused_by_name(self):
        other = ed25519.Ed25519PrivateKey.generate()
        self.key_file.write_bytes(other.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()))
        key_id = hashlib.sha256(self.raw_key()).digest()[:8].hex()
        done = self.archive.run("gateway", "push", "--fast", "--resident",
                                media.RESIDENT, "--clerk", media.CLERK)
        self.assertNotEqual(done.code, 0)
        self.assertIn(key_id, done.stderr)
        self.assertNotIn("PRIVATE", done.stderr)
        self.assertEqual(self.statements(), [])

    def test_what_is_no_source_key_is_said_before_anything_is_sent(self):
        shutil.copy(self.archive.profile("gateway") / "client.key",
                    self.key_file)
        self.key_file.chmod(0o600)
        done = self.archive.run("gateway", "push", "--fast", "--resident",
                                media.RESIDENT)
        self.assertEqual(done.code, 2, str(done))
        self.assertIn(str(self.key_file), done.stderr)
        self.key_file.chmod(0o644)
        done = self.archive.run("gateway", "push", "--fast", "--resident",
                                media.RESIDENT)
        self.assertNotEqual(done.code, 0)
        self.assertIn(str(self.key_file), done.stderr)
        self.assertEqual(log_files.count(self.archive.dir / "volumes",
                                         log_files.SESSION_OPENED), 0)

    def test_without_a_key_nothing_is_signed(self):
        os.remove(self.key_file)
        done, _, _ = self.push_both(media.RESIDENT, media.CLERK)
        self.assertEqual(self.statements(), [])
        self.assertEqual([s["statements"] for s in done.summary["sides"]],
                         [0, 0])

    def test_a_file_that_is_pushed_again_repeats_what_was_stated(self):
        # The first run dies on its way; what it had numbered keeps its place.
        resident, clerk = self.long_call()
        session = str(uuid.uuid4())
        arguments = ("--resident", resident, "--clerk", clerk, "--session",
                     session, "--event", "bell@30s", "--event", "bell@60s")
        process = self.start_push(*arguments)
        wait_until(lambda: len(self.statements()) >= 4, 60,
                   "the first statements")
        process.kill()
        process.communicate()
        self.archive.push(*arguments)
        self.prove(session, self.archive_id(),
                   {1: Input(resident), 2: Input(clerk)})
        self.archive.wait_indexed()
        shown = self.archive.ok("auditor", "show", session)
        bells = [e for e in shown.of_type("event") if e["type"] == "bell"]
        self.assertEqual(len(bells), 2)
        self.check_finds_nothing()


if __name__ == "__main__":
    unittest.main()
