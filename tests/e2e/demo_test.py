"""tools/demo does what it says, and leaves nothing running."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import archive
import media
import tree


def running_in(folder):
    """Command lines of processes that name a folder."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().decode(errors="replace")
        except (OSError, NotADirectoryError):
            continue
        if str(folder) in line:
            found.append(line)
    return found


class DemoTest(unittest.TestCase):

    def test_demo(self):
        with tempfile.TemporaryDirectory(prefix="diptych-demo-") as scratch:
            folder = pathlib.Path(scratch) / "demo"
            run = subprocess.run(
                [str(tree.ROOT / "tools/demo"), f"--dir={folder}"],
                capture_output=True, text=True, timeout=120, check=False,
                stdin=subprocess.DEVNULL,
                # What is built is taken as it is.
                env={**os.environ, "DIPTYCH_BAZEL": "true",
                     "DIPTYCH_BIN": str(archive.BIN)})
            self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
            self.assertIn("1 session\n", run.stdout)
            for film, streams in (("both-sides.mp4", 4), ("clip.mp4", 2)):
                self.assertEqual(len(media.probe(folder / film)["streams"]),
                                 streams)
            images = [p for p in folder.iterdir() if p.suffix == ".png"]
            self.assertEqual([p.read_bytes() for p in images],
                             [media.DOCUMENT.read_bytes()])
            self.assertEqual(running_in(folder), [])


if __name__ == "__main__":
    unittest.main()
