"""No byte is read unlogged."""

import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import grpc

import log_files
import media
import wire
from archive import Archive, wait_until

_TIMEOUT_S = 20


class AccessRecordTest(unittest.TestCase):
    """With the two roles as two daemons, so that one can be killed alone."""

    def setUp(self):
        self.writer = Archive()
        self.addCleanup(self.writer.close)
        self.writer.init()
        self.writer.start("--roles=archiver")
        self.reader = Archive(keep_folder=self.writer.base)
        self.addCleanup(self.reader.close)
        self.reader.start("--roles=indexer")
        done = self.writer.push(
            "--resident", media.RESIDENT, "--clerk", media.CLERK,
            "--tag", "clerk=C0231",
            "--attach", f"document_captured@3s={media.DOCUMENT}")
        self.session = done.of_type("receipt")[0]["session"]
        self.reader.wait_indexed()
        self.out = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="diptych-out-")))
        channel = wire.channel(self.reader.profile("auditor"),
                               self.reader.address("audit"))
        self.addCleanup(channel.close)
        self.catalog = wire.catalog_grpc.CatalogStub(channel)
        self.media = wire.media_grpc.MediaStub(channel)

    def calls(self):
        """Every way to learn something of a session."""
        attachment = 1
        return {
            "ListSessions": lambda: self.catalog.ListSessions(
                wire.catalog.ListSessionsRequest(filter='clerk = "C0231"'),
                timeout=_TIMEOUT_S),
            "ListSegments": lambda: self.catalog.ListSegments(
                wire.catalog.ListSegmentsRequest(filter='clerk = "C0231"'),
                timeout=_TIMEOUT_S),
            "CountSessions": lambda: self.catalog.CountSessions(
                wire.catalog.CountSessionsRequest(filter='clerk = "C0231"'),
                timeout=_TIMEOUT_S),
            "Summarize": lambda: self.catalog.Summarize(
                wire.catalog.SummarizeRequest(filter='clerk = "C0231"',
                                              keys=["clerk", "item"]),
                timeout=_TIMEOUT_S),
            "GetSession": lambda: self.catalog.GetSession(
                wire.catalog.GetSessionRequest(session_id=self.session),
                timeout=_TIMEOUT_S),
            "Read": lambda: list(self.media.Read(
                wire.media.ReadRequest(
                    session_id=self.session, purpose="a test",
                    container=wire.media.CONTAINER_MATROSKA),
                timeout=_TIMEOUT_S)),
            "ReadAttachment": lambda: list(self.media.ReadAttachment(
                wire.media.ReadAttachmentRequest(
                    session_id=self.session, attachment_id=attachment,
                    purpose="a test"), timeout=_TIMEOUT_S)),
        }

    def access_records(self):
        return log_files.count(self.writer.dir / "volumes", log_files.ACCESS)

    def test_every_read_leaves_its_record(self):
        for name, call in self.calls().items():
            with self.subTest(name):
                before = self.access_records()
                call()
                self.assertEqual(self.access_records(), before + 1)

    def test_record_is_durable_before_the_first_byte(self):
        answers = self.media.Read(
            wire.media.ReadRequest(
                session_id=self.session, purpose="a test",
                container=wire.media.CONTAINER_MATROSKA),
            timeout=_TIMEOUT_S)
        started = next(iter(answers)).started
        position = started.access_log_position
        found = [r for r in log_files.records(self.writer.dir / "volumes")
                 if r.position == position]
        answers.cancel()
        self.assertEqual([r.type for r in found], [log_files.ACCESS])

    def test_status_reads_nothing_and_leaves_none(self):
        before = self.access_records()
        self.reader.wait_indexed()
        self.assertEqual(self.access_records(), before)

    def test_a_read_without_purpose_is_refused(self):
        before = self.access_records()
        with self.assertRaises(grpc.RpcError) as caught:
            list(self.media.Read(
                wire.media.ReadRequest(
                    session_id=self.session,
                    container=wire.media.CONTAINER_MATROSKA),
                timeout=_TIMEOUT_S))
        code, _, detail = wire.status_of(caught.exception)
        self.assertEqual(code, grpc.StatusCode.INVALID_ARGUMENT)
        self.assertEqual(detail.field, "purpose")
        self.assertEqual(self.access_records(), before)

    def test_nothing_is_read_while_the_writer_is_dead(self):
        self.writer.kill()
        for name, call in self.calls().items():
            with self.subTest(name):
                with self.assertRaises(grpc.RpcError) as caught:
                    call()
                self.assertEqual(caught.exception.code(),
                                 grpc.StatusCode.UNAVAILABLE)
        received = []
        with self.assertRaises(grpc.RpcError):
            for answer in self.media.Read(
                    wire.media.ReadRequest(
                        session_id=self.session, purpose="a test",
                        container=wire.media.CONTAINER_MATROSKA),
                    timeout=_TIMEOUT_S):
                received.append(answer)
        self.assertEqual(received, [])
        path = self.out / "x.mkv"
        done = self.reader.run("auditor", "export", self.session, "-o", path,
                               "--purpose", "a test")
        self.assertEqual(done.code, 5, str(done))
        self.assertEqual(list(self.out.iterdir()), [])
        # And again once it is back.
        self.writer.start("--roles=archiver")

        def works():
            try:
                self.calls()["ListSessions"]()
                return True
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE)
                return False
        wait_until(works, 20, "the reader to find the writer again")


if __name__ == "__main__":
    unittest.main()
