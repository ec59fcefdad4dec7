"""Sessions are found while they are live, and by what they have just become."""

import pathlib
import sys
import unittest
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import matroska
import media
import wire
from archive import Archive, wait_until

_TIMEOUT_S = 20


class LiveIndexTest(unittest.TestCase):

    def setUp(self):
        self.archive = Archive()
        self.addCleanup(self.archive.close)
        self.archive.init()
        self.archive.start()
        gateway = wire.channel(self.archive.profile("gateway"),
                               self.archive.address("ingest"))
        auditor = wire.channel(self.archive.profile("auditor"),
                               self.archive.address("audit"))
        self.addCleanup(gateway.close)
        self.addCleanup(auditor.close)
        self.stream = wire.Stream(gateway)
        self.catalog = wire.catalog_grpc.CatalogStub(auditor)
        self.source = wire.Source(matroska.read(media.CLERK), wire.CLERK, 1)
        self.session = str(uuid.uuid4())
        self.notes = 0

    def tag(self, key, value, at_us):
        self.notes += 1
        self.stream.send(notes=wire.ingest.Notes(
            side=wire.CLERK,
            notes=[wire.tag_note(self.notes, key, [value], at_us)]))
        self.stream.wait_note_durable(wire.CLERK, self.notes)

    def send_until(self, until_us, after=0):
        """Returns the last number that was sent, once it is durable."""
        last = after
        for batch in self.source.batches(after):
            if batch.packets[0].pts_us >= until_us:
                break
            self.stream.send(packets=batch)
            last = batch.packets[-1].sequence
        # The second that is open is sealed by the time that passes.
        self.stream.wait_durable(wire.CLERK, last)
        return last

    def sessions(self, filter_text):
        answer = self.catalog.ListSessions(
            wire.catalog.ListSessionsRequest(filter=filter_text),
            timeout=_TIMEOUT_S)
        return {s.session_id: s for s in answer.sessions}

    def status(self):
        return self.catalog.GetIndexStatus(
            wire.catalog.GetIndexStatusRequest(), timeout=_TIMEOUT_S)

    def test_what_is_durable_is_found_at_once(self):
        self.stream.send(open=wire.open_message(self.session, [self.source]))
        self.stream.wait_for("opened")
        self.tag("item", "0417", 0)
        # An answer waits for what was durable when it was asked for.
        self.assertIn(self.session, self.sessions('item = "0417"'))
        last = self.send_until(4_000_000)
        self.assertIn(self.session, self.sessions('state = open'))
        # From here on it is about something else.
        self.tag("item", "0031", 6_000_000)
        found = self.sessions('item = "0031"')
        self.assertIn(self.session, found)
        self.send_until(11_000_000, last)
        found = self.sessions('item = "0031"')[self.session]
        self.assertGreaterEqual(found.matched[0].start_us, 0)
        # What holds for the whole session finds its beginning too.
        self.tag("rating", "2", 8_000_000)
        whole = self.sessions("rating <= 2")[self.session]
        self.assertLessEqual(whole.matched[0].start_us, 0)
        self.assertNotIn(self.session, self.sessions('rating > 2'))
        # What was replaced never was.
        self.tag("rating", "5", 8_500_000)
        self.assertNotIn(self.session, self.sessions("rating <= 2"))
        self.assertIn(self.session, self.sessions("rating > 2"))
        # A session that is found for one item is not shown for all its time.
        first = self.sessions('item = "0417"')[self.session]
        second = self.sessions('item = "0031"')[self.session]
        self.assertLess(first.matched[0].start_us, second.matched[0].start_us)
        self.assertLessEqual(first.matched[-1].end_us,
                             second.matched[-1].end_us)
        self.stream.cancel()

    def test_status_says_how_far_behind_it_is(self):
        self.stream.send(open=wire.open_message(self.session, [self.source]))
        self.stream.wait_for("opened")
        self.send_until(3_000_000)
        wait_until(lambda: self.status().lag_us == 0, _TIMEOUT_S,
                   "the index to be up")
        now = self.status()
        self.assertGreaterEqual(now.worst_lag_us, 0)
        self.assertEqual(now.indexed_position, now.log_position)
        shown = self.archive.ok("operator", "index", "status")
        self.assertIn("lag_s", shown.summary)
        self.assertIn("worst_lag_s", shown.summary)
        self.stream.cancel()


if __name__ == "__main__":
    unittest.main()
