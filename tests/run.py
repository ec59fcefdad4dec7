"""Builds and tests everything; tools/test is the way to call it.

Prints each failure as it comes and again at the end. The last line is
`N passed, N failed`, with `, N skipped` behind it if any were.
"""

import argparse
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse
import xml.etree.ElementTree as ElementTree

TESTS = pathlib.Path(__file__).resolve().parent
ROOT = TESTS.parent
sys.path.insert(0, str(TESTS))
import media

# Another Bazel command with its startup options, for several trees at once.
BAZEL = shlex.split(os.environ.get("DIPTYCH_BAZEL", "bazel"))
# What a failed test said is cut to this many characters of its end.
_MAX_SHOWN = 8000


class Tally:
    """What passed, failed and was skipped."""

    def __init__(self):
        self.passed = 0
        self.failures = []
        self.skipped = []

    def fail(self, name, text):
        self.failures.append(name)
        print(f"FAILED  {name}\n{text[-_MAX_SHOWN:]}", flush=True)

    def skip(self, name, reason):
        self.skipped.append(name)
        print(f"skipped {name}: {reason}", flush=True)

    def finish(self):
        if self.failures:
            print("\nFailed:")
            for name in self.failures:
                print(f"  {name}")
        last = f"{self.passed} passed, {len(self.failures)} failed"
        if self.skipped:
            last += f", {len(self.skipped)} skipped"
        print(last, flush=True)
        return 1 if self.failures else 0


def heading(text):
    print(f"\n== {text}", flush=True)


# ---- C++ ----

def _events(path):
    if not path.exists():
        return
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _log_of(uri):
    path = urllib.parse.urlparse(uri).path
    try:
        return pathlib.Path(path).read_text(errors="replace")
    except OSError as error:
        return f"(no log: {error})"


def _count_cases(label, xml_path, status, log, tally):
    """Counts the cases of one test program by its XML report."""
    failed = 0
    try:
        cases = list(ElementTree.parse(xml_path).iter("testcase"))
    except (OSError, ElementTree.ParseError):
        cases = []
    for case in cases:
        name = f"{label} {case.get('classname')}.{case.get('name')}"
        problem = case.find("failure")
        if problem is None:
            problem = case.find("error")
        if problem is not None:
            failed += 1
            tally.fail(name, problem.text or problem.get("message") or "")
        elif (case.get("result") == "skipped"
              or case.find("skipped") is not None):
            tally.skip(name, "by the test itself")
        elif case.get("status") != "notrun":
            tally.passed += 1
    if status != "PASSED" and failed == 0:
        # It crashed, timed out, or a sanitizer spoke after the last case.
        tally.fail(f"{label} ({status})", log)


def _test_flags():
    """Published vectors lie outside the repository, and may be missing."""
    vectors = media.SHARED.parent / "vectors"
    return ([f"--test_env=DIPTYCH_VECTORS={vectors}"] if vectors.is_dir()
            else [])


def run_bazel(flags, tally):
    """Builds //... and runs its tests. False if anything did not build."""
    heading("bazel build //...")
    build = subprocess.run(BAZEL + ["build", "--keep_going", *flags, "//..."],
                           cwd=ROOT, check=False)
    if build.returncode != 0:
        tally.fail("bazel build //...", "see above")
    heading("bazel test //...")
    with tempfile.TemporaryDirectory() as scratch:
        events = pathlib.Path(scratch) / "events.json"
        test = subprocess.run(
            BAZEL + ["test", "--keep_going", "--test_output=errors",
                     f"--build_event_json_file={events}", *_test_flags(), *flags,
                     "//..."],
            cwd=ROOT, check=False)
        ran = 0
        for event in _events(events):
            result = event.get("testResult")
            if result is None:
                continue
            ran += 1
            outputs = {o["name"]: o["uri"]
                       for o in result.get("testActionOutput", [])}
            xml = urllib.parse.urlparse(outputs.get("test.xml", "")).path
            _count_cases(event["id"]["testResult"]["label"], xml,
                         result["status"],
                         _log_of(outputs.get("test.log", "")), tally)
        # 4 is "there are no tests", 3 "some tests failed".
        if ran == 0 or test.returncode not in (0, 3):
            if build.returncode == 0:
                tally.fail("bazel test //...", f"exit {test.returncode}")
    return build.returncode == 0


def bazel_bin(flags):
    run = subprocess.run(BAZEL + ["info", *flags, "bazel-bin"], cwd=ROOT,
                         capture_output=True, text=True, check=True)
    return run.stdout.strip()


# ---- Python ----

class _Result(unittest.TestResult):
    """Tells a Tally of every test, with the time it took."""

    def __init__(self, tally):
        super().__init__()
        self._tally = tally
        self._started = {}

    @staticmethod
    def _name(test):
        return test.id()

    def startTest(self, test):
        super().startTest(test)
        self._started[test.id()] = time.monotonic()
        self._failed_parts = 0

    def addSuccess(self, test):
        took = time.monotonic() - self._started[test.id()]
        self._tally.passed += 1
        print(f"ok      {self._name(test)} ({took:.1f} s)", flush=True)

    def addFailure(self, test, err):
        self._tally.fail(self._name(test), self._exc_info_to_string(err, test))

    addError = addFailure

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.addFailure(subtest, err)

    def addSkip(self, test, reason):
        self._tally.skip(self._name(test), reason)

    def addExpectedFailure(self, test, err):
        self.addSuccess(test)

    def addUnexpectedSuccess(self, test):
        self._tally.fail(self._name(test), "was expected to fail")


def _cases(suite):
    for part in suite:
        if isinstance(part, unittest.TestSuite):
            yield from _cases(part)
        else:
            yield part


def run_python(folder, only, tally):
    """Runs every *_test.py of tests/`folder`."""
    heading(f"tests/{folder}")
    loader = unittest.TestLoader()
    for path in sorted((TESTS / folder).glob("*_test.py")):
        sys.path.insert(0, str(path.parent))
        suite = loader.discover(str(path.parent), path.name, str(path.parent))
        sys.path.pop(0)
        if only:
            suite = unittest.TestSuite(
                c for c in _cases(suite) if only in c.id())
        suite.run(_Result(tally))


def main():
    parser = argparse.ArgumentParser(prog="tools/test")
    parser.add_argument("--fast", action="store_true",
                        help="without end to end tests and clang-tidy")
    parser.add_argument("--config", choices=("asan", "tsan"),
                        help="only the C++ tests, under a sanitizer")
    parser.add_argument("--only", metavar="PATTERN",
                        help="only Python tests whose name contains it")
    arguments = parser.parse_args()
    flags = [f"--config={arguments.config}"] if arguments.config else []
    # Bazel's tests see nothing of the machine that they are not told of.
    shared = pathlib.Path(os.environ.get("DIPTYCH_SHARED_DIR",
                                         ROOT.parent / "shared"))
    if shared.is_dir():
        flags.append(f"--test_env=DIPTYCH_SHARED_DIR={shared.resolve()}")
    if arguments.fast:
        os.environ["DIPTYCH_FAST"] = "1"

    tally = Tally()
    try:
        if arguments.only:
            subprocess.run(BAZEL + ["build", "//..."], cwd=ROOT, check=True)
        else:
            run_bazel(flags, tally)
        if not arguments.config:
            os.environ["DIPTYCH_BIN"] = bazel_bin(flags)
            run_python("lint", arguments.only, tally)
            if not arguments.fast:
                run_python("e2e", arguments.only, tally)
                run_python("fault", arguments.only, tally)
                run_python("mustfail", arguments.only, tally)
                run_python("independent", arguments.only, tally)
                run_python("interop", arguments.only, tally)
    finally:
        if os.environ.get("CI"):
            subprocess.run(BAZEL + ["shutdown"], cwd=ROOT, check=False,
                           stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
