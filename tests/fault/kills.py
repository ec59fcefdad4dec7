"""Kills a daemon under live sessions, and looks for anything that was lost."""

import os
import random
import time
import unittest.mock

import archive
import ledgers
import load
from key_ledger import KeyLedger

# Packets that become durable between a start and the next kill, at least: a
# daemon that is killed before it does anything proves little.
_MIN_PACKETS = 20
# After that it lives for up to so long.
_MAX_LIFE_S = 0.7
_RECOVERY_S = 60
_INDEX_S = 300


class DaemonKills:
    """An archive, a load, and a daemon that does not live long."""

    def __init__(self, sessions, session_s, seed, say=lambda text: None):
        self._sessions = sessions
        self._session_s = session_s
        self._random = random.Random(seed)
        self._say = say
        self._stack = unittest.mock.patch.multiple(
            archive, DIPTYCHD=load.DAEMON_WITH_LEDGER)
        self.archive = archive.Archive()
        self._promises = self.archive.base / "promises"
        self._keys = self.archive.base / "key_ledger"
        self._environment = unittest.mock.patch.dict(
            os.environ, DIPTYCH_KEY_LEDGER=str(self._keys))

    def __enter__(self):
        self._stack.start()
        self._environment.start()
        return self

    def __exit__(self, *_):
        self._environment.stop()
        self._stack.stop()
        self.archive.close()

    def run(self, kills):
        """Does all of it; what is wrong, as sentences, and some figures."""
        self.archive.init()
        self.archive.start()
        began = time.monotonic()
        with load.Load(
                self.archive.profile("gateway"),
                f"--sessions={self._sessions}", f"--session_s={self._session_s}",
                "--replace", "--duration_s=1e6", "--channels=4",
                "--stagger_s=1", "--finish_s=120",
                f"--seed={self._random.randrange(2**31)}",
                ledger=self._promises) as running:
            for kill in range(1, kills + 1):
                running.wait_packets(_MIN_PACKETS, _RECOVERY_S)
                # Not an event that is waited for, but the moment of the kill.
                time.sleep(self._random.uniform(0, _MAX_LIFE_S))
                self.archive.kill()
                self.archive.start()
                if kill % 25 == 0 or kill == kills:
                    self._say(f"{kill} kills in "
                              f"{time.monotonic() - began:.0f} s: "
                              f"{running.progress}")
            running.wait_packets(_MIN_PACKETS, _RECOVERY_S)
            summary = running.finish(early=True)
        problems = []
        if summary["code"] != 0 or summary["violations"] != 0:
            problems.append(f"loadgen: {summary}")
        figures = {"kills": kills,
                   "seconds": round(time.monotonic() - began, 1),
                   "sessions": summary["sessions_finished"],
                   "packets": summary["packets_durable"],
                   "reconnects": summary["reconnects"],
                   "resent": summary["packets_resent"]}
        problems += self._look(figures)
        return problems, figures

    def run_gateways(self, kills, gateway_kills):
        """The same with gateways that are killed as well."""
        self.archive.init()
        self.archive.start()
        problems, figures = gateway_kills(
            self.archive, self._sessions, self._random.randrange(2**31),
            self._say).run(kills)
        return problems + self._look_at_rest(figures), figures

    def _look(self, figures):
        promises = ledgers.Promises(self._promises)
        problems = list(promises.problems)
        self.archive.wait_indexed(_INDEX_S)
        indexed = {found["session"] for found in self.archive.query(
            'event = "call_started"', "--limit", "1000000")}
        problems += [f"{session}: nobody sent this session"
                     for session in indexed - set(promises.sessions)]
        for session in promises.sessions:
            if session not in promises.closed:
                problems.append(f"{session} was never closed")
            # One that ended before its first packet has nothing to export.
            if promises.closed.get(session) != [0, 0]:
                problems += self._look_at(promises, session)
        return problems + self._look_at_rest(figures)

    def _look_at_rest(self, figures):
        """Stops the daemon, and looks at what lies on disk."""
        problems = []
        if self.archive.stop() != 0:
            problems.append(f"the daemon did not stop well: "
                            f"{self.archive.log()}")
        checked = self.archive.check("--read-data")
        if checked.code != 0:
            problems.append(str(checked))
        keys = KeyLedger(self._keys)
        problems += keys.problems
        figures.update(seals=keys.seals, keys=keys.kinds)
        # One root of each class for each epoch: a ledger that says nothing
        # would prove nothing.
        if keys.seals == 0 or not {"root", "segment"} <= set(keys.kinds):
            problems.append("the key ledger is empty")
        return problems

    def _look_at(self, promises, session):
        path = self.archive.base / f"{session}.mkv"
        done = self.archive.run("auditor", "export", session, "-o", path,
                                "--purpose", "a test")
        if done.code != 0:
            return [str(done)]
        problems = ledgers.export_problems(path, promises, session)
        path.unlink()
        return problems
