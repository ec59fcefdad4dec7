"""The archive's keys: who has them, who gets them, and a new one in a key's
place while nothing becomes unreadable."""

import base64
import hashlib
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import archive as archives
import media
from archive import Archive, command


class KeysTest(unittest.TestCase):

    def setUp(self):
        self.archive = Archive()
        self.addCleanup(self.archive.close)
        self.archive.init()
        self.sessions = []

    def push(self, *flags):
        done = self.archive.push(
            "--resident", media.VP8_RESIDENT, "--clerk", media.VP8_CLERK,
            "--tag", f"clerk=C{len(self.sessions)}", *flags)
        self.sessions.append(done.of_type("receipt")[0]["session"])

    def push_and_stop(self, count):
        self.archive.start()
        for _ in range(count):
            self.push()
        self.archive.wait_indexed()
        self.assertEqual(self.archive.stop(), 0)

    def keys(self, *arguments, code=0):
        done = command("keys", *arguments, "--json")
        self.assertEqual(done.code, code, str(done))
        return done

    def recipients(self):
        return self.keys("list", self.archive.dir).of_type("recipient")

    def check(self, keys=None, code=0):
        """Reads all, with the keys of a folder; all must be well.

        7 if the keys open nothing at all.
        """
        done = command("check", self.archive.dir, "--read-data", "--json",
                       "--keys", keys or self.archive.keys)
        self.assertEqual(done.code, code, str(done))
        return done.summary

    def volume_hashes(self):
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest()
                for p in (self.archive.dir / "volumes").iterdir()}

    def export_all(self):
        """Media of every session as one hash each."""
        found = {}
        with tempfile.TemporaryDirectory() as folder:
            for session in self.sessions:
                out = pathlib.Path(folder) / f"{session}.mkv"
                self.archive.export(session, "-o", out)
                found[session] = hashlib.sha256(out.read_bytes()).hexdigest()
        return found

    def only(self, *names):
        """A key folder with these files alone."""
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.archive.base))
        for name in names:
            shutil.copy2(self.archive.keys / name, folder / name)
        return folder

    # ---- Whom the archive knows ----

    def test_list_and_export(self):
        names = {r["name"]: r for r in self.recipients()}
        self.assertEqual(set(names), {"index", "audit", "escrow"})
        self.assertEqual(names["audit"]["classes"], ["media", "metadata"])
        key = base64.b64decode(names["audit"]["public_key"])
        self.assertEqual(names["audit"]["id"],
                         hashlib.sha256(key).hexdigest()[:16])
        self.assertIn("audit", command("keys", "list",
                                       self.archive.dir).stdout)

        out = self.archive.base / "public.keys"
        self.keys("export", self.archive.dir, "-o", out)
        text = out.read_text()
        self.assertEqual(text, command("keys", "export",
                                       self.archive.dir).stdout)
        lines = [l for l in text.splitlines() if not l.startswith("#")]
        origins = [re.fullmatch(r"(diptych/[-0-9a-f]{36}\S*)\+([0-9a-f]{8})\+"
                                r"([A-Za-z0-9+/]+=*)", l) for l in lines]
        self.assertTrue(all(origins), text)
        # The log's key first, then the gateway's; type 1 and 32 bytes each,
        # under the number that the signed-note specification computes.
        self.assertEqual(len(lines), 2)
        self.assertTrue(origins[1][1].endswith("/gateway/gateway"))
        for match in origins:
            key = base64.b64decode(match[3])
            self.assertEqual((len(key), key[0]), (33, 1))
            self.assertEqual(
                match[2], hashlib.sha256(match[1].encode() + b"\n" + key)
                .hexdigest()[:8])
        for name in names:
            self.assertRegex(text, rf"(?m)^# {name} {names[name]['id']} ")
        # Nothing is overwritten.
        self.assertNotEqual(command("keys", "export", self.archive.dir, "-o",
                                    out).code, 0)

    def test_what_makes_no_sense_is_refused(self):
        key = base64.b64encode(bytes(range(32))).decode()
        for arguments in (
                ["add-recipient", self.archive.dir, "Max", "--public-key", key,
                 "--classes=media"],
                ["add-recipient", self.archive.dir, "audit-12345678",
                 "--public-key", key, "--classes=media"],
                ["add-recipient", self.archive.dir, "court", "--public-key",
                 "AAAA", "--classes=media"],
                ["add-recipient", self.archive.dir, "court", "--public-key",
                 key, "--classes=audio"],
                ["add-witness", self.archive.dir, "witness+01234567+AAAA"],
                ["rotate"], ["export"]):
            with self.subTest(arguments):
                self.keys(*arguments, code=2)
        self.keys("rotate", self.archive.dir, "court", code=3)
        self.keys("list", self.archive.base, code=3)
        done = self.keys("add-recipient", self.archive.dir, "audit",
                         "--public-key", key, "--classes=media", code=1)
        self.assertIn("already", done.stderr)

    def test_while_the_daemon_runs_nothing_is_changed(self):
        self.archive.start()
        before = (self.archive.dir / "archive.textproto").read_bytes()
        key = base64.b64encode(bytes(range(32))).decode()
        for arguments in (["rotate", self.archive.dir, "audit"],
                          ["add-recipient", self.archive.dir, "court",
                           "--public-key", key, "--classes=media"]):
            done = self.keys(*arguments, code=5)
            self.assertIn("stop its daemon", done.stderr)
        self.assertEqual((self.archive.dir / "archive.textproto").read_bytes(),
                         before)
        self.assertEqual(len(list(self.archive.keys.glob("audit-*.key"))),
                         len([1 for p in self.archive.keys.glob("audit-*.key")
                              if p.name == "audit-server.key"]))

    def test_a_recipient_more(self):
        self.push_and_stop(1)
        court = self.archive.base / "court.key"
        made = self.keys("generate", "court", "-o", court)
        self.assertEqual(court.stat().st_mode & 0o777, 0o600)
        # As a file, in PEM.
        pem = self.archive.base / "court.pem"
        der = (bytes.fromhex("302a300506032b656e032100")
               + base64.b64decode(made.summary["public_key"]))
        pem.write_text("-----BEGIN PUBLIC KEY-----\n"
                       + base64.b64encode(der).decode()
                       + "\n-----END PUBLIC KEY-----\n")
        self.keys("add-recipient", self.archive.dir, "court", "--public-key",
                  pem, "--classes=media")
        folder = self.archive.base / "court"
        folder.mkdir()
        shutil.copy2(court, folder / "court.key")
        before = self.check(folder, code=7)
        self.push_and_stop(1)
        after = self.check(folder)
        self.assertEqual(before["seals_opened"], 0)
        self.assertGreater(after["seals_opened"], 0)
        # Of the second session alone; its tags are not for the court.
        self.assertGreater(after["seals_without_key"],
                           before["seals_without_key"])
        # A rotated key takes the court along to what was before.
        self.keys("rotate", self.archive.dir, "escrow")
        self.assertGreater(self.check(folder)["seals_opened"],
                           after["seals_opened"])

    # ---- Rotation ----

    def test_the_new_key_alone_reads_old_and_new_sessions(self):
        self.archive.start()
        self.push()
        self.push()
        self.archive.wait_indexed()
        before = self.export_all()
        self.assertEqual(self.archive.stop(), 0)
        volumes = self.volume_hashes()
        done = self.keys("rotate", self.archive.dir, "audit").summary
        self.assertEqual((done["rewrapped"], done["damaged"]), (2, 0))
        # Media stays untouched: the log has only grown.
        volume = next(iter(volumes))
        grown = (self.archive.dir / "volumes" / volume).read_bytes()
        self.assertGreater(len(grown), 0)
        states = {(r["name"], r["retired"]): r["id"] for r in self.recipients()}
        self.assertEqual(states[("audit", True)], done["old_id"])
        self.assertEqual(states[("audit", False)], done["new_id"])
        old_file = pathlib.Path(done["old_key_file"])
        self.assertEqual(old_file.name, f"audit-{done['old_id'][:8]}.key")

        self.archive.start()
        self.push()
        self.archive.wait_indexed()
        after = self.export_all()
        self.assertEqual({s: after[s] for s in before}, before)
        # By now there are access records to both keys.
        self.assertEqual(self.archive.stop(), 0)
        self.assertEqual(self.check()["seals_without_key"], 0)

        # The old key goes: media is read as before; access records that were
        # sealed to it are not.
        old_file.rename(self.archive.base / "old.key")
        self.archive.start()
        self.assertEqual(self.export_all(), after)
        self.assertEqual(self.archive.stop(), 0)
        left = self.check(self.only("audit.key"))
        self.assertGreater(left["seals_opened"], 0)
        self.assertGreater(left["seals_without_key"], 0)
        # And the old key alone opens nothing of the newest session's.
        folder = self.archive.base / "old"
        folder.mkdir()
        shutil.copy2(self.archive.base / "old.key",
                     folder / f"audit-{done['old_id'][:8]}.key")
        old_only = self.check(folder)
        self.assertGreater(old_only["seals_without_key"],
                           left["seals_without_key"])

    def test_a_new_index_key_is_a_new_index(self):
        self.push_and_stop(2)
        done = self.keys("rotate", self.archive.dir, "index")
        self.assertTrue(done.summary["needs_index_rebuild"])
        self.assertIn("index rebuild", done.stderr)
        # The daemon makes the index again by itself,
        self.archive.start()
        self.archive.wait_indexed()
        self.assertIn("another index key", self.archive.log())
        self.assertEqual(len(self.archive.query("")), 2)
        self.assertEqual(self.archive.stop(), 0)
        # and it can be made beforehand. Also without the old key, which opened what came first in the log.
        pathlib.Path(done.summary["old_key_file"]).unlink()
        rebuilt = command("index", "rebuild", self.archive.dir, "--json")
        self.assertEqual(rebuilt.code, 0, str(rebuilt))
        self.assertEqual(rebuilt.summary["unopened_records"], 0)
        self.archive.start()
        self.archive.wait_indexed()
        for number, session in enumerate(self.sessions):
            self.assertEqual(
                [s["session"] for s in
                 self.archive.query(f'clerk = "C{number}"')], [session])
        self.push()
        self.archive.wait_indexed()
        self.assertEqual(len(self.archive.query("")), 3)

    def test_killed_anywhere_it_goes_on(self):
        self.push_and_stop(4)
        first = self.keys("rotate", self.archive.dir, "escrow").summary
        self.assertEqual(first["rewrapped"], 4)
        began = time.monotonic()
        self.keys("rotate", self.archive.dir, "escrow")
        took = time.monotonic() - began
        kills = 0
        for part in range(24):
            argv = [str(archives.DIPTYCH), "keys", "rotate",
                    str(self.archive.dir), "audit"]
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL,
                                       stderr=subprocess.PIPE)
            try:
                _, said = process.communicate(timeout=took * part / 16)
                self.assertEqual(process.returncode, 0, said)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                kills += 1
            # Every seal opens with what lies in the key folder.
            self.assertEqual(self.check()["seals_without_key"], 0)
        self.assertGreater(kills, 5)
        # To its end, whatever was left; the daemon reads all of it.
        self.keys("rotate", self.archive.dir, "audit")
        self.archive.start()
        self.push()
        self.archive.wait_indexed()
        self.assertEqual(len(self.export_all()), 5)
        self.assertEqual(self.archive.stop(), 0)
        active = [r for r in self.recipients()
                  if r["name"] == "audit" and not r["retired"]]
        self.assertEqual(len(active), 1)
        # The last key alone opens all media.
        summary = self.check(self.only("audit.key"))
        self.assertEqual(self.check()["seals_without_key"], 0)
        self.assertGreater(summary["seals_opened"], 0)


if __name__ == "__main__":
    unittest.main()
