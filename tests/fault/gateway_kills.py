"""Kills gateways and their daemon, in random order and both at once.

A gateway keeps in its spool what is not durable. When it dies, `push --drain`
hands over what it left: of what it had, at most the last two seconds of a side
may be missing, and what is there is whole.
"""

import hashlib
import json
import random
import subprocess
import threading
import time
import uuid

import archive
import load
import matroska

_PACKET_DUMP = archive.BIN / "tools/gateway/packet_dump"
_MAX_LOSS_S = 2.0
# A call that nobody heard a second of proves little.
_MIN_LIFE_S = 3
_START_S = 60
_DRAIN_S = 120
# From the line that says that the session is open to the first packet.
_SLACK_S = 0.5


class Gateway:
    """One `diptych push` at the pace of a call."""

    def __init__(self, profile, spool, files):
        self.session = str(uuid.uuid4())
        self._opened = threading.Event()
        self._began = None
        # How far the call was when it was killed; None if it came to its end.
        self.reached_s = None
        self.process = subprocess.Popen(
            [str(archive.DIPTYCH), f"--profile={profile}", "push",
             f"--resident={files[0]}", f"--clerk={files[1]}",
             f"--session={self.session}", f"--spool={spool}",
             "--tag", "clerk=C0231", "--json"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, start_new_session=True)
        archive._running.add(self.process)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            if json.loads(line).get("message_type") == "session":
                self._began = time.monotonic()
                self._opened.set()
        self._opened.set()

    def lives_s(self):
        return time.monotonic() - self._began if self._began else 0

    def wait_open(self):
        if not self._opened.wait(_START_S) or self._began is None:
            raise AssertionError(f"{self.session} was not opened: exit "
                                 f"{self.process.poll()}")

    def kill(self):
        self.reached_s = self.lives_s()
        archive._end_group(self.process)
        self._forget()

    def ended(self):
        """Whether it came to its end by itself."""
        if self.process.poll() is None:
            return False
        self._forget()
        return True

    def _forget(self):
        self.process.wait()
        self._reader.join()
        self.process.stdout.close()
        archive._running.discard(self.process)


def _source(path):
    """Track number -> [(SHA-256, dts in s)] of a file, in canonical form."""
    dump = subprocess.run([str(_PACKET_DUMP), str(path)], check=True,
                          capture_output=True, text=True, timeout=60)
    tracks = {}
    for line in dump.stdout.splitlines():
        words = line.split()
        if words[0] == "packet":
            tracks.setdefault(words[1], []).append(
                (words[-1], int(words[3]) / 1e6))
    return tracks


def prefix_problems(path, sources, gateway):
    """What is wrong with what the archive has of a gateway that was killed."""
    file = matroska.read(path)
    exported = [[hashlib.sha256(p.payload).hexdigest() for p in file.of(n)]
                for n in file.tracks]
    problems = []
    for side, tracks in sources.items():
        end_s = 0
        for track, packets in tracks.items():
            digests = [d for d, _ in packets]
            fitting = [e for e in exported
                       if e and e == digests[:len(e)]]
            if len(fitting) > 1:
                problems.append(f"{gateway.session} {side} track {track}: "
                                "there twice")
            if fitting:
                end_s = max(end_s, packets[len(fitting[0]) - 1][1])
            if gateway.reached_s is None and digests not in exported:
                problems.append(f"{gateway.session} {side} track {track}: is "
                                "not whole, but its gateway came to its end")
        if gateway.reached_s is None:
            continue
        had_s = min(gateway.reached_s - _SLACK_S,
                    max(p[-1][1] for p in tracks.values()))
        if end_s < had_s - _MAX_LOSS_S:
            problems.append(
                f"{gateway.session} {side}: ends at {end_s:.2f} s, its gateway "
                f"was killed at {gateway.reached_s:.2f} s")
    foreign = sum(1 for e in exported if e and not any(
        e == [d for d, _ in packets][:len(e)]
        for tracks in sources.values() for packets in tracks.values()))
    if foreign:
        problems.append(f"{gateway.session}: {foreign} tracks are not as they "
                        "were sent")
    return problems


class GatewayKills:
    """Some gateways, one daemon, and who dies next is chance."""

    def __init__(self, served, gateways, seed, say=lambda text: None):
        self._archive = served
        self._random = random.Random(seed)
        self._say = say
        self._spool = served.base / "spool"
        self._files = load.recordings()
        self._sources = {
            side: _source(path)
            for side, path in zip(("resident", "clerk"), self._files)}
        self._count = gateways
        self._living = []
        self._dead = []

    def _replace(self):
        while len(self._living) < self._count:
            self._living.append(Gateway(self._archive.profile("gateway"),
                                        self._spool, self._files))
        for gateway in self._living:
            gateway.wait_open()

    def _kill_gateways(self):
        for gateway in self._random.sample(
                self._living, self._random.randint(1, len(self._living))):
            gateway.kill()
            self._living.remove(gateway)
            self._dead.append(gateway)

    def _bury_ended(self):
        ended = [g for g in self._living if g.ended()]
        self._living = [g for g in self._living if g not in ended]
        self._dead += ended
        return [f"{g.session}: exit {g.process.returncode}" for g in ended
                if g.process.returncode != 0]

    def _drain(self):
        done = archive.command(
            f"--profile={self._archive.profile('gateway')}", "push",
            f"--spool={self._spool}", "--drain", "--json", timeout_s=_DRAIN_S)
        return [] if done.code == 0 else [str(done)]

    def run(self, kills):
        """What went wrong, as sentences, and some figures."""
        problems = []
        counts = {"daemon": 0, "gateways": 0, "both": 0}
        # Each of them once, so that a short run has all.
        first = self._random.sample(sorted(counts), len(counts))
        try:
            for kill in range(1, kills + 1):
                self._replace()
                youngest = min(g.lives_s() for g in self._living)
                # Not an event that is waited for, but the moment of the kill.
                time.sleep(max(0, _MIN_LIFE_S - youngest)
                           + self._random.uniform(0, 2))
                what = (first.pop() if first
                        else self._random.choice(sorted(counts)))
                counts[what] += 1
                if what in ("daemon", "both"):
                    self._archive.kill()
                if what in ("gateways", "both"):
                    self._kill_gateways()
                if what in ("daemon", "both"):
                    self._archive.start()
                problems += self._drain()
                problems += self._bury_ended()
                self._say(f"kill {kill}: {what}")
        finally:
            problems += self._bury_ended()
            for gateway in self._living:
                gateway.kill()
        self._dead += self._living
        problems += self._drain()
        left = sorted(p.name for p in self._spool.iterdir())
        if left != ["spool.key"]:
            problems.append(f"the spool still has {left}")
        self._archive.wait_indexed(60)
        for gateway in self._dead:
            path = self._archive.base / f"{gateway.session}.mkv"
            self._archive.export(gateway.session, "-o", path)
            problems += prefix_problems(path, self._sources, gateway)
            path.unlink()
        return problems, {**counts, "sessions": len(self._dead)}
