"""An exported MP4 plays in a browser's video element."""

import functools
import http.server
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import media
from archive import Archive

_PLAY_S = 60

# Plays the file at four times its speed and tells the server how it went.
_PAGE = """<!doctype html><meta charset="utf-8"><video id="v" muted></video>
<script>
const v = document.getElementById('v');
const tell = (what) => fetch('/result', {method: 'POST', body: JSON.stringify({
  what, duration: v.duration, time: v.currentTime, width: v.videoWidth,
  frames: v.getVideoPlaybackQuality().totalVideoFrames,
  error: v.error && v.error.message})});
v.addEventListener('ended', () => tell('ended'));
v.addEventListener('error', () => tell('error'));
v.src = 'film.mp4';
v.playbackRate = 4;
v.play().catch((e) => tell('refused: ' + e));
</script>
"""


class _Handler(http.server.SimpleHTTPRequestHandler):

    def __init__(self, *arguments, told, **options):
        self._told = told
        super().__init__(*arguments, **options)

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        self._told(json.loads(self.rfile.read(length)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


@unittest.skipUnless(shutil.which("chromium"), "no chromium")
class BrowserTest(unittest.TestCase):

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="diptych-browser-")))
        self.site = self.folder / "site"
        self.site.mkdir()

    def play(self):
        """What the page said of site/film.mp4."""
        said = []
        heard = threading.Event()

        def told(message):
            said.append(message)
            heard.set()
        (self.site / "index.html").write_text(_PAGE)
        server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0),
            functools.partial(_Handler, directory=str(self.site), told=told))
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with open(self.folder / "chromium.log", "wb") as log:
            browser = subprocess.Popen(
                ["chromium", "--headless", "--no-sandbox", "--disable-gpu",
                 "--no-first-run", "--disable-background-networking",
                 "--disable-component-update", "--disable-sync",
                 "--disable-default-apps", "--disable-dev-shm-usage",
                 "--autoplay-policy=no-user-gesture-required",
                 "--remote-debugging-port=0",
                 f"--user-data-dir={self.folder / 'browser'}",
                 f"http://127.0.0.1:{server.server_port}/index.html"],
                stdout=log, stderr=log, start_new_session=True)
        try:
            heard.wait(_PLAY_S)
        finally:
            self.end(browser)
        if not said:
            self.fail("the browser said nothing:\n" + (
                self.folder / "chromium.log").read_text()[-2000:])
        return said[0]

    def end(self, browser):
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()

    def test_exported_mp4_plays(self):
        archive = Archive()
        self.addCleanup(archive.close)
        archive.init()
        archive.start()
        done = archive.push("--resident", media.RESIDENT,
                            "--clerk", media.CLERK, "--tag", "clerk=C0231")
        session = done.of_type("receipt")[0]["session"]
        archive.wait_indexed()
        archive.export(session, "--side", "resident", "--format", "mp4",
                       "-o", self.site / "film.mp4")
        said = self.play()
        self.assertEqual(said["what"], "ended", said)
        self.assertIsNone(said["error"])
        # The picture changes from 640x360 to 480x270 in mid-call.
        self.assertEqual(said["width"], 480)
        self.assertAlmostEqual(said["duration"], 12.0, delta=0.3)
        self.assertGreater(said["frames"], 100)

    def test_the_test_notices_a_film_that_does_not_play(self):
        (self.site / "film.mp4").write_bytes(b"\0" * 4096)
        self.assertNotEqual(self.play()["what"], "ended")


if __name__ == "__main__":
    unittest.main()
