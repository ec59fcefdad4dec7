"""clang-format and clang-tidy find nothing."""

import os
import shutil
import subprocess
import sys
import pathlib
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import tree


class FormatTest(unittest.TestCase):

    @unittest.skipUnless(shutil.which("clang-format-16"), "no clang-format-16")
    def test_clang_format(self):
        run = subprocess.run(
            ["clang-format-16", "--dry-run", "-Werror", "--ferror-limit=2"]
            + tree.cpp_files(),
            cwd=tree.ROOT, capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 0, run.stderr[:4000])

    @unittest.skipUnless(shutil.which("clang-tidy-16"), "no clang-tidy-16")
    @unittest.skipIf(os.environ.get("DIPTYCH_FAST"), "--fast")
    def test_clang_tidy(self):
        run = subprocess.run(
            [sys.executable, str(tree.ROOT / "tools" / "tidy")],
            capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 0,
                         "\n" + run.stdout[-6000:] + run.stderr[-2000:])


if __name__ == "__main__":
    unittest.main()
