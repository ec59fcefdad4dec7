"""Daemon and gateway die at once in a live call: little is lost, and shown."""

import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import uuid
from datetime import datetime

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent),
                str(pathlib.Path(__file__).resolve().parent)]
import archive as archives
import load
from archive import Archive, wait_until

# What of a side may be lost, and how well the moment of a packet is known: a
# transport stream says its times only after a while, and frames are 67 ms.
MAX_LOSS_S = 2.0
SLACK_S = 0.6
BEFORE_S = 6
AFTER_S = 4


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class BothDieTest(unittest.TestCase):

    def setUp(self):
        self.archive = self.enterContext(Archive())
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="diptych-live-")))
        self.session = str(uuid.uuid4())
        self.ports = [free_port(), free_port()]

    def start(self, argv):
        with open(self.folder / "said", "ab") as log:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=log)

        def end():
            process.kill()
            process.wait()
        self.addCleanup(end)
        return process

    def push(self, *arguments):
        return self.start(
            [str(archives.DIPTYCH),
             f"--profile={self.archive.profile('gateway')}", "push", "--json",
             f"--spool={self.folder / 'spool'}", *arguments])

    def push_live(self):
        return self.push(
            f"--session={self.session}",
            f"--resident=udp://127.0.0.1:{self.ports[0]}",
            f"--clerk=udp://127.0.0.1:{self.ports[1]}")

    def shown(self):
        done = self.archive.run("auditor", "show", self.session, "--json")
        return done if done.code == 0 else None

    def wait_sides(self, until_s):
        """Until the archive has both sides up to a moment of the session."""
        def reached():
            done = self.shown()
            sides = done.of_type("side") if done else []
            return len(sides) == 2 and all(s["to_s"] > until_s for s in sides)
        wait_until(reached, 40, f"both sides at {until_s:.1f} s\n"
                   + (self.folder / "said").read_text(errors="replace")[-2000:])

    def test_what_is_lost_is_little_and_shown_as_a_gap(self):
        for recording, port in zip(load.recordings(), self.ports):
            self.start(["ffmpeg", "-v", "error", "-nostdin", "-stream_loop",
                        "9", "-re", "-i", str(recording), "-c", "copy", "-f",
                        "mpegts", f"udp://127.0.0.1:{port}?pkt_size=1316"])
        gateway = self.push_live()
        self.wait_sides(BEFORE_S)
        gateway.kill()
        self.archive.kill()
        died = time.time()
        gateway.wait()
        self.archive.start()
        gateway = self.push_live()
        began = self.shown().of_type("session")[0]["start"]
        died_s = died - _unix(began)
        self.wait_sides(died_s + AFTER_S)
        gateway.kill()
        gateway.wait()
        drained = archives.command(
            f"--profile={self.archive.profile('gateway')}", "push",
            f"--spool={self.folder / 'spool'}", "--drain", "--json")
        self.assertEqual(drained.code, 0, drained)
        self.archive.wait_indexed()
        done = self.shown()
        self.assertEqual(done.of_type("session")[0]["state"], "closed")
        for side in ("resident", "clerk"):
            gaps = [g for g in done.of_type("gap")
                    if g["side"] == side and not g.get("track")
                    and g["from_s"] < died_s < g["to_s"]]
            self.assertEqual(len(gaps), 1,
                             f"died at {died_s}: {done.of_type('gap')}")
            self.assertGreater(gaps[0]["from_s"],
                               died_s - MAX_LOSS_S - SLACK_S, gaps)
        self.assertIn("recovered",
                      [s["state"] for s in done.of_type("state")])
        self.assertEqual(self.archive.check("--read-data").code, 0)


def _unix(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


if __name__ == "__main__":
    unittest.main()
