"""The daemon is killed during a push: everything acknowledged is there."""

import collections
import hashlib
import pathlib
import sys
import tempfile
import unittest
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import matroska
import media
import wire
from archive import Archive


def _hashes(packets):
    return [hashlib.sha256(p.payload).digest() for p in packets]


class Kill9Test(unittest.TestCase):

    def setUp(self):
        self.archive = Archive()
        self.addCleanup(self.archive.close)
        self.archive.init()
        self.archive.start()
        self.out = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="diptych-out-")))
        self.sources = [
            wire.Source(matroska.read(media.RESIDENT), wire.RESIDENT, 1),
            wire.Source(matroska.read(media.CLERK), wire.CLERK, 3)]

    def connect(self):
        self.channel = wire.channel(self.archive.profile("gateway"),
                                    self.archive.address("ingest"))
        self.addCleanup(self.channel.close)
        return wire.Stream(self.channel)

    def send_interleaved(self, stream, after, up_to_us=None):
        """Sends both sides by time, as a call comes in."""
        batches = []
        for source in self.sources:
            for batch in source.batches(after[source.side]):
                batches.append((batch.packets[0].pts_us, batch))
        for start_us, batch in sorted(batches, key=lambda b: b[0]):
            if up_to_us is None or start_us < up_to_us:
                stream.send(packets=batch)

    def push_until_killed(self, session, moment):
        """Pushes until `moment(stream)` returns, and kills the daemon."""
        stream = self.connect()
        stream.send(open=wire.open_message(session, self.sources))
        stream.wait_for("opened")
        stream.send(notes=wire.ingest.Notes(
            side=wire.CLERK,
            notes=[wire.tag_note(1, "clerk", ["C0231"])]))
        self.send_interleaved(stream, collections.Counter())
        moment(stream)
        self.archive.kill()
        stream.wait_status()
        return {s.side: stream.durable(s.side) for s in self.sources}

    def exported(self, session, name):
        path = self.out / name
        self.archive.export(session, "--format", "mkv", "-o", path)
        file = matroska.read(path)
        return {n: _hashes(file.of(n)) for n in file.tracks}

    def assert_holds(self, tracks, source, sequence):
        """The first `sequence` packets of a side are there, in order."""
        for track in source.tracks:
            wanted = _hashes([p for p in source.packets[:sequence]
                              if p.track_id == track.track_id])
            if wanted:
                found = [t for t in tracks.values()
                         if t[:len(wanted)] == wanted]
                self.assertEqual(
                    len(found), 1,
                    f"track {track.track_id}: {len(wanted)} packets were "
                    f"acknowledged, the archive has "
                    f"{[len(t) for t in tracks.values()]}")

    def resume_to_receipt(self, session, acknowledged):
        stream = self.connect()
        stream.send(open=wire.open_message(session, self.sources))
        opened = stream.wait_for("opened")
        self.assertTrue(opened.resumed)
        after = {p.side: p.sequence for p in opened.progress}
        for side, sequence in acknowledged.items():
            self.assertGreaterEqual(after[side], sequence)
        if stream.durable(wire.CLERK, notes=True) == 0:
            stream.send(notes=wire.ingest.Notes(
                side=wire.CLERK,
                notes=[wire.tag_note(1, "clerk", ["C0231"])]))
        self.send_interleaved(stream, after)
        stream.send(close=wire.close_message(
            (wire.RESIDENT, len(self.sources[0].packets), 0),
            (wire.CLERK, len(self.sources[1].packets), 1)))
        receipt = stream.wait_for("receipt")
        totals = {s.side: s.packets for s in receipt.sides}
        self.assertEqual(totals, {s.side: len(s.packets)
                                  for s in self.sources})

    def run_moment(self, moment, at_least):
        session = str(uuid.uuid4())
        acknowledged = self.push_until_killed(session, moment)
        self.assertGreaterEqual(max(acknowledged.values()), at_least)
        self.archive.start()
        self.archive.wait_indexed()
        if max(acknowledged.values()):
            before = self.exported(session, "before.mkv")
            for source in self.sources:
                self.assert_holds(before, source, acknowledged[source.side])
        self.resume_to_receipt(session, acknowledged)
        self.archive.wait_indexed()
        after = self.exported(session, "after.mkv")
        for source in self.sources:
            self.assert_holds(after, source, len(source.packets))
        self.assertEqual(sum(map(len, after.values())),
                         sum(len(s.packets) for s in self.sources))
        found = self.archive.query('clerk = "C0231"')
        self.assertEqual([s["session"] for s in found], [session])
        # A stop waits a while for clients that are still there.
        self.channel.close()
        self.assertEqual(self.archive.stop(), 0)
        checked = self.archive.check("--read-data")
        self.assertEqual(checked.code, 0, str(checked))

    def test_before_anything_is_acknowledged(self):
        self.run_moment(lambda stream: None, 0)

    def test_after_the_first_acknowledgement(self):
        self.run_moment(lambda stream: stream.wait_durable(wire.RESIDENT, 1),
                        1)

    def test_in_the_middle(self):
        self.run_moment(lambda stream: stream.wait_durable(wire.CLERK, 300),
                        300)

    def test_at_the_very_end(self):
        # All that a reorder window lets out without a close.
        self.run_moment(lambda stream: stream.wait_durable(wire.CLERK, 600),
                        600)

    def test_receipt_survives(self):
        session = str(uuid.uuid4())
        done = self.archive.push(
            "--resident", media.RESIDENT, "--clerk", media.CLERK,
            "--session", session, "--tag", "clerk=C0231")
        self.archive.kill()
        self.archive.start()
        self.archive.wait_indexed()
        self.assertEqual(self.archive.query('clerk = "C0231"')[0]["state"],
                         "closed")
        self.assertEqual(done.of_type("receipt")[0]["session"], session)
        tracks = self.exported(session, "closed.mkv")
        for source in self.sources:
            self.assert_holds(tracks, source, len(source.packets))


if __name__ == "__main__":
    unittest.main()
