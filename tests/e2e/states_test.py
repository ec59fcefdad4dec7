"""A session's states as an auditor sees them while it runs."""

import pathlib
import sys
import tempfile
import threading
import time
import unittest
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import matroska
import media
import wire
from archive import Archive, wait_until

# Said within this, and seen through the index a moment later.
SAID_S = 5
SEEN_S = 2


class Feed:
    """One side of a recorded call, sent at its own pace on a thread."""

    def __init__(self, stream, source, session_began):
        self.stream = stream
        self.source = source
        self._began = session_began
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.sent = 0

    def start(self, after=0):
        self.sent = after
        self._thread.start()
        return self

    def _run(self):
        for batch in self.source.batches(self.sent, size=5):
            due = self._began + batch.packets[-1].dts_us / 1e6
            if self._end.wait(max(0.0, due - time.monotonic())):
                return
            self.stream.send(packets=batch)
            self.sent = batch.packets[-1].sequence

    def stop(self):
        self._end.set()
        self._thread.join()


class StatesTest(unittest.TestCase):

    def setUp(self):
        self.archive = self.enterContext(Archive())
        self.session = str(uuid.uuid4())
        self.resident = wire.Source(matroska.read(media.RESIDENT),
                                    wire.RESIDENT, 1)
        self.clerk = wire.Source(matroska.read(media.CLERK), wire.CLERK, 3)

    def open(self, *sources):
        channel = wire.channel(self.archive.profile("gateway"),
                               self.archive.address("ingest"))
        self.addCleanup(channel.close)
        stream = wire.Stream(channel)
        stream.send(open=wire.open_message(self.session, sources))
        stream.wait_for("opened")
        return stream

    def feed(self, stream, source, began, after=0):
        feed = Feed(stream, source, began).start(after)
        self.addCleanup(feed.stop)
        return feed

    def shown(self):
        done = self.archive.run("auditor", "show", self.session, "--json")
        return done if done.code == 0 else None

    def state(self):
        done = self.shown()
        return done and done.of_type("session")[0]["state"]

    def wait_state(self, state, timeout_s):
        wait_until(lambda: self.state() == state, timeout_s, state)

    def events(self):
        return [e["type"] for e in self.shown().of_type("event")]

    def test_a_side_that_never_comes_and_then_does(self):
        began = time.monotonic()
        stream = self.open(self.resident)
        feed = self.feed(stream, self.resident, began)
        wait_until(lambda: self.state() == "open", SEEN_S, "open")
        self.wait_state("degraded", SAID_S + SEEN_S)
        self.assertLess(time.monotonic() - began, SAID_S + SEEN_S)
        self.assertIn("session_degraded", self.events())
        found = self.archive.query('event = "session_degraded"')
        self.assertEqual([s["session"] for s in found], [self.session])
        late = self.open(self.clerk)
        late_feed = self.feed(late, self.clerk, time.monotonic())
        self.wait_state("recovered", SEEN_S)
        self.assertIn("session_recovered", self.events())
        feed.stop()
        late_feed.stop()
        stream.send(close=wire.ingest.Close(
            more_sides_expected=True,
            sides=[wire.ingest.CloseSide(side=wire.RESIDENT,
                                         final_sequence=feed.sent)]))
        late.send(close=wire.close_message((wire.CLERK, late_feed.sent, 0)))
        late.wait_for("receipt")
        self.wait_state("closed", SEEN_S)

    def test_the_writer_dies_and_nobody_comes_back_for_a_while(self):
        began = time.monotonic()
        stream = self.open(self.resident, self.clerk)
        feeds = [self.feed(stream, s, began)
                 for s in (self.resident, self.clerk)]
        stream.wait_durable(wire.RESIDENT, 20)
        stream.wait_durable(wire.CLERK, 20)
        self.archive.kill()
        for feed in feeds:
            feed.stop()
        self.archive.start()
        self.wait_state("degraded", SAID_S + SEEN_S)
        stream = self.open(self.resident, self.clerk)
        self.wait_state("recovered", SEEN_S)
        opened = stream.wait_for("opened")
        self.assertTrue(opened.resumed)
        self.assertTrue(opened.HasField("start_time"))
        for progress in opened.progress:
            self.assertGreaterEqual(progress.sequence, 20)
        stream.cancel()

    def test_announced_and_never_sent(self):
        stream = self.open(self.resident, self.clerk)
        stream.send(notes=wire.ingest.Notes(
            side=wire.CLERK,
            notes=[wire.tag_note(1, "ticket", ["A052"])]))
        wait_until(lambda: stream.durable(wire.CLERK, notes=True) == 1, 5,
                   "the tag to be durable")
        self.archive.wait_indexed()
        found = self.archive.query('ticket = "A052"')
        self.assertEqual([s["session"] for s in found], [self.session])
        self.wait_state("degraded", SAID_S + SEEN_S)
        # It does not stand in the way of those that have media.
        whole = str(uuid.uuid4())
        self.archive.push(f"--resident={media.RESIDENT}",
                          f"--clerk={media.CLERK}", f"--session={whole}",
                          "--tag", "ticket=A052")
        self.archive.wait_indexed()
        out = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        done = self.archive.export("--filter", 'ticket = "A052"', "-o",
                                   out / "all")
        self.assertEqual([p.stem for p in (out / "all").iterdir()], [whole])
        self.assertEqual(done.summary["without_media"], 1)
        stream.send(close=wire.close_message(
            (wire.RESIDENT, 0, 0), (wire.CLERK, 0, 1)))
        stream.wait_for("receipt")
        self.wait_state("closed", SEEN_S)
        self.assertEqual(
            sorted(s["session"]
                   for s in self.archive.query('ticket = "A052"')),
            sorted([self.session, whole]))


if __name__ == "__main__":
    unittest.main()
