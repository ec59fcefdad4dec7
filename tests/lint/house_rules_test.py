"""Rules of the house that a compiler doesn't know."""

import re
import sys
import pathlib
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import tree

_SOURCES = (".cc", ".h", ".py", ".proto", ".bzl", ".bazel", ".js", ".sh")
_MAX_LINES = 600

# A machine's own paths; put together here so as not to find themselves.
_MACHINE_PATHS = re.compile(
    "|".join(r"(?<![\w.])/" + folder + "/" for folder in
             ("work", "farm", r"root/\.\w+", "home/[a-z]+")))


def _comment_free(line):
    return line.split("//", 1)[0]


def _lines(files):
    for name in files:
        for number, line in enumerate(tree.read(name).splitlines(), 1):
            yield name, number, line


class HouseRulesTest(unittest.TestCase):

    def assert_none(self, found):
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_no_file_is_two_ideas(self):
        self.assert_none([
            f"{f}: {count} lines" for f in tree.files_ending(*_SOURCES)
            if (count := len(tree.read(f).splitlines())) > _MAX_LINES])

    def test_every_todo_names_its_issue_and_reason(self):
        todo = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
        reasoned = re.compile(r"\bTO" r"DO\(#\d+\): \w+ \w+")
        self.assert_none([
            f"{name}:{number}: {line.strip()}"
            for name, number, line in _lines(tree.files_ending(*_SOURCES))
            if todo.search(line) and not reasoned.search(line)])

    def test_no_path_of_a_machine(self):
        found = []
        for name in tree.all_files():
            data = (tree.ROOT / name).read_bytes()
            if b"\0" in data:
                continue
            for number, line in enumerate(
                    data.decode("utf-8", "replace").splitlines(), 1):
                if _MACHINE_PATHS.search(line):
                    found.append(f"{name}:{number}: {line.strip()[:100]}")
        self.assert_none(found)

    def test_only_our_own_annotated_mutex(self):
        # Thread-safety analysis sees no other; absl's upsets TSan on Debian.
        bare = re.compile(
            r"std::(recursive_|shared_|timed_)?mutex\b|std::lock_guard|"
            r"std::unique_lock|std::scoped_lock|std::condition_variable|"
            r"absl::Mutex\b|absl::CondVar\b")
        self.assert_none([
            f"{name}:{number}: {line.strip()}"
            for name, number, line in _lines(tree.cpp_files())
            if name != "archiver/base/mutex.h"
            and bare.search(_comment_free(line))])

    def test_parts_of_the_daemon_print_nothing(self):
        # Everything that they say goes through base/log_line.h, which is made
        # so that a resident's number can't get in.
        printing = re.compile(
            r"\b(f|v|vf)?printf\s*\(|\bputs\s*\(|std::(cout|cerr|clog)\b")
        self.assert_none([
            f"{name}:{number}: {line.strip()}"
            for name, number, line in _lines(tree.cpp_files())
            if name.startswith(("archiver/", "indexer/"))
            and not name.startswith("archiver/base/log_line.")
            and not tree.is_for_tests(name)
            and printing.search(_comment_free(line))])

    def test_no_open_port_without_tls(self):
        self.assert_none([
            f"{name}:{number}: {line.strip()}"
            for name, number, line in _lines(tree.cpp_files())
            if not name.endswith("_test.cc") and not name.startswith("tests/")
            and re.search(r"Insecure(Server|Channel)Credentials", line)])

    def test_tests_wait_for_events_not_for_time(self):
        sleeping = re.compile(r"sleep_for|SleepFor|\busleep\(|\bsleep\(\d")
        self.assert_none([
            f"{name}:{number}: {line.strip()}"
            for name, number, line in _lines(tree.cpp_files())
            if name.endswith("_test.cc")
            and sleeping.search(_comment_free(line))])

    def test_python_compiles(self):
        for f in tree.files_ending(".py"):
            with self.subTest(f):
                compile(tree.read(f), f, "exec")


if __name__ == "__main__":
    unittest.main()
