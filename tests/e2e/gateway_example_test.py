"""The example media server: a whole call is archived while it runs."""

import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import archive as archives
import media
from archive import Archive, wait_until

SERVER = archives.BIN / "tools/gateway/example/media_server"
CALL_S = 90
# SendPacket takes no longer than memory does; this is far from any wait for a
# disk or a network, on a busy machine too.
HELD_UP_US = 1_000_000


class GatewayExampleTest(unittest.TestCase):

    def setUp(self):
        self.archive = Archive()
        self.addCleanup(self.archive.close)
        self.archive.init()
        self.archive.start()
        self.spool = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="diptych-example-"))) / "spool"

    def start(self):
        process = subprocess.Popen(
            [str(SERVER), str(self.archive.dir / "run" / "ingest.address"),
             str(self.archive.profile("gateway")), str(self.spool),
             str(media.RESIDENT), str(media.CLERK)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)

        def end():
            process.kill()
            process.communicate()
        self.addCleanup(end)
        # Said before the first packet.
        return process, process.stdout.readline().split()[1]

    def finish(self, process, session):
        out, err = process.communicate(timeout=CALL_S)
        self.assertEqual(process.returncode, 0, out + err)
        sides = {}
        for side in ("resident", "clerk"):
            line = re.search(rf"^{side}: (.*)$", out, re.M)[1]
            sides[side] = {name: int(count) for name, count in
                           re.findall(r"([a-z ]+?) (\d+)(?:, |$)", line)}
            self.assertGreater(sides[side]["accepted"], 500)
            self.assertEqual(sides[side]["acknowledged"],
                             sides[side]["accepted"])
            self.assertEqual(sides[side]["dropped"], 0)
            self.assertGreater(sides[side]["statements"], 0)
        self.archive.wait_indexed()
        shown = self.archive.ok("auditor", "show", session)
        self.assertEqual(shown.of_type("gap"), [])
        self.assertEqual(list(self.spool.glob("*/*.spool")), [])
        return out, sides

    def test_a_call(self):
        process, session = self.start()
        out, _ = self.finish(process, session)
        self.assertLess(int(re.search(r"longest call (\d+) us", out)[1]),
                        HELD_UP_US)
        path = self.spool.parent / "resident.mkv"
        self.archive.export(session, "--side", "resident", "-o", path)
        wanted = media.probe(media.RESIDENT)["packets"]
        found = media.probe(path)["packets"]
        for kind in ("video", "audio"):
            self.assertEqual([p["data_hash"] for p in found
                              if p["codec_type"] == kind],
                             [p["data_hash"] for p in wanted
                              if p["codec_type"] == kind])

    def test_the_archive_dies_in_mid_call(self):
        process, session = self.start()
        wait_until(lambda: process.poll() is not None
                   or self.archive.run("auditor", "show", session).code == 0,
                   30, "the session to begin")
        self.archive.kill()
        wait_until(lambda: sum(f.stat().st_size
                               for f in self.spool.glob("*/*.spool")) > 60_000
                   or process.poll() is not None, 30, "the spool to fill")
        self.assertIsNone(process.poll())
        self.archive.start()
        out, sides = self.finish(process, session)
        self.assertIn("reconnects 1", out)
        self.assertGreater(sum(s["spooled"] for s in sides.values()), 0)


if __name__ == "__main__":
    unittest.main()
