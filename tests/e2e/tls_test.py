"""Who may do what is in the certificate, from the first day."""

import datetime
import json
import os
import pathlib
import subprocess
import sys
import unittest
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

import archive
import media
import wire
from archive import Archive

_TIMEOUT_S = 15


def _pem(key):
    return key.private_bytes(serialization.Encoding.PEM,
                             serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


def make_certificate(uris, ca_key=None, ca=None):
    """(key PEM, certificate PEM) of a client; self-signed without a CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    now = datetime.datetime.utcnow()
    builder = (x509.CertificateBuilder()
               .subject_name(name)
               .issuer_name(ca.subject if ca else name)
               .public_key(key.public_key())
               .serial_number(x509.random_serial_number())
               .not_valid_before(now - datetime.timedelta(hours=1))
               .not_valid_after(now + datetime.timedelta(days=1))
               .add_extension(x509.BasicConstraints(not ca, None), True)
               .add_extension(x509.ExtendedKeyUsage(
                   [ExtendedKeyUsageOID.CLIENT_AUTH]), False))
    if uris:
        builder = builder.add_extension(x509.SubjectAlternativeName(
            [x509.UniformResourceIdentifier(u) for u in uris]), False)
    if ca:
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(
                ca.public_key()), False)
    certificate = builder.sign(ca_key or key, hashes.SHA256())
    return _pem(key), certificate.public_bytes(serialization.Encoding.PEM)


class TlsTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.archive = Archive()
        cls.addClassCleanup(cls.archive.close)
        cls.archive.init()
        cls.archive.start()
        cls.ca = (cls.archive.profile("gateway") / "ca.crt").read_bytes()

    # ---- Calls: each returns a gRPC status code ----

    def code_of(self, call):
        try:
            call()
            return grpc.StatusCode.OK
        except grpc.RpcError as error:
            return error.code()

    def connect(self, name, key, certificate, ca=None):
        channel = wire.channel_with(self.archive.address(name), ca or self.ca,
                                    key, certificate)
        self.addCleanup(channel.close)
        return channel

    def connect_as(self, role, name):
        channel = wire.channel(self.archive.profile(role),
                               self.archive.address(name))
        self.addCleanup(channel.close)
        return channel

    def list_sessions(self, channel):
        return self.code_of(
            lambda: wire.catalog_grpc.CatalogStub(channel).ListSessions(
                wire.catalog.ListSessionsRequest(filter='clerk = "x"'),
                timeout=_TIMEOUT_S))

    def index_status(self, channel):
        return self.code_of(
            lambda: wire.catalog_grpc.CatalogStub(channel).GetIndexStatus(
                wire.catalog.GetIndexStatusRequest(), timeout=_TIMEOUT_S))

    def read(self, channel):
        return self.code_of(lambda: list(
            wire.media_grpc.MediaStub(channel).Read(
                wire.media.ReadRequest(
                    session_id=str(uuid.uuid4()), purpose="a test",
                    container=wire.media.CONTAINER_MATROSKA),
                timeout=_TIMEOUT_S)))

    def record(self, channel):
        track = wire.common.Track(
            track_id=1, side=wire.CLERK, codec=wire.common.CODEC_VP8,
            source=wire.common.SOURCE_CAMERA, width=64, height=64)
        stream = wire.Stream(channel)
        stream.send(open=wire.ingest.Open(
            session_id=str(uuid.uuid4()),
            sides=[wire.ingest.OpenSide(side=wire.CLERK, tracks=[track])]))
        try:
            stream.wait_for("opened")
        except AssertionError:
            return stream.wait_status()[0]
        stream.cancel()
        return grpc.StatusCode.OK

    def follow(self, channel):
        def call():
            answers = wire.log_grpc.ArchiveLogStub(channel).Follow(
                wire.archive_log.FollowRequest(), timeout=_TIMEOUT_S)
            next(iter(answers))
            answers.cancel()
        return self.code_of(call)

    def append_access(self, channel):
        return self.code_of(
            lambda: wire.log_grpc.ArchiveLogStub(channel).AppendAccess(
                wire.archive_log.AppendAccessRequest(sealed_access=b"x"),
                timeout=_TIMEOUT_S))

    # ---- Roles ----

    def test_roles(self):
        ok = grpc.StatusCode.OK
        no = grpc.StatusCode.PERMISSION_DENIED
        missing = grpc.StatusCode.NOT_FOUND
        for role, port, call, expected in (
                ("gateway", "ingest", self.record, ok),
                ("gateway", "ingest", self.follow, no),
                ("gateway", "ingest", self.append_access, no),
                ("gateway", "audit", self.list_sessions, no),
                ("gateway", "audit", self.index_status, no),
                ("gateway", "audit", self.read, no),
                ("auditor", "ingest", self.record, no),
                ("auditor", "ingest", self.follow, no),
                ("auditor", "ingest", self.append_access, no),
                ("auditor", "audit", self.list_sessions, ok),
                ("auditor", "audit", self.read, missing),
                ("operator", "ingest", self.record, no),
                ("operator", "ingest", self.append_access, no),
                ("operator", "audit", self.list_sessions, no),
                ("operator", "audit", self.read, no),
                ("operator", "audit", self.index_status, ok)):
            with self.subTest(f"{role} {call.__name__}"):
                self.assertEqual(call(self.connect_as(role, port)), expected)

    def test_indexer_only_follows(self):
        key = (self.archive.keys / "indexer-client.key").read_bytes()
        certificate = (self.archive.keys / "indexer-client.crt").read_bytes()
        ingest = self.connect("ingest", key, certificate)
        self.assertEqual(self.follow(ingest), grpc.StatusCode.OK)
        self.assertEqual(self.record(ingest),
                         grpc.StatusCode.PERMISSION_DENIED)
        audit = self.connect("audit", key, certificate)
        self.assertEqual(self.list_sessions(audit),
                         grpc.StatusCode.PERMISSION_DENIED)

    def test_exit_code_of_the_wrong_role(self):
        done = self.archive.run("gateway", "query", 'clerk = "x"')
        self.assertEqual(done.code, 4, str(done))
        done = self.archive.run("auditor", "push", "--fast",
                                "--resident", media.RESIDENT,
                                "--clerk", media.CLERK, "--tag", "clerk=x")
        self.assertEqual(done.code, 4, str(done))

    # ---- Certificates ----

    def both_ports(self, key, certificate):
        return (self.record(self.connect("ingest", key, certificate)),
                self.list_sessions(self.connect("audit", key, certificate)))

    def test_no_certificate(self):
        self.assertEqual(self.both_ports(None, None),
                         (grpc.StatusCode.UNAVAILABLE,) * 2)

    def test_unknown_authority(self):
        archive_id = self.archive_id()
        pair = make_certificate([f"diptych://{archive_id}/auditor/mallory"])
        self.assertEqual(self.both_ports(*pair),
                         (grpc.StatusCode.UNAVAILABLE,) * 2)

    def test_certificate_of_another_archive(self):
        other = Archive()
        self.addCleanup(other.close)
        other.init()
        profile = other.profile("auditor")
        pair = ((profile / "client.key").read_bytes(),
                (profile / "client.crt").read_bytes())
        self.assertEqual(self.both_ports(*pair),
                         (grpc.StatusCode.UNAVAILABLE,) * 2)
        # The client looks at the server's certificate, too.
        ours = self.archive.profile("auditor")
        channel = self.connect(
            "audit", (ours / "client.key").read_bytes(),
            (ours / "client.crt").read_bytes(),
            ca=(profile / "ca.crt").read_bytes())
        self.assertEqual(self.list_sessions(channel),
                         grpc.StatusCode.UNAVAILABLE)

    def archive_id(self):
        return json.loads((self.archive.profile("auditor") / "profile.json"
                           ).read_text())["archive_id"]

    def issued(self, *uris):
        """A certificate by the archive's own authority."""
        ca_key = serialization.load_pem_private_key(
            (self.archive.keys / "ca.key").read_bytes(), None)
        return make_certificate(uris, ca_key,
                                x509.load_pem_x509_certificate(self.ca))

    def test_names_in_certificates(self):
        archive_id = self.archive_id()
        no_name = grpc.StatusCode.UNAUTHENTICATED
        refused = grpc.StatusCode.PERMISSION_DENIED
        ok = grpc.StatusCode.OK
        auditor = f"diptych://{archive_id}/auditor/second"
        for uris, expected in (
                ((auditor,), ok),
                ((), no_name),
                (("https://example.com/auditor",), no_name),
                ((f"diptych://{archive_id}/emperor/x",), no_name),
                ((auditor, f"diptych://{archive_id}/gateway/x"), no_name),
                ((f"diptych://{uuid.uuid4()}/auditor/x",), refused)):
            with self.subTest(uris):
                channel = self.connect("audit", *self.issued(*uris))
                self.assertEqual(self.list_sessions(channel), expected)

    # ---- TLS itself ----

    def s_client(self, name, version):
        profile = self.archive.profile(
            "gateway" if name == "ingest" else "auditor")
        run = subprocess.run(
            ["openssl", "s_client", version, "-alpn", "h2", "-connect",
             self.archive.address(name), "-CAfile", profile / "ca.crt",
             "-cert", profile / "client.crt", "-key", profile / "client.key",
             "-verify_return_error"],
            input=b"", capture_output=True, timeout=_TIMEOUT_S, check=False)
        # Mixed with the HTTP/2 frames that the server sends first.
        return (run.stdout + run.stderr).decode(errors="replace")

    def test_only_tls_1_3(self):
        for name in ("ingest", "audit"):
            with self.subTest(name):
                new = self.s_client(name, "-tls1_3")
                self.assertIn("New, TLSv1.3, Cipher is TLS_", new)
                old = self.s_client(name, "-tls1_2")
                self.assertIn("Cipher is (NONE)", old)

    # ---- The writer can't read ----

    def test_writer_serves_without_the_key_folder(self):
        lone = Archive()
        self.addCleanup(lone.close)
        lone.init()
        hidden = lone.base / "hidden.keys"
        lone.keys.rename(hidden)
        lone.start("--roles=archiver")
        lone.push("--resident", media.RESIDENT, "--clerk", media.CLERK,
                  "--tag", "clerk=C0231")
        self.assertEqual(lone.stop(), 0)
        hidden.rename(lone.keys)
        # What it wrote is as readable as ever to who has the keys.
        lone.start()
        lone.wait_indexed()
        self.assertEqual(len(lone.query('clerk = "C0231"')), 1)

    def test_two_processes_and_only_one_holds_keys(self):
        writer = self.archive.pid_serving("ingest")
        reader = self.archive.pid_serving("audit")
        self.assertNotEqual(writer, reader)
        if os.geteuid() != 0:
            self.skipTest("only root may look at what the daemon has open")
        keys = str(self.archive.keys)
        for path in archive.open_files(writer):
            self.assertFalse(path.startswith(keys), path)

    def test_key_files_are_for_their_owner_alone(self):
        secrets = [*self.archive.keys.iterdir(),
                   self.archive.dir / "tls/ingest.key",
                   *(self.archive.profile(r) / "client.key"
                     for r in ("gateway", "auditor", "operator"))]
        for path in secrets:
            if path.suffix == ".crt":
                continue
            with self.subTest(path.name):
                self.assertEqual(path.stat().st_mode & 0o077, 0)


if __name__ == "__main__":
    unittest.main()
