"""An archive of a test's own: its folder, its daemon, its command line.

Everything started here is ended here, also when a test fails.
"""

import atexit
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import tree

BIN = pathlib.Path(os.environ.get("DIPTYCH_BIN", tree.ROOT / "bazel-bin"))
DIPTYCH = BIN / "tools/diptych/diptych"
DIPTYCHD = BIN / "tools/diptychd/diptychd"

# How long a start, a stop or a command may take before it counts as hung.
START_S = 20
STOP_S = 30
COMMAND_S = 120

_running = set()


def _end_group(process, sig=signal.SIGKILL):
    try:
        os.killpg(process.pid, sig)
    except ProcessLookupError:
        pass


def _living(group):
    """Process ids of a process group, without those that only await burial."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(entry.name))
    return sorted(found)


@atexit.register
def _end_all():
    for process in list(_running):
        _end_group(process)


def wait_until(predicate, timeout_s, what):
    """Polls until `predicate` gives something true, which is returned."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s for {what}")
        time.sleep(0.02)


class Run:
    """What a command did."""

    def __init__(self, arguments, done):
        self.arguments = arguments
        self.code = done.returncode
        self.stdout = done.stdout
        self.stderr = done.stderr

    @property
    def lines(self):
        """The JSON lines of stdout."""
        return [json.loads(line) for line in self.stdout.splitlines() if line]

    @property
    def summary(self):
        return self.lines[-1]

    def of_type(self, message_type):
        return [m for m in self.lines if m.get("message_type") == message_type]

    def __str__(self):
        return (f"{' '.join(self.arguments)}\nexit {self.code}\n"
                f"stdout: {self.stdout[-3000:]}\nstderr: {self.stderr[-3000:]}")


def command(*arguments, timeout_s=COMMAND_S, env=None):
    """Runs `diptych` and returns what it did, whatever that was."""
    argv = [str(DIPTYCH), *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False,
                          timeout=timeout_s, stdin=subprocess.DEVNULL,
                          env={**os.environ, "NO_COLOR": "1", **(env or {})})
    return Run(argv, done)


class Archive:
    """One archive in a temporary folder.

    As a context manager it is initialised and served on entry, and stopped and
    removed on exit.
    """

    def __init__(self, keep_folder=None):
        self._own_folder = keep_folder is None
        base = pathlib.Path(keep_folder or tempfile.mkdtemp(
            prefix="diptych-test-"))
        self.base = base
        self.dir = base / "archive"
        self.keys = base / "archive.keys"
        self.process = None
        self._log = base / "diptychd.log"

    def __enter__(self):
        self.init()
        self.start()
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.kill()
        if self._own_folder:
            shutil.rmtree(self.base, ignore_errors=True)

    def init(self, *flags):
        done = command("init", self.dir, *flags)
        if done.code != 0:
            raise AssertionError(str(done))
        return done

    def start(self, *flags, env=None, pass_fds=()):
        """Starts the daemon on free ports and waits until it serves."""
        assert self.process is None
        roles = next((f.split("=", 1)[1] for f in flags
                      if f.startswith("--roles=")), "archiver,indexer")
        wanted = [self._address_file(name)
                  for role, name in (("archiver", "ingest"),
                                     ("indexer", "audit"))
                  if role in roles.split(",")]
        for path in wanted:
            path.unlink(missing_ok=True)
        log = open(self._log, "ab")
        with log:
            process = subprocess.Popen(
                [str(DIPTYCHD), f"--data_dir={self.dir}",
                 "--ingest_listen=127.0.0.1:0", "--audit_listen=127.0.0.1:0",
                 *flags],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, pass_fds=pass_fds,
                env={**os.environ, **(env or {})})
        _running.add(process)
        self.process = process

        def serving():
            if process.poll() is not None:
                raise AssertionError(
                    f"diptychd ended with {process.returncode}:\n{self.log()}")
            return all(p.is_file() and p.read_text().strip() for p in wanted)
        try:
            wait_until(serving, START_S, "diptychd's address files")
        except AssertionError as error:
            self.kill()
            raise AssertionError(f"{error}\n{self.log()}") from None

    def stop(self):
        """SIGTERM, and the exit code."""
        process, self.process = self.process, None
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"diptychd did not stop in {STOP_S} s:\n{self.log()}"
            ) from None
        finally:
            _end_group(process)
            process.wait()
            _running.discard(process)
        return code

    def kill(self):
        """SIGKILL for every process of the daemon, at once."""
        process, self.process = self.process, None
        if process is None:
            return
        _end_group(process)
        process.wait()
        _running.discard(process)
        # The others of the group are not our children.
        wait_until(lambda: not _living(process.pid), 10,
                   "the daemon's processes to be gone")

    def log(self):
        try:
            return self._log.read_text(errors="replace")[-6000:]
        except OSError:
            return ""

    def _address_file(self, name):
        return self.dir / "run" / f"{name}.address"

    def address(self, name):
        """host:port of "ingest" or "audit"."""
        return self._address_file(name).read_text().strip()

    def profile(self, role):
        return self.dir / "profiles" / role

    def run(self, role, *arguments, **options):
        """`diptych` with a role's profile: its answer, whatever it was."""
        return command(f"--profile={self.profile(role)}", *arguments, **options)

    def ok(self, role, *arguments, **options):
        """The same with --json, and it must succeed."""
        done = self.run(role, *arguments, "--json", **options)
        if done.code != 0:
            raise AssertionError(f"{done}\ndaemon: {self.log()}")
        return done

    def push(self, *arguments, **options):
        return self.ok("gateway", "push", "--fast", *arguments, **options)

    def export(self, *arguments, purpose="a test", **options):
        return self.ok("auditor", "export", *arguments, "--purpose", purpose,
                       **options)

    def query(self, filter_text, *arguments):
        """The session lines of a query."""
        return self.ok("auditor", "query", filter_text,
                       *arguments).of_type("session")

    def wait_indexed(self, timeout_s=20):
        """Waits until the index has all that is in the log."""
        def caught_up():
            done = self.run("operator", "index", "status", "--json")
            # Not whole: it is being made again, say.
            if done.code == 7:
                return None
            if done.code != 0:
                raise AssertionError(f"{done}\ndaemon: {self.log()}")
            status = done.lines[-1]
            return (status["indexed_position"] == status["log_position"]
                    and status)
        return wait_until(caught_up, timeout_s, "the index to catch up")

    def check(self, *arguments):
        return command("check", self.dir, *arguments)

    # ---- Which process is which ----

    def processes(self):
        """Process ids of the daemon's group."""
        return _living(self.process.pid)

    def pid_serving(self, name):
        """The process that listens on the port of "ingest" or "audit"."""
        port = int(self.address(name).rsplit(":", 1)[1])
        inodes = set()
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            try:
                rows = pathlib.Path(table).read_text().splitlines()[1:]
            except OSError:
                continue
            for row in rows:
                fields = row.split()
                if (fields[3] == "0A"
                        and int(fields[1].rsplit(":", 1)[1], 16) == port):
                    inodes.add(f"socket:[{fields[9]}]")
        for pid in self.processes():
            try:
                if inodes & set(open_files(pid)):
                    return pid
            except PermissionError:
                # Processes with keys let nobody but root look into them. Then
                # by descent: the writer starts the reader.
                if (pid == self.process.pid) == (name == "ingest"):
                    return pid
        raise AssertionError(f"nobody listens on {name}")


def open_files(pid):
    """What the file descriptors of a process point to."""
    found = []
    for link in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(link))
        except OSError:
            pass
    return found
