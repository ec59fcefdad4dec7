"""A gateway in Node, with nothing of ours but the .proto files."""

import base64
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import matroska
import media
import npm
import tree
import wire
from archive import Archive


def _as_json(source):
    return {
        "side": source.side,
        "tracks": [{
            "track_id": t.track_id, "side": t.side, "source": t.source,
            "codec": t.codec, "width": t.width, "height": t.height,
            "codec_config": base64.b64encode(t.codec_config).decode(),
            "sample_rate_hz": t.sample_rate_hz, "channels": t.channels,
        } for t in source.tracks],
        "packets": [{
            "track_id": p.track_id, "sequence": p.sequence,
            "pts_us": p.pts_us, "dts_us": p.dts_us,
            "duration_us": p.duration_us, "key_frame": p.key_frame,
            "payload": base64.b64encode(p.payload).decode(),
        } for p in source.packets],
    }


@unittest.skipUnless(shutil.which("node"), "no node")
class GatewayNodeTest(unittest.TestCase):

    def test_session_from_open_to_receipt(self):
        modules = npm.install("tests/interop/node")
        archive = Archive()
        self.addCleanup(archive.close)
        archive.init()
        archive.start()
        session = str(uuid.uuid4())
        sources = [
            wire.Source(matroska.read(media.VP8_RESIDENT), wire.RESIDENT, 1),
            wire.Source(matroska.read(media.VP8_CLERK), wire.CLERK, 3)]
        with tempfile.TemporaryDirectory() as scratch:
            work = pathlib.Path(scratch) / "session.json"
            work.write_text(json.dumps({
                "session": session,
                "sides": [_as_json(s) for s in sources]}))
            run = subprocess.run(
                ["node", str(tree.ROOT / "tests/interop/node/gateway.js"),
                 str(tree.ROOT), archive.address("ingest"),
                 str(archive.profile("gateway")), str(work)],
                capture_output=True, text=True, timeout=60, check=False,
                env={"PATH": "/usr/local/bin:/usr/bin:/bin",
                     "NODE_PATH": str(modules / "node_modules")})
        self.assertEqual(run.returncode, 0, run.stderr + archive.log())
        said = json.loads(run.stdout)
        self.assertEqual(said["opened"], {"resumed": False})
        self.assertEqual(said["receipt"]["session_id"], session)
        for source in sources:
            key = str(source.side)
            sent = len(source.packets)
            # Acknowledgements come while it runs and only grow.
            durable = said["durable"][key]
            self.assertGreater(len(durable), 1)
            self.assertEqual(durable, sorted(durable))
            self.assertEqual(durable[-1], sent)
            self.assertEqual(said["receipt"]["packets"][key], sent)
        archive.wait_indexed()
        found = archive.query('clerk = "C-node"')
        self.assertEqual([s["session"] for s in found], [session])


if __name__ == "__main__":
    unittest.main()
