"""A few kills of the daemon under live sessions; kill_loop does many."""

import copy
import pathlib
import sys
import tempfile
import unittest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent),
                str(pathlib.Path(__file__).resolve().parent)]
import archive
import kills
import ledgers
import load
from gateway_kills import GatewayKills
from key_ledger import KeyLedger

_KILLS = 8
_SESSIONS = 20


class KillTest(unittest.TestCase):

    def test_nothing_acknowledged_is_lost(self):
        with kills.DaemonKills(_SESSIONS, session_s=6, seed=1) as loop:
            problems, figures = loop.run(_KILLS)
        self.assertEqual(problems, [], "\n".join(problems))
        self.assertGreaterEqual(figures["sessions"], _SESSIONS)
        # The kills were felt.
        self.assertGreaterEqual(figures["reconnects"], _KILLS * 5)
        # A root of each class for each session and epoch.
        self.assertGreater(figures["keys"]["root"], 2 * figures["sessions"])


class GatewayKillTest(unittest.TestCase):

    def test_gateways_and_daemon_die(self):
        with kills.DaemonKills(3, session_s=0, seed=5) as loop:
            problems, figures = loop.run_gateways(3, GatewayKills)
        self.assertEqual(problems, [], "\n".join(problems))
        for who in ("daemon", "gateways", "both"):
            self.assertGreater(figures[who], 0, figures)


class TeethTest(unittest.TestCase):
    """What the proofs rest on finds what it should find."""

    def test_an_altered_or_missing_packet_is_found(self):
        with tempfile.TemporaryDirectory(prefix="diptych-out-") as scratch, \
                archive.Archive() as served:
            scratch = pathlib.Path(scratch)
            with load.Load(served.profile("gateway"), "--session_s=3",
                           "--fast", ledger=scratch / "promises") as running:
                self.assertEqual(running.finish()["code"], 0)
            served.wait_indexed()
            promises = ledgers.Promises(scratch / "promises")
            session, = promises.sessions
            path = scratch / "whole.mkv"
            served.export(session, "-o", path)
            self.assertEqual(
                ledgers.export_problems(path, promises, session), [])

            altered = copy.deepcopy(promises)
            altered._packets["clerk"][7][-1] = "0" * 64
            more = copy.deepcopy(promises)
            more.closed[session][0] += 1
            fewer = copy.deepcopy(promises)
            fewer.closed[session][0] -= 1
            late = copy.deepcopy(promises)
            late._packets["resident"][5][1] += 5000
            for name, wrong in (("altered", altered), ("missing", more),
                                ("surplus", fewer), ("moved", late)):
                with self.subTest(name):
                    self.assertNotEqual(
                        ledgers.export_problems(path, wrong, session), [])

    def test_a_broken_rule_is_found(self):
        sound = ["once k1 p1 root", "once k2 p2 segment", "seal k2 n1",
                 "seal k2 n2", "once k3 p3 envelope", "seal k3 n3",
                 "standing k4 p4 index-rows", "standing k4 p4 index-rows",
                 "seal k4 n4"]
        broken = {
            "a nonce twice": ["seal k1 n1"],
            "a key nobody made": ["seal k9 n9"],
            "a key made again": ["once k2 p2 segment"],
            "a key for two segments": ["once k2 p5 segment"],
            "an epoch begun twice": ["once k6 p1 root"],
            "an envelope's key twice": ["seal k3 n9"],
            "a standing key elsewhere": ["standing k4 p9 page-tokens"],
            "half a line": ["seal k2"],
        }
        self.assertEqual(self.problems(sound), [])
        for name, lines in broken.items():
            with self.subTest(name):
                self.assertEqual(len(self.problems(sound + lines)) >= 1, True)

    @staticmethod
    def problems(lines):
        with tempfile.NamedTemporaryFile("w", suffix=".ledger") as file:
            file.write("\n".join(lines) + "\n")
            file.flush()
            return KeyLedger(file.name).problems


class ReleaseTest(unittest.TestCase):

    def test_the_daemon_that_is_shipped_keeps_no_ledger(self):
        ours, tests = (path.read_bytes() for path in
                       (archive.DIPTYCHD, load.DAEMON_WITH_LEDGER))
        for mark in (b"DIPTYCH_KEY_LEDGER", b"index-rows"):
            self.assertIn(mark, tests)
        self.assertNotIn(b"DIPTYCH_KEY_LEDGER", ours)


if __name__ == "__main__":
    unittest.main()
