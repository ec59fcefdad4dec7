"""Whatever is done to a bundle's evidence, `diptych verify` finds it."""

import base64
import json
import pathlib
import random
import shutil
import subprocess
import sys
import unittest
import zlib

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent),
                str(pathlib.Path(__file__).resolve().parent)]
from archive import command
from forged_bundle import (SIGNED_NOTE_DASH, SOURCE_DIGEST, BundleForgeries,
                           flip_base64, forger, gzip_text, in_base64,
                           read_evidence)


class EvidenceForgeriesTest(BundleForgeries):

    # ---- Words and documents ----

    def test_words(self):
        def note(old, new):
            def change(evidence):
                found = next(n for n in evidence["notes"]
                             if old in base64.b64decode(n["note"]))
                found["note"] = in_base64(found["note"], old, new)
            return change
        self.forge_evidence("a tag", ("notes[", "note "),
                            note(b"C0231", b"C0232"))
        self.forge_evidence("an item", ("notes[", "note "),
                            note(b"0417", b"0418"))
        self.forge_evidence("an event's words", ("notes[", "note "),
                            note(b"match", b"other"))
        self.forge_evidence("an event's kind", ("notes[", "note "),
                            note(b"identity_checked", b"identity_refused"))

        def salt(evidence):
            evidence["notes"][0]["salt"] = flip_base64(
                evidence["notes"][0]["salt"])
        self.forge_evidence("a salt", ("notes[0]",), salt)

        def twice(evidence):
            evidence["notes"].append(evidence["notes"][0])
        self.forge_evidence("a note twice", ("notes[",), twice)

        def description(evidence):
            span = evidence["spans"][0]
            span["description"] = flip_base64(span["description"], -1)
        self.forge_evidence("a span's description", ("span",), description)

    def test_documents(self):
        def attachment(forged):
            return next((forged.data / "attachments").iterdir())

        def edit(forged):
            path = attachment(forged)
            path.write_bytes(path.read_bytes().replace(b"invented", b"imagined",
                                                       1))

        def longer(forged):
            path = attachment(forged)
            path.write_bytes(path.read_bytes() + b"P.S.")

        def shorter(forged):
            path = attachment(forged)
            path.write_bytes(path.read_bytes()[:-1])

        def another(forged):
            (forged.data / "attachments" / "7-will.txt").write_text("All yours")

        words = ("data/attachments/",)
        self.forge("a byte of a document", words, edit)
        self.forge("a longer document", words, longer)
        self.forge("a shorter document", words, shorter)
        self.forge("a document more", words, another)
        self.forge("a document less", words,
                   lambda forged: attachment(forged).unlink())

        def rename(forged):
            path = attachment(forged)
            path.rename(path.with_name("2-" + path.name.split("-", 1)[1]))
            with forged.evidence() as evidence:
                for part in evidence["attachments"]:
                    part["file"] = part["file"].replace("/1-", "/2-")
        self.forge("a document of another number", ("attachments[",), rename)

    def test_a_document_that_is_cut(self):
        document = self.scratch / "long.txt"
        document.write_text("An invented form.\n" * 60_000)
        session = self._push(
            "--resident", self.scratch / "resident.mkv",
            "--clerk", self.scratch / "clerk.mkv",
            "--attach", f"document_captured@2s={document}")
        self.archive.wait_indexed()
        self.archive.export(session, "--format", "bundle", "-o",
                            self.scratch / "long")
        with self.copy_of("long") as forged:
            with forged.evidence() as evidence:
                parts = evidence["attachments"]
                self.assertGreater(len(parts), 1)
                here = parts.pop()["offset"]
            path = next((forged.data / "attachments").iterdir())
            path.write_bytes(path.read_bytes()[:here])
            forger("remake", forged.path)
            done = self.verify(forged.path)
            self.assertEqual(done.code, 0, str(done))
            self.assertIn(f"{here} of {document.stat().st_size} bytes are here",
                          done.stdout)

        def rename(forged):
            path = next((forged.data / "attachments").iterdir())
            path.rename(path.with_name("1-will.txt"))
            with forged.evidence() as evidence:
                for part in evidence["attachments"]:
                    part["file"] = "attachments/1-will.txt"
        self.forge("a document of another name", ("its event says",), rename)

    # ---- Runs and tracks ----

    def test_runs(self):
        def split(boundary, of_second):
            def change(evidence):
                runs = evidence["segments"][0]["tracks"]
                run = next(r for r in runs if len(r["packets"]) > 1)
                second = dict(run, first=run.get("first", 0) + 1,
                              packets=run["packets"][1:])
                run["packets"] = run["packets"][:1]
                (second if of_second else run)["boundary"] = boundary
                runs.insert(runs.index(run) + 1, second)
            return change
        self.forge_evidence("a run in the middle that begins unplayed",
                            ("is not the track's first",),
                            split({"before": 1}, True))
        self.forge_evidence("a run in the middle that ends unplayed",
                            ("behind the media's last",),
                            split({"after": 1}, False))

        def empty_track(evidence):
            last = evidence["tracks"][-1]
            evidence["tracks"].append(dict(
                last, track_id=last["track_id"] + 1, raw_ms=base64.b64encode(
                    zlib.compress(b"")).decode()))
        self.forge_evidence("a track without packets", ("no packet",),
                            empty_track)

        def twice(evidence):
            evidence["records"].append(evidence["records"][0])
        self.forge_evidence("a record twice", ("is there twice",), twice)

    # ---- Signatures and proofs ----

    def test_sources(self):
        def digest_record(evidence):
            return next(r for r in evidence["records"]
                        if r["type"] == SOURCE_DIGEST)

        def signature(evidence):
            record = digest_record(evidence)
            record["header"] = flip_base64(record["header"], 60)

        def no_hash(evidence):
            run = next(r for r in evidence["sources"] if "record" in r)
            run["others"] = run.get("others", []) + [
                base64.b64encode(bytes(32)).decode()]

        def moved(evidence):
            run = next(r for r in evidence["sources"] if "record" in r)
            run["first"] = run.get("first", 0) + 1

        def borrowed(evidence):
            records = [i for i, r in enumerate(evidence["records"])
                       if r["type"] == SOURCE_DIGEST]
            run = next(r for r in evidence["sources"] if "record" in r)
            run["record"] = next(i for i in records if i != run["record"])

        def times(evidence):
            track = evidence["tracks"][0]
            raw = bytearray(zlib.decompress(
                base64.b64decode(track["raw_ms"])))
            raw[1] ^= 2
            track["raw_ms"] = base64.b64encode(
                zlib.compress(bytes(raw))).decode()
        self.forge_evidence("a signature", ("records[",), signature)
        self.forge_evidence("a hash too many", ("statement",), no_hash)
        self.forge_evidence("another place", ("statement",), moved)
        self.forge_evidence("another's signature", ("statement",), borrowed)
        self.forge_evidence("a gateway's time", ("statement",), times)

    def test_the_chain(self):
        def manifest(evidence):
            entry = evidence["manifests"][0]
            entry["header"] = flip_base64(entry["header"], 40)

        def other_session(evidence):
            other = read_evidence(self.scratch / "again")
            evidence["manifests"] = other["manifests"]

        def opened(evidence):
            evidence["start_time_us"] += 1

        def position(evidence):
            evidence["closed"]["position"] += 1

        def closed(evidence):
            entry = evidence["closed"]
            entry["header"] = flip_base64(entry["header"], -1)

        def unproven(evidence):
            entry = evidence["manifests"][-1]
            entry.pop("proof")
            entry["header"] = flip_base64(entry["header"], -1)

        everything = ("data/",)
        self.forge_evidence("a manifest", everything, manifest)
        self.forge_evidence("another session's manifests", everything,
                            other_session)
        self.forge_evidence("when it began", ("start_time_us",), opened)
        self.forge_evidence("where the closing lies", ("proofs/",), position)
        self.forge_evidence("what the closing says", ("data/",), closed)
        self.forge_evidence("an unproven manifest", everything, unproven)
        for name in ("opened", "closed", "access"):
            def swap(forged, name=name):
                shutil.copy(self.scratch / f"again/data/proofs/{name}"
                            ".tlog-proof", forged.data / "proofs")
            self.forge(f"another session's proof: {name}", ("data/proofs/",),
                       swap)

    def test_who_asked(self):
        def record(old, new):
            def change(evidence):
                access = evidence["access"]
                access["record"] = in_base64(access["record"], old, new)
            return change
        self.forge_evidence("another purpose", ("access",),
                            record(b"a test", b"no test"))
        self.forge_evidence("another person", ("access",),
                            record(b"auditor", b"auditxr"))

        def others(forged):
            other = read_evidence(self.scratch / "again")
            with forged.evidence() as evidence:
                evidence["access"] = other["access"]
            for name in ("checkpoint", "proofs"):
                source = self.scratch / "again/data" / name
                if source.is_dir():
                    shutil.rmtree(forged.data / name)
                    shutil.copytree(source, forged.data / name)
                else:
                    shutil.copy(source, forged.data / name)
        self.forge("another session's access", ("data/",), others)

    def test_the_checkpoint(self):
        def root(forged):
            path = forged.data / "checkpoint"
            lines = path.read_text().split("\n")
            lines[2] = base64.b64encode(bytes(32)).decode()
            path.write_text("\n".join(lines))

        def other(forged):
            shutil.copy(self.scratch / "later/data/checkpoint",
                        forged.data / "checkpoint")

        def unsigned(forged):
            path = forged.data / "checkpoint"
            path.write_text(path.read_text().split(SIGNED_NOTE_DASH)[0])

        self.forge("another root", ("data/checkpoint",), root)
        self.forge("another checkpoint", ("data/proofs/",), other)
        self.forge("no signature", ("data/checkpoint",), unsigned)
        self.forge("signed by somebody else", ("data/checkpoint",),
                   self.sign_by_another)

    def sign_by_another(self, forged):
        """Signs the checkpoint with a key of one's own, in the log's name."""
        key = self.scratch / "forger.pem"
        text = (forged.data / "checkpoint").read_text().split("\n\n")[0] + "\n"
        message = self.scratch / "forger.text"
        message.write_text(text)
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out",
                        key], check=True, capture_output=True)
        signature = subprocess.run(
            ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", key, "-in",
             message], check=True, capture_output=True).stdout
        name = text.split("\n", 1)[0]
        for path in [forged.data / "checkpoint",
                     *(forged.data / "proofs").iterdir()]:
            content = path.read_text()
            old = content.split(SIGNED_NOTE_DASH, 1)[1].split(" ")[1]
            line = base64.b64encode(
                base64.b64decode(old)[:4] + signature).decode()
            path.write_text(content.replace(old, line + "\n", 1))
        assert name in content

    def test_without_the_key_nobody_vouches(self):
        with self.copy_of("whole") as forged:
            self.sign_by_another(forged)
            forger("remake", forged.path)
            done = command("verify", forged.path, "--json")
            self.assertEqual(done.code, 7, str(done))
            self.assertIn("not proven", done.stdout)
            self.assertEqual(done.summary["verdict"], "consistent")

    def test_evidence_of_another_export(self):
        def evidence_of(name):
            return lambda forged: shutil.copy(
                self.scratch / name / "data/evidence.json.gz",
                forged.data / "evidence.json.gz")

        def media_of(name):
            return lambda forged: shutil.copy(
                self.scratch / name / "data/media.mkv",
                forged.data / "media.mkv")
        for name in ("clip", "again", "other", "later"):
            self.forge(f"evidence of {name}", ("data/",), evidence_of(name))
        # The same media, recorded twice: equal but for their times.
        for name in ("clip", "other"):
            self.forge(f"media of {name}", ("data/", "track "), media_of(name))

    # ---- What is taken away is said ----

    def test_what_is_taken_away_is_said(self):
        def drop(name, value):
            def change(evidence):
                evidence[name] = value
            return change

        def unsign(evidence):
            for run in evidence["sources"]:
                for name in ("record", "first", "others"):
                    run.pop(name, None)
        for what, change, said in (
                ("notes", drop("notes", []), "that are not shown"),
                ("signatures", unsign, "signed at its source"),
                ("the closing", drop("closed", None), "closing is not here")):
            with self.subTest(what), self.copy_of("whole") as forged:
                with forged.evidence() as evidence:
                    change(evidence)
                if what == "the closing":
                    (forged.data / "proofs/closed.tlog-proof").unlink()
                forger("remake", forged.path)
                done = self.verify(forged.path)
                self.assertEqual(done.code, 0, str(done))
                self.assertIn(said, done.stdout)
                good = self.verify(self.scratch / "whole")
                self.assertNotIn(said, good.stdout)

    # ---- Files ----

    def test_the_folder(self):
        def link(forged):
            path = forged.data / "media.mkv"
            shutil.copy(path, self.scratch / "elsewhere.mkv")
            path.unlink()
            path.symlink_to(self.scratch / "elsewhere.mkv")
        with self.copy_of("whole") as forged:
            link(forged)
            self.assert_false(forged.path, "neither a file nor a folder")
        for name in ("data/extra", "data/proofs/x.tlog-proof", "notes.txt",
                     "data/attachments/9-x"):
            with self.subTest(name), self.copy_of("whole") as forged:
                (forged.path / name).write_text("x")
                forger("remake", forged.path)
                self.assert_false(forged.path, name)
        for name in ("bagit.txt", "bag-info.txt", "data/checkpoint",
                     "data/evidence.json.gz", "data/media.mkv",
                     "data/report.html", "manifest-sha256.txt",
                     "tagmanifest-sha256.txt", "data/proofs/access.tlog-proof"):
            with self.subTest(name), self.copy_of("whole") as forged:
                (forged.path / name).unlink()
                self.assert_false(forged.path, name)

    def test_paths_that_lead_elsewhere(self):
        for path in ("../../keys", "/etc/passwd", "proofs/../../x", "a\nb"):
            self.forge_evidence(
                path, ("is no path of a bundle",),
                lambda e, p=path: e["opened"].update(proof=p))

    def test_bombs(self):
        def deep(forged):
            (forged.data / "evidence.json.gz").write_bytes(
                gzip_text(b'{"a":' + b"[" * 1_000_000))

        def large(forged):
            (forged.data / "evidence.json.gz").write_bytes(
                gzip_text(b'{"a":"' + bytes(300 << 20)))

        def many(evidence):
            evidence["segments"][0]["tracks"][0]["packets"] = [8192] * 1000

        def inflated(evidence):
            evidence["tracks"][0]["raw_ms"] = base64.b64encode(
                zlib.compress(bytes(1 << 28))).decode()
        self.forge("large", ("evidence.json",), large)
        self.forge("deep", ("evidence.json",), deep)
        self.forge_evidence("many packets", ("track ", "evidence.json"), many)
        self.forge_evidence("a bomb", ("raw_ms",), inflated)

    def test_noise(self):
        """Neither noise nor cut files bring it down."""
        seed = random.SystemRandom().randrange(1 << 32)
        chance = random.Random(seed)
        for name in ("evidence.json.gz", "media.mkv", "checkpoint",
                     "proofs/access.tlog-proof"):
            for _ in range(6):
                with self.subTest(name, seed=seed), \
                        self.copy_of("whole") as forged:
                    file = forged.data / name
                    content = bytearray(file.read_bytes())
                    if chance.random() < 0.5:
                        del content[chance.randrange(len(content)):]
                    else:
                        for _ in range(20):
                            at = chance.randrange(len(content))
                            content[at] = chance.randrange(256)
                    file.write_bytes(bytes(content))
                    forger("remake", forged.path)
                    self.assert_false(forged.path, "")

    # ---- Receipts ----

    def test_receipts(self):
        good = json.loads(self.receipt.read_text())
        done = self.verify(self.receipt)
        self.assertEqual(done.code, 0, str(done))
        done = self.verify(self.scratch / "whole", "--receipt", self.receipt)
        self.assertEqual(done.code, 0, str(done))
        self.assert_false(self.scratch / "again", "receipt",
                          arguments=("--receipt", self.receipt))

        def set_(name, value):
            return lambda r: r.update({name: value})

        def packets(receipt):
            receipt["sides"][0]["packets"] += 1

        def begins(receipt):
            receipt["sides"][0]["start_s"] += 1

        def proof(receipt):
            receipt["inclusion_proof"][0] = base64.b64encode(
                bytes(32)).decode()
        for what, change in {
                "another session": set_("session", self.again),
                "another archive": set_("archive", self.again),
                "another state": set_("state", "abandoned"),
                "another time": set_("closed_time", "2020-01-01T00:00:00.000Z"),
                "more segments": set_("segments", good["segments"] + 1),
                "another hash": set_("manifest_sha256", "00" * 32),
                "no sides": set_("sides", []),
                "more packets": packets,
                "another beginning": begins,
                "a side twice": lambda r: r.update(sides=[r["sides"][0]] * 2),
                "another proof": proof,
                "another place": set_("log_position",
                                      good["log_position"] + 1),
                "another index": set_("log_index", good["log_index"] + 1),
                "another record": set_("closed_header", flip_base64(
                    good["closed_header"], -1)),
                "another tree": lambda r: r.update(
                    checkpoint=r["checkpoint"].replace(
                        "\n\n", "\nmore\n\n", 1)),
        }.items():
            with self.subTest(what):
                receipt = json.loads(self.receipt.read_text())
                change(receipt)
                path = self.scratch / "forged.json"
                path.write_text(json.dumps(receipt))
                self.assert_false(path, "receipt")


if __name__ == "__main__":
    unittest.main()
