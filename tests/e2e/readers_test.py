"""Several reading processes follow one log, each with an index of its own."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import media
from archive import DIPTYCHD, Archive, command, wait_until


class ReadersTest(unittest.TestCase):

    def setUp(self):
        self.archive = Archive()
        self.addCleanup(self.archive.close)
        self.archive.init()
        self.archive.start()
        for n in range(4):
            self.push(n)
        self.archive.wait_indexed()
        self.second = self.start_second()

    def push(self, n):
        self.archive.push(
            "--resident", media.VP8_RESIDENT, "--clerk", media.VP8_CLERK,
            "--tag", f"clerk=C000{n % 2}", "--tag", f"item=041{n}")

    def start_second(self):
        run = self.archive.base / "second" / "run"
        address = run / "audit.address"
        address.unlink(missing_ok=True)
        log = open(self.archive.base / "second.log", "ab")
        with log:
            process = subprocess.Popen(
                [str(DIPTYCHD), "--roles=indexer",
                 f"--data_dir={self.archive.dir}",
                 f"--index_dir={self.archive.base}/second/index",
                 f"--run_dir={run}", "--audit_listen=127.0.0.1:0"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=dict(os.environ))
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        wait_until(lambda: address.is_file() and address.read_text().strip(),
                   20, "the second reader")
        for role in ("auditor", "operator"):
            folder = self.archive.base / "second" / role
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(self.archive.profile(role), folder)
            profile = folder / "profile.json"
            fields = json.loads(profile.read_text())
            fields["archive_dir"] = ""
            fields["audit_address"] = address.read_text().strip()
            profile.write_text(json.dumps(fields))
        return process

    def ask_second(self, role, *arguments):
        return command(f"--profile={self.archive.base}/second/{role}",
                       *arguments, "--json")

    def wait_second(self):
        def caught_up():
            done = self.ask_second("operator", "index", "status")
            self.assertEqual(done.code, 0, str(done))
            status = done.summary
            return status["indexed_position"] == status["log_position"]
        wait_until(caught_up, 20, "the second reader's index")

    def same(self, *arguments):
        first = self.archive.ok("auditor", *arguments)
        second = self.ask_second("auditor", *arguments)
        self.assertEqual(second.code, 0, str(second))
        self.assertEqual(second.stdout, first.stdout)
        return first

    def all_the_same(self):
        self.wait_second()
        self.archive.wait_indexed()
        for arguments in (("query", ""), ("query", "", "--segments"),
                          ("query", 'clerk = "C0001"', "--oldest-first"),
                          ("query", 'NOT item = "0411"'),
                          ("count", "", "--by", "clerk")):
            with self.subTest(arguments):
                self.same(*arguments)

    def test_the_same_answers_from_each(self):
        self.all_the_same()
        self.push(4)
        self.all_the_same()

    def test_a_page_goes_on_at_the_other(self):
        self.wait_second()
        first = self.archive.ok("auditor", "query", "", "--limit", "2")
        token = first.summary["next_page"]
        self.assertTrue(token)
        # What comes meanwhile is in no page of this answer.
        self.push(4)
        self.wait_second()
        second = self.same("query", "", "--limit", "2", "--page", token)
        found = [s["session"] for done in (first, second)
                 for s in done.of_type("session")]
        self.assertEqual(len(set(found)), 4)

    def test_one_that_is_killed_disturbs_nobody(self):
        self.wait_second()
        self.second.send_signal(signal.SIGKILL)
        self.second.wait()
        self.push(4)
        self.archive.wait_indexed()
        self.assertEqual(len(self.archive.query("")), 5)
        self.second = self.start_second()
        self.all_the_same()
        # Nor does the first one's end disturb the second.
        os.kill(self.archive.pid_serving("audit"), signal.SIGKILL)
        done = self.ask_second("auditor", "query", "")
        self.assertEqual(done.code, 0, str(done))
        self.assertEqual(len(done.of_type("session")), 5)

    def test_each_is_rebuilt_for_itself(self):
        self.wait_second()
        rebuilt = self.ask_second("operator", "index", "rebuild")
        self.assertEqual(rebuilt.code, 0, str(rebuilt))
        self.all_the_same()

    def test_one_index_has_one_reader(self):
        process = subprocess.run(
            [str(DIPTYCHD), "--roles=indexer",
             f"--data_dir={self.archive.dir}",
             f"--index_dir={self.archive.base}/second/index",
             f"--run_dir={self.archive.base}/third",
             "--audit_listen=127.0.0.1:0"],
            capture_output=True, text=True, timeout=30, check=False)
        self.assertEqual(process.returncode, 1)
        self.assertIn("in use by another process", process.stderr)


if __name__ == "__main__":
    unittest.main()
