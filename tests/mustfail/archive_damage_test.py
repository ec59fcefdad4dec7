"""Whatever is done to an archive on disk, check finds it and names it.

This runs over a part of the bytes; tests/mustfail/every_byte over each.
"""

import pathlib
import random
import sys
import unittest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent),
                str(pathlib.Path(__file__).resolve().parent)]
from small_archive import SmallArchive

# Flips of bytes, and as many again under checksums that are made again.
_FLIPS = 6000


class ArchiveDamageTest(unittest.TestCase):

    def test_all_is_found(self):
        with SmallArchive() as small:
            every = max(1, small.sizes() // _FLIPS)
            begin = random.SystemRandom().randrange(every)
            code, said = small.damage(every, begin)
            self.assertEqual(
                code, 0, f"--every={every} --from={begin}\n{said[-8000:]}")
            self.assertRegex(said, r"\d{4,} forgeries, 0 undetected")
            # And the command says so with its exit code.
            checked = small.archive.check("--read-data", "--keys",
                                          small.archive.keys)
            self.assertEqual(checked.code, 0, str(checked))
            volume = next((small.archive.dir / "volumes").iterdir())
            bytes_ = bytearray(volume.read_bytes())
            bytes_[len(bytes_) // 2] ^= 1
            volume.write_bytes(bytes_)
            checked = small.archive.check("--read-data")
            self.assertEqual(checked.code, 6, str(checked))
            self.assertIn(volume.name, checked.stderr)


if __name__ == "__main__":
    unittest.main()
