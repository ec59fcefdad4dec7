"""How the daemon serves, and how it stops: SIGTERM loses nothing, exit 0."""

import pathlib
import subprocess
import sys
import unittest
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import grpc

import matroska
import media
import wire
from archive import DIPTYCHD, Archive


class DrainTest(unittest.TestCase):

    def setUp(self):
        self.archive = Archive()
        self.addCleanup(self.archive.close)
        self.archive.init()
        self.archive.start()

    def connect(self):
        channel = wire.channel(self.archive.profile("gateway"),
                               self.archive.address("ingest"))
        self.addCleanup(channel.close)
        return channel

    def test_open_session_is_told_and_goes_on_later(self):
        source = wire.Source(matroska.read(media.CLERK), wire.CLERK, 1)
        session = str(uuid.uuid4())
        stream = wire.Stream(self.connect())
        stream.send(open=wire.open_message(session, [source]))
        stream.wait_for("opened")
        batches = list(source.batches())
        for batch in batches[:30]:
            stream.send(packets=batch)
        stream.wait_durable(wire.CLERK, 400)
        self.assertEqual(self.archive.stop(), 0)
        stream.wait_for("draining")
        code, _, detail = stream.wait_status()
        self.assertEqual(code, grpc.StatusCode.UNAVAILABLE)
        self.assertEqual(detail.reason, "DRAINING")
        self.assertTrue(detail.retryable)
        # What the server had read by then; what was still on its way, the
        # gateway has.
        told = stream.durable(wire.CLERK)
        self.assertGreaterEqual(told, 400)

        checked = self.archive.check("--read-data")
        self.assertEqual(checked.code, 0, str(checked))
        self.archive.start()
        again = wire.Stream(self.connect())
        again.send(open=wire.open_message(session, [source]))
        opened = again.wait_for("opened")
        self.assertTrue(opened.resumed)
        self.assertEqual(opened.progress[0].sequence, told)
        # From the beginning: what is there already is acknowledged again.
        for batch in batches:
            again.send(packets=batch)
        last = len(source.packets)
        again.send(close=wire.close_message((wire.CLERK, last, 0)))
        totals = {s.side: s.packets
                  for s in again.wait_for("receipt").sides}
        self.assertEqual(totals[wire.CLERK], last)

    def test_address_files_go(self):
        self.assertEqual(self.archive.stop(), 0)
        self.assertEqual(list((self.archive.dir / "run").iterdir()), [])


class ServingTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.archive = Archive()
        cls.addClassCleanup(cls.archive.close)
        cls.archive.init()
        cls.archive.start()

    def connect(self, role, name):
        channel = wire.channel(self.archive.profile(role),
                               self.archive.address(name))
        self.addCleanup(channel.close)
        return channel

    def test_second_daemon_is_refused(self):
        run = subprocess.run(
            [str(DIPTYCHD), f"--data_dir={self.archive.dir}",
             "--ingest_listen=127.0.0.1:0", "--audit_listen=127.0.0.1:0"],
            capture_output=True, text=True, timeout=wire.WAIT_S, check=False)
        self.assertEqual(run.returncode, 1)
        self.assertIn("lock", run.stderr)
        # The first one goes on, and clients still find it.
        self.assertEqual(self.archive.query('clerk = "C0231"'), [])

    def test_health(self):
        for role, name, service in (
                ("gateway", "ingest", b""), ("auditor", "audit", b""),
                ("operator", "audit", b"")):
            with self.subTest(f"{role} {name}"):
                check = self.connect(role, name).unary_unary(
                    "/grpc.health.v1.Health/Check")
                # HealthCheckResponse{status: SERVING}
                self.assertEqual(check(service, timeout=wire.WAIT_S),
                                 b"\x08\x01")

    def test_reflection(self):
        for role, name, service in (
                ("gateway", "ingest", b"diptych.api.v1.Ingest"),
                ("auditor", "audit", b"diptych.api.v1.Catalog"),
                ("auditor", "audit", b"diptych.api.v1.Media")):
            with self.subTest(service):
                info = self.connect(role, name).stream_stream(
                    "/grpc.reflection.v1alpha.ServerReflection/"
                    "ServerReflectionInfo")
                # ServerReflectionRequest{list_services: ""}
                answers = info(iter([b"\x3a\x00"]), timeout=wire.WAIT_S)
                self.assertIn(service, next(iter(answers)))


if __name__ == "__main__":
    unittest.main()
