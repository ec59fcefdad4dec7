"""The reserve of the disk: kept for open sessions, and new ones are told why."""

import os
import pathlib
import sys
import unittest
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import grpc

import matroska
import media
import wire
from archive import Archive

# More than any disk has.
_ALL = str(1 << 60)


class ReserveTest(unittest.TestCase):

    def setUp(self):
        self.archive = Archive()
        self.addCleanup(self.archive.close)
        self.archive.init()
        self.source = wire.Source(matroska.read(media.CLERK), wire.CLERK, 1)

    def open(self, session):
        channel = wire.channel(self.archive.profile("gateway"),
                               self.archive.address("ingest"))
        self.addCleanup(channel.close)
        stream = wire.Stream(channel)
        stream.send(open=wire.open_message(session, [self.source]))
        return stream

    def assert_refused(self):
        code, message, detail = self.open(str(uuid.uuid4())).wait_status()
        self.assertEqual(code, grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertEqual(detail.reason, "NO_SPACE")
        self.assertTrue(detail.retryable)
        self.assertGreater(detail.retry_after_ms, 0)
        self.assertIn(_ALL, message)

    def test_open_sessions_go_on_and_new_ones_are_refused(self):
        self.archive.start()
        session = str(uuid.uuid4())
        batches = list(self.source.batches())
        stream = self.open(session)
        stream.wait_for("opened")
        stream.send(packets=batches[0])
        stream.wait_durable(wire.CLERK, batches[0].packets[-1].sequence)
        self.assertEqual(self.archive.stop(), 0)

        self.archive.start(f"--reserve_bytes={_ALL}")
        self.assert_refused()
        stream = self.open(session)
        self.assertTrue(stream.wait_for("opened").resumed)
        for batch in batches[1:]:
            stream.send(packets=batch)
        last = len(self.source.packets)
        stream.send(close=wire.close_message((wire.CLERK, last, 0)))
        totals = {s.side: s.packets
                  for s in stream.wait_for("receipt").sides}
        self.assertEqual(totals[wire.CLERK], last)
        self.assertIn("space is low", self.archive.log())

    def test_from_the_environment_and_the_flag_wins(self):
        os.environ["DIPTYCH_RESERVE_BYTES"] = _ALL
        self.addCleanup(os.environ.pop, "DIPTYCH_RESERVE_BYTES")
        self.archive.start()
        self.assert_refused()
        self.assertEqual(self.archive.stop(), 0)
        self.archive.start("--reserve_bytes=0")
        self.open(str(uuid.uuid4())).wait_for("opened")


if __name__ == "__main__":
    unittest.main()
