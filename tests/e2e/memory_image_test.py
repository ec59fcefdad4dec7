"""The writer's own memory after sessions have closed: none of their keys, and
how much of their payload lies about in buffers.

The daemon runs as archiver alone, with the key folder moved away. What is
searched for comes from the private keys and the key store, by a program of the
test; it is found while a session is open, so that finding nothing afterwards
means something.
"""

import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import archive as archives
import matroska
import media
from archive import Archive, wait_until

SESSION_KEYS = archives.BIN / "tests/memory/session_keys"
IMAGE_SEARCH = archives.BIN / "tests/memory/image_search"

# Payload is looked for in pieces of this size, wherever they may lie.
_WINDOW = 32
# Of a piece that can't be there by chance.
_DISTINCT = 16
# Sessions that come later, and how many at a time.
_LATER = 6

# What may be left of two closed sessions' payload, as a share of it: small
# blocks in threads' caches. (Without mallopt's M_PERTURB a third is left.)
MAX_LEFT = 0.02
MAX_LEFT_LATER = 0.01


def windows(paths):
    """Pieces of the media's packets that tell them, each once."""
    found = set()
    for path in paths:
        for packet in matroska.read(path).packets:
            payload = packet.payload
            for at in range(0, len(payload) - _WINDOW + 1, _WINDOW):
                piece = payload[at:at + _WINDOW]
                if len(set(piece)) >= _DISTINCT:
                    found.add(bytes(piece))
    return sorted(found)


def search(pid, patterns):
    """The labels of (label, bytes) that are in the process's memory, with the
    place of the first hit of each."""
    lines = "".join(f"{label} {data.hex()}\n" for label, data in patterns)
    done = subprocess.run([str(IMAGE_SEARCH), str(pid)], input=lines, text=True,
                          capture_output=True, check=False, timeout=300)
    if done.returncode == 3:
        raise unittest.SkipTest("only root may look into the daemon's memory")
    if done.returncode != 0:
        raise AssertionError(f"image_search: {done.returncode} {done.stderr}")
    *hits, last = done.stdout.splitlines()
    assert int(last.split()[1]) > 1 << 20, last
    return {h.split()[1]: h.split(maxsplit=3)[3] for h in hits}


class MemoryImageTest(unittest.TestCase):

    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("only root may look into the daemon's memory")
        self.archive = Archive()
        self.addCleanup(self.archive.close)
        self.archive.init()
        self.keys = self.archive.base / "taken-away"
        self.archive.keys.rename(self.keys)
        self.archive.start("--roles=archiver")
        self.pid = self.archive.process.pid

    def session_keys(self):
        """Of all sessions: (session, class, kind, segment) -> key."""
        done = subprocess.run(
            [str(SESSION_KEYS), str(self.archive.dir), str(self.keys)],
            capture_output=True, text=True, check=True, timeout=60)
        found = {}
        for line in done.stdout.splitlines():
            session, _, key_class, kind, segment, value = line.split()
            found[session, key_class, kind, int(segment)] = (
                bytes.fromhex(value))
        return found

    def found_keys(self, keys):
        hits = search(self.pid, [("/".join(map(str, k)), v)
                                 for k, v in keys.items()])
        return {(s, c, kind, int(n)): place for (s, c, kind, n), place in
                ((label.split("/"), place) for label, place in hits.items())}

    def push(self, resident, clerk, *flags):
        done = self.archive.push("--resident", resident, "--clerk", clerk,
                                 "--tag", "item=0417", "--set_tag",
                                 "2s:item=0418", *flags)
        return done.of_type("receipt")[0]["session"]

    def make_media(self, number):
        """Media that nobody has seen: noise, which repeats nothing."""
        paths = []
        for side in ("resident", "clerk"):
            path = self.archive.base / f"{side}-{number}.mkv"
            media.ffmpeg(
                "-f", "lavfi", "-i", "color=gray:s=320x240:r=15:d=6,"
                f"noise=c0s=100:c0f=t+u:c0_seed={number + 1}",
                "-f", "lavfi", "-i",
                f"anoisesrc=d=6:seed={number}:sample_rate=48000",
                "-c:v", "libx264", "-preset", "ultrafast", "-b:v", "800k",
                "-g", "30", "-bf", "0", "-c:a", "libopus", path)
            paths.append(path)
        return paths

    def open_session(self):
        """A session that is in its second segment, of which its gateway has
        more to send; its id, and the gateway's process."""
        before = {k[0] for k in self.session_keys()}
        argv = [str(archives.DIPTYCH),
                f"--profile={self.archive.profile('gateway')}", "push",
                "--resident", str(media.RESIDENT), "--clerk", str(media.CLERK),
                "--tag", "item=0417", "--set_tag", "1s:item=0418"]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

        def second_segment():
            keys = self.session_keys()
            # Two segments more than have chunks are printed.
            found = {k[0] for k in keys if k[3] >= 3} - before
            return found.pop() if found else None
        return wait_until(second_segment, 30, "a second segment"), process

    def test_keys_go_with_their_segment_and_session(self):
        first = self.push(media.RESIDENT, media.CLERK)
        second = self.push(media.VP8_RESIDENT, media.VP8_CLERK)
        third, process = self.open_session()
        keys = self.session_keys()
        # Roots, states, keys and salts of both classes, of all segments.
        for session in (first, second, third):
            own = [k for k in keys if k[0] == session]
            self.assertGreaterEqual(len(own), 2 * 3 * 4)
        found = self.found_keys(keys)
        # The control: what an open session works with is there.
        for key_class in ("media", "metadata"):
            current = {k[3] for k in found
                       if k[:3] == (third, key_class, "key")}
            self.assertEqual(len(current), 1, found)
            self.assertGreaterEqual(min(current), 1)
            for kind in ("state", "salt"):
                self.assertIn((third, key_class, kind, min(current)), found)
            # And nothing of the segments before it: not the root either.
            self.assertFalse([k for k in found if k[:2] == (third, key_class)
                              and k[3] < min(current)], found)
        # Nothing of those that are closed.
        self.assertFalse([(k, place) for k, place in found.items()
                          if k[0] != third])

        # Nor of this one once it is closed.
        self.assertEqual(process.wait(60), 0)
        self.assertFalse(self.found_keys(self.session_keys()))
        # Nor while the daemon stops taking anything: it still lives.
        self.assertIsNone(self.archive.process.poll())

    def test_how_much_payload_lies_about(self):
        watched = windows([media.RESIDENT, media.CLERK, media.VP8_RESIDENT,
                           media.VP8_CLERK])
        total = len(watched) * _WINDOW
        self.assertGreater(total, 1_000_000)
        patterns = [(str(n), piece) for n, piece in enumerate(watched)]

        def left(when):
            found = len(search(self.pid, patterns)) * _WINDOW
            print(f"payload left {when}: {found} of {total} bytes "
                  f"({100 * found / total:.1f} %)", file=sys.stderr)
            return found / total

        self.assertEqual(left("before"), 0)
        self.push(media.RESIDENT, media.CLERK)
        self.push(media.VP8_RESIDENT, media.VP8_CLERK)
        self.assertLess(left("after two sessions have closed"), MAX_LEFT)
        for number in range(_LATER):
            self.push(*self.make_media(number))
        self.assertLess(left(f"after {_LATER} later sessions"), MAX_LEFT_LATER)


if __name__ == "__main__":
    unittest.main()
