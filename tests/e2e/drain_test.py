"""SIGTERM ends the daemon at once, whatever clients hold on to, and what it had
taken is acknowledged before."""

import pathlib
import sys
import time
import unittest
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import grpc

import matroska
import media
import wire
from archive import Archive

# Far under the daemon's grace of 5 s for calls that do not end.
SOON_S = 2.5


class DrainTest(unittest.TestCase):

    def setUp(self):
        self.archive = Archive()
        self.addCleanup(self.archive.close)
        self.archive.init()
        self.archive.start()

    def connect(self, role="gateway", name="ingest"):
        channel = wire.channel(self.archive.profile(role),
                               self.archive.address(name))
        self.addCleanup(channel.close)
        grpc.channel_ready_future(channel).result(timeout=wire.WAIT_S)
        return channel

    def stop_soon(self):
        begun = time.monotonic()
        code = self.archive.stop()
        took_s = time.monotonic() - begun
        self.assertEqual(code, 0, self.archive.log())
        self.assertLess(took_s, SOON_S, self.archive.log())

    def test_idle_connections(self):
        for _ in range(3):
            self.connect()
        self.connect("auditor", "audit")
        self.stop_soon()

    def test_idle_stream_of_an_open_session(self):
        source = wire.Source(matroska.read(media.CLERK), wire.CLERK, 1)
        stream = wire.Stream(self.connect())
        stream.send(open=wire.open_message(str(uuid.uuid4()), [source]))
        stream.wait_for("opened")
        for batch in list(source.batches())[:30]:
            stream.send(packets=batch)
            sent = batch.packets[-1].sequence
        # Everything was received: of what came last, the chunk is still open.
        stream.wait_durable(wire.CLERK, sent)
        self.stop_soon()
        stream.wait_for("draining")
        code, _, detail = stream.wait_status()
        self.assertEqual(code, grpc.StatusCode.UNAVAILABLE)
        self.assertEqual(detail.reason, "DRAINING")
        self.assertEqual(stream.durable(wire.CLERK), sent)

    def test_stream_that_never_said_a_word(self):
        stream = wire.Stream(self.connect())
        self.stop_soon()
        self.assertEqual(stream.wait_status()[0], grpc.StatusCode.UNAVAILABLE)

    def test_a_watch_of_the_health_service(self):
        channel = self.connect()
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
        next(watch)
        self.stop_soon()


if __name__ == "__main__":
    unittest.main()
