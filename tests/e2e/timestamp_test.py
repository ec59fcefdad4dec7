"""Time stamps of checkpoints (RFC 3161), from an authority made with openssl."""

import http.server
import pathlib
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import media
import notes
from archive import Archive

_CONFIG = """
[ tsa ]
default_tsa = tsa1
[ tsa1 ]
dir = {folder}
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/tsa.crt
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ordering = no
tsa_name = no
ess_cert_id_chain = no
"""


def openssl(*arguments, **options):
    return subprocess.run(["openssl", *map(str, arguments)], check=True,
                          capture_output=True, timeout=60, **options).stdout


class Authority:
    """`openssl ts -reply` behind HTTP."""

    def __init__(self, folder):
        self.folder = folder
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=test CA",
                "-days", "2", "-keyout", folder / "ca.key", "-out",
                folder / "ca.crt")
        openssl("req", "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=test TSA",
                "-keyout", folder / "tsa.key", "-out", folder / "tsa.csr")
        (folder / "ext").write_text(
            "extendedKeyUsage=critical,timeStamping\n"
            "keyUsage=critical,digitalSignature\n")
        openssl("x509", "-req", "-in", folder / "tsa.csr", "-CA",
                folder / "ca.crt", "-CAkey", folder / "ca.key",
                "-CAcreateserial", "-days", "2", "-extfile", folder / "ext",
                "-out", folder / "tsa.crt")
        (folder / "serial").write_text("01\n")
        (folder / "config").write_text(_CONFIG.format(folder=folder))
        self.ca = folder / "ca.crt"
        # What a test puts in an answer's place: takes the request, gives
        # (status, content type, body).
        self.answer = self.reply
        authority = self

        class Handler(http.server.BaseHTTPRequestHandler):

            def do_POST(self):
                request = self.rfile.read(int(self.headers["Content-Length"]))
                status, kind, body = authority.answer(request)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0),
                                                       Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/tsa"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def reply(self, request):
        query = self.folder / "query"
        query.write_bytes(request)
        answer = openssl("ts", "-reply", "-config", self.folder / "config",
                         "-queryfile", query)
        return 200, "application/timestamp-reply", answer


class TimestampTest(unittest.TestCase):

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="diptych-tsa-")))
        self.authority = Authority(self.folder)
        self.addCleanup(self.authority.close)
        self.archive = Archive()
        self.addCleanup(self.archive.close)
        self.archive.init()
        self.archive.start()
        self.archive.push("--resident", media.VP8_RESIDENT, "--clerk",
                          media.VP8_CLERK)
        self.kept = self.archive.dir / "tlog/timestamps"

    def stamp(self, *flags, role="operator"):
        return self.archive.run(role, "log", "timestamp", "--tsa",
                                self.authority.url, "--json", *flags)

    def test_openssl_verifies_what_is_kept(self):
        out = self.folder / "stamp.tsr"
        done = self.stamp("--out", out, "--tsa-ca", self.authority.ca)
        self.assertEqual(done.code, 0, str(done))
        self.assertTrue(done.summary["verified"])
        size = done.summary["tree_size"]
        stored = self.kept / f"{size}.tsr"
        self.assertEqual(stored.read_bytes(), out.read_bytes())
        text = pathlib.Path(f"{out}.checkpoint").read_bytes()
        self.assertEqual((self.kept / f"{size}.checkpoint").read_bytes(), text)
        self.assertEqual(notes.Checkpoint(text.decode()).size, size)
        openssl("ts", "-verify", "-in", stored, "-data",
                self.kept / f"{size}.checkpoint", "-CAfile", self.authority.ca)
        # The same checkpoint again: the first stamp proves most.
        first = stored.read_bytes()
        self.assertEqual(self.stamp().code, 0)
        self.assertEqual(stored.read_bytes(), first)
        # A stamp file that is there is not written over.
        done = self.stamp("--out", out)
        self.assertEqual(done.code, 1, str(done))

    def test_false_answers_are_not_taken(self):
        earlier = self.authority.reply(
            openssl("ts", "-query", "-data", self.authority.ca, "-sha256",
                    "-cert"))
        good = self.authority.reply
        kind = "application/timestamp-reply"
        cases = (
            (lambda _: earlier, 6),
            (lambda _: (200, kind, earlier[2][:-10]), 5),
            (lambda _: (200, kind, b"\x30\x03\x02\x01\x00"), 6),
            (lambda _: (200, "text/html", b"<p>hello"), 5),
            (lambda _: (500, "text/plain", b"no"), 5),
            (lambda r: (200, kind, good(r)[2] + bytes(100_000)), 5),
            # Refused by the authority: it knows no such digest.
            (lambda _: good(openssl("ts", "-query", "-data",
                                    self.authority.ca, "-sha512")), 6),
        )
        for number, (answer, code) in enumerate(cases):
            with self.subTest(number):
                self.authority.answer = answer
                done = self.stamp()
                self.assertIn(done.code, (code,), str(done))
                self.assertFalse(self.kept.exists())

    def test_another_authority_is_noticed(self):
        other = self.folder / "other"
        other.mkdir()
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=other CA",
                "-days", "2", "-keyout", other / "ca.key", "-out",
                other / "ca.crt")
        done = self.stamp("--tsa-ca", other / "ca.crt")
        self.assertEqual(done.code, 6, str(done))
        self.assertFalse(self.kept.exists())

    def test_operators_alone_give_stamps(self):
        for role in ("auditor", "gateway", "witness"):
            done = self.stamp(role=role)
            self.assertEqual(done.code, 4, str(done))
        self.assertFalse(self.kept.exists())

    def test_wrong_use(self):
        for url in ("ftp://127.0.0.1/", "https://127.0.0.1/tsa", "127.0.0.1",
                    "http://"):
            done = self.archive.run("operator", "log", "timestamp", "--tsa",
                                    url)
            self.assertEqual(done.code, 2, str(done))
        self.authority.close()
        done = self.stamp()
        self.assertEqual(done.code, 5, str(done))


if __name__ == "__main__":
    unittest.main()
