"""Bad networks between gateways and the daemon: nothing is lost.

Each kind of network has a proxy and a load of its own, all at once against one
archive. DIPTYCH_LONG_CUT makes the longest break 60 s.
"""

import concurrent.futures
import os
import pathlib
import sys
import tempfile
import time
import unittest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent),
                str(pathlib.Path(__file__).resolve().parent)]
import archive
import ledgers
import load
import media
import proxy

_CUT_S = 60 if os.environ.get("DIPTYCH_LONG_CUT") else 6
# Media in a session: the fault comes after a second or so, and there is time
# left behind it.
_SESSION_S = _CUT_S + 6
_SESSIONS = 2
# A stream that hears nothing for so long is given up.
_STALL_S = 3
# How much longer than the call its gateway may take to hand over the rest.
_DRAIN_S = 15
_ONE_SESSION_BYTES_PER_S = 125_000


def _for_a_while(seconds=_CUT_S):
    # How long a fault lasts is not an event that could be waited for.
    time.sleep(seconds)


class Network:
    """One kind of bad network: what it does to a load that runs over it."""

    def __init__(self, name, fault, reconnects):
        self.name = name
        self._fault = fault
        # Whether streams have to break.
        self.reconnects = reconnects
        self.summary = None
        self.promises = None
        self.took_s = None

    def run(self, served, scratch):
        ledger = scratch / f"{self.name}.promises"
        target = served.address("ingest").rsplit(":", 1)
        with proxy.Proxy(lambda: (target[0], int(target[1]))) as network:
            profile = proxy.profile_through(served.profile("gateway"), network,
                                            scratch / f"{self.name}.profile")
            began = time.monotonic()
            with load.Load(profile, f"--sessions={_SESSIONS}",
                           f"--session_s={_SESSION_S}", "--channels=2",
                           f"--stall_s={_STALL_S}",
                           ledger=ledger) as running:
                running.wait_packets(50, 30)
                self._fault(network, running)
                network.heal()
                self.summary = running.finish()
            self.took_s = time.monotonic() - began
        self.promises = ledgers.Promises(ledger)
        return self


def _delay(network, running):
    network.delay(0.4)
    running.wait_packets(100, 30)
    _for_a_while()


def _bandwidth(network, running):
    # A third of what the calls need.
    network.limit(_SESSIONS * _ONE_SESSION_BYTES_PER_S / 3 / 2)
    _for_a_while()


def _stall(up, down):
    def fault(network, _):
        network.stall(up, down)
        _for_a_while()
    return fault


def _half_open(network, _):
    network.half_open()
    _for_a_while()


def _resets(network, running):
    for _ in range(5):
        network.reset()
        running.wait_packets(20, 30)


def _cut(network, _):
    network.cut()
    _for_a_while()


NETWORKS = {
    "delay": (_delay, False),
    "bandwidth": (_bandwidth, False),
    "stall-both-ways": (_stall(True, True), True),
    "stall-to-daemon": (_stall(True, False), True),
    "stall-to-gateway": (_stall(False, True), True),
    "half-open": (_half_open, True),
    "resets": (_resets, True),
    "cut": (_cut, True),
}


class NetworkTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.scratch = pathlib.Path(cls.enterClassContext(
            tempfile.TemporaryDirectory(prefix="diptych-network-")))
        cls.archive = archive.Archive()
        cls.addClassCleanup(cls.archive.close)
        cls.archive.init()
        cls.archive.start()
        with concurrent.futures.ThreadPoolExecutor(len(NETWORKS)) as threads:
            cls.runs = {name: threads.submit(
                Network(name, *what).run, cls.archive, cls.scratch)
                for name, what in NETWORKS.items()}
        cls.archive.wait_indexed(60)

    def assert_survived(self, name):
        run = self.runs[name].result()
        summary = run.summary
        self.assertEqual(summary["code"], 0, summary)
        self.assertEqual(summary["violations"], 0, summary)
        self.assertEqual(summary["sessions_finished"], _SESSIONS, summary)
        self.assertEqual(summary["packets_durable"], summary["packets_sent"])
        if run.reconnects:
            self.assertGreater(summary["reconnects"], 0, summary)
        else:
            self.assertEqual(summary["reconnects"], 0, summary)
        self.assertLess(run.took_s, _SESSION_S + _DRAIN_S)
        self.assertEqual(run.promises.problems, [])
        self.assertEqual(len(run.promises.closed), _SESSIONS)
        for session in run.promises.sessions:
            path = self.scratch / f"{session}.mkv"
            self.archive.export(session, "-o", path)
            self.assertEqual(
                ledgers.export_problems(path, run.promises, session), [])
            shown = self.archive.ok("auditor", "show", session)
            self.assertEqual(shown.of_type("gap"), [])

    def test_delay(self):
        self.assert_survived("delay")

    def test_little_bandwidth(self):
        self.assert_survived("bandwidth")

    def test_nothing_moves(self):
        self.assert_survived("stall-both-ways")

    def test_nothing_gets_to_the_daemon(self):
        self.assert_survived("stall-to-daemon")

    def test_nothing_gets_to_the_gateway(self):
        self.assert_survived("stall-to-gateway")

    def test_half_open(self):
        self.assert_survived("half-open")

    def test_resets(self):
        self.assert_survived("resets")

    def test_cut(self):
        self.assert_survived("cut")


class PushTest(unittest.TestCase):
    """The same for `diptych push`: it reads on while nobody is there."""

    def test_the_call_goes_on_through_a_cut(self):
        with archive.Archive() as served, \
                tempfile.TemporaryDirectory(prefix="diptych-cut-") as scratch:
            scratch = pathlib.Path(scratch)
            host, port = served.address("ingest").rsplit(":", 1)
            with proxy.Proxy(lambda: (host, int(port))) as network, \
                    concurrent.futures.ThreadPoolExecutor(1) as threads:
                profile = proxy.profile_through(
                    served.profile("gateway"), network, scratch / "profile")
                pushing = threads.submit(
                    archive.command, f"--profile={profile}", "push",
                    "--resident", media.RESIDENT, "--clerk", media.CLERK,
                    "--tag", "clerk=C0231", "--json")
                archive.wait_until(lambda: network.passed_bytes > 100_000, 30,
                                   "the call")
                network.cut()
                time.sleep(5)
                self.assertFalse(pushing.done())
                network.heal()
                done = pushing.result()
            self.assertEqual(done.code, 0, str(done))
            self.assertGreater(done.summary["reconnects"], 0)
            # The recordings have 12 s; a gateway that stood still during the
            # cut would need its 5 s more.
            self.assertLess(done.summary["elapsed_s"], 12 + 4)
            receipt, = done.of_type("receipt")
            self.assertEqual(sum(s["packets"] for s in receipt["sides"]),
                             done.summary["packets"])


if __name__ == "__main__":
    unittest.main()
