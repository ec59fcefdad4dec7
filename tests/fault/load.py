"""tools/loadgen as a test uses it: started, watched, ended."""

import json
import signal
import subprocess
import threading

import archive
import media

LOADGEN = archive.BIN / "tools/loadgen/loadgen"
DAEMON_WITH_LEDGER = archive.BIN / "tools/diptychd/diptychd_with_ledger"

# How long it may take to close its sessions once it is told to.
_FINISH_S = 180


def recordings():
    """A resident's and a clerk's: the longer ones if they are at hand."""
    long = [media.SHARED / f"call-75s-{side}.mkv"
            for side in ("resident", "clerk")]
    if all(path.exists() for path in long):
        return long
    return [media.RESIDENT, media.CLERK]


class Load:
    """A running loadgen. As a context manager it is ended on exit."""

    def __init__(self, profile, *flags, ledger=None, files=None):
        resident, clerk = files or recordings()
        argv = [str(LOADGEN), f"--profile={profile}",
                f"--resident={resident}", f"--clerk={clerk}",
                "--progress_s=0.05", *map(str, flags)]
        if ledger is not None:
            argv.append(f"--ledger={ledger}")
        self._changed = threading.Condition()
        self._progress = None
        self.summary = None
        self._stderr = b""
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True)
        archive._running.add(self.process)
        self._threads = [threading.Thread(target=read, daemon=True)
                         for read in (self._read, self._read_errors)]
        for thread in self._threads:
            thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def _read(self):
        for line in self.process.stdout:
            message = json.loads(line)
            with self._changed:
                if message["message_type"] == "progress":
                    self._progress = message
                else:
                    self.summary = message
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def _read_errors(self):
        self._stderr = self.process.stderr.read()

    @property
    def progress(self):
        return self._progress or {}

    def wait_for(self, predicate, timeout_s, what):
        """Waits until `predicate(progress)` gives something true."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._over() or
                (self._progress and predicate(self._progress)), timeout_s)
            if self._progress and predicate(self._progress):
                return self._progress
        raise AssertionError(f"{what} did not come in {timeout_s} s: "
                             f"{self._progress} {self.summary} "
                             f"exit {self.process.poll()} "
                             f"{self._stderr.decode(errors='replace')}")

    def _over(self):
        return self.summary is not None or self.process.poll() is not None

    def wait_packets(self, more, timeout_s):
        """Waits until so many more packets are durable."""
        start = self.progress.get("packets_durable", 0)
        return self.wait_for(lambda p: p["packets_durable"] >= start + more,
                             timeout_s, f"{more} more durable packets")

    def finish(self, timeout_s=_FINISH_S, early=False):
        """Waits for its end; its summary, with the exit code in `code`."""
        if early:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"loadgen did not end in {timeout_s} s: "
                                 f"{self._progress}") from None
        self._bury()
        if self.summary is None:
            raise AssertionError(f"loadgen ended with {code}: "
                                 f"{self._stderr.decode(errors='replace')}")
        return {**self.summary, "code": code}

    def kill(self):
        archive._end_group(self.process)
        self.process.wait()
        self._bury()

    def _bury(self):
        for thread in self._threads:
            thread.join()
        for pipe in (self.process.stdout, self.process.stderr):
            pipe.close()
        archive._running.discard(self.process)
