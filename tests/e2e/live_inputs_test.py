"""Live inputs from real servers: into `push`, and out of the archive again.

FFmpeg plays the recorded call at its own pace as a server would.
"""

import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import unittest
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import archive as archives
import media
from archive import Archive, wait_until

RECORDING_S = 12.0
# What a receiver that joins a running stream may miss of it: up to a key frame.
JOIN_S = 4.0
# Between sound and picture, at most.
SYNC_S = 0.080
# Debian's own, which sees Debian's python3-gi.
SYSTEM_PYTHON = "/usr/bin/python3"
RTSP_SERVER = pathlib.Path(__file__).resolve().parent / "rtsp_server.py"
TCP = socket.SOCK_STREAM
UDP = socket.SOCK_DGRAM


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def free_rtp_ports():
    """Two even UDP ports, each with the one after it free for RTCP."""
    found = []
    while len(found) < 2:
        port = free_port(UDP) & ~1
        with socket.socket(socket.AF_INET, UDP) as rtp, \
                socket.socket(socket.AF_INET, UDP) as rtcp:
            try:
                rtp.bind(("127.0.0.1", port))
                rtcp.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


def has_rtsp_server():
    """Whether the server of rtsp_server.py is installed."""
    return subprocess.run(
        [SYSTEM_PYTHON, "-B", str(RTSP_SERVER), "--check"],
        stdin=subprocess.DEVNULL, capture_output=True, check=False,
        timeout=60).returncode == 0


def listens(kind, port):
    """Somebody has this port of ours."""
    table = "/proc/net/tcp" if kind == TCP else "/proc/net/udp"
    return any(line.split()[1].endswith(f":{port:04X}")
               for line in pathlib.Path(table).read_text().splitlines()[1:])


class LiveInputsTest(unittest.TestCase):

    def setUp(self):
        self.archive = Archive()
        self.addCleanup(self.archive.close)
        self.archive.init()
        self.archive.start()
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="diptych-live-")))
        self.session = str(uuid.uuid4())

    def start(self, argv, name, **options):
        with open(self.folder / name, "ab") as log:
            process = subprocess.Popen(argv, stderr=log, **options)

        def end():
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
        self.addCleanup(end)
        return process

    def play(self, recording, *output, **options):
        return self.start(
            ["ffmpeg", "-v", "error", "-nostdin", "-re", "-i", str(recording),
             "-c:v", "copy", *map(str, output)], "ffmpeg.log", **options)

    def push(self, *arguments, stdin=subprocess.DEVNULL):
        with open(self.folder / "push.out", "wb") as out:
            return self.start(
                [str(archives.DIPTYCH),
                 f"--profile={self.archive.profile('gateway')}", "push",
                 "--json", f"--session={self.session}", *arguments],
                "push.err", stdin=stdin, stdout=out,
                env={**os.environ, "NO_COLOR": "1"})

    def said(self):
        return "".join((self.folder / name).read_text(errors="replace")
                       for name in ("push.out", "push.err", "ffmpeg.log",
                                    "rtsp.log")
                       if (self.folder / name).exists())

    def finish(self, push):
        try:
            push.wait(60)
        except subprocess.TimeoutExpired:
            raise AssertionError(self.said()) from None
        lines = [json.loads(line) for line in
                 (self.folder / "push.out").read_text().splitlines()]
        self.assertEqual(lines[-1]["message_type"], "summary", self.said())
        for side in lines[-1]["sides"]:
            self.assertEqual(side["dropped"], 0)
            self.assertEqual(side["acknowledged"], side["accepted"])
        self.assertEqual(len(lines[-1]["sides"]), 2)
        return lines

    def assert_whole_call(self, lines, missing_s=JOIN_S):
        receipt, = [m for m in lines if m["message_type"] == "receipt"]
        for side in receipt["sides"]:
            self.assertGreater(side["end_s"] - side["start_s"],
                               RECORDING_S - missing_s, self.said())
        self.archive.wait_indexed()
        path = self.folder / "out.mkv"
        self.archive.export(self.session, "--format", "mkv", "-o", path)
        streams = media.probe(path)["streams"]
        self.assertEqual([s["codec_type"] for s in streams].count("video"), 2)
        self.assertEqual([s["codec_type"] for s in streams].count("audio"), 2)

    def both_sides(self, kind, url_of, play):
        """Serves both recordings, pushes both, and returns push's lines."""
        ports = [free_port(kind), free_port(kind)]
        for recording, port in zip((media.RESIDENT, media.CLERK), ports):
            play(recording, port)
        return self.finish(self.push(f"--resident={url_of(ports[0])}",
                                     f"--clerk={url_of(ports[1])}"))

    def test_udp_transport_streams(self):
        lines = self.both_sides(
            UDP, lambda port: f"udp://127.0.0.1:{port}",
            lambda recording, port: self.play(
                recording, "-c:a", "copy", "-f", "mpegts",
                f"udp://127.0.0.1:{port}?pkt_size=1316"))
        self.assert_whole_call(lines)

    def test_srt(self):
        def play(recording, port):
            self.play(recording, "-c:a", "copy", "-f", "mpegts",
                      f"srt://127.0.0.1:{port}?mode=listener")
            wait_until(lambda: listens(UDP, port), 20, "the SRT listener")
        lines = self.both_sides(
            UDP, lambda port: f"srt://127.0.0.1:{port}?mode=caller", play)
        self.assert_whole_call(lines)

    def test_rtmp(self):
        def play(recording, port):
            self.play(recording, "-c:a", "aac", "-f", "flv", "-listen", "1",
                      f"rtmp://127.0.0.1:{port}/live/call")
            wait_until(lambda: listens(TCP, port), 20, "the RTMP listener")
        lines = self.both_sides(
            TCP, lambda port: f"rtmp://127.0.0.1:{port}/live/call", play)
        self.assert_whole_call(lines)

    def assert_senders_clocks(self):
        """Every track has anchors of its sender's clock."""
        shown = self.archive.ok("auditor", "show", self.session)
        clocks = shown.of_type("clock")
        self.assertEqual(len(clocks), 4, shown)
        for clock in clocks:
            self.assertIn("rtcp", clock["sources"], shown)
            # Sender and archive have the machine's clock.
            self.assertLess(abs(clock["max_offset_s"]), 2, shown)
        return clocks

    def assert_in_sync(self, side, recording):
        """Sound and picture lie to each other as in the recording."""
        path = self.folder / f"{side}.mkv"
        self.archive.export(self.session, "--side", side, "-o", path)
        recorded = {p["data_hash"]: p for p in
                    media.probe(recording)["packets"]}
        late = {"audio": [], "video": []}
        for packet in media.probe(path)["packets"]:
            if packet["data_hash"] in recorded:
                late[packet["codec_type"]].append(
                    float(packet["pts_time"])
                    - float(recorded[packet["data_hash"]]["pts_time"]))
        self.assertGreater(min(map(len, late.values())), 20)
        self.assertLess(abs(statistics.median(late["audio"])
                            - statistics.median(late["video"])), SYNC_S, side)

    def test_rtp_with_sender_reports(self):
        sdps = []
        for side, recording in (("resident", media.RESIDENT),
                                ("clerk", media.CLERK)):
            video, audio = free_rtp_ports()
            sdp = self.folder / f"{side}.sdp"
            # FFmpeg reports with the first packet, and every 5 s.
            self.play(recording, "-map", "0:v", "-f", "rtp",
                      f"rtp://127.0.0.1:{video}", "-map", "0:a", "-c:a", "copy",
                      "-f", "rtp", f"rtp://127.0.0.1:{audio}",
                      "-sdp_file", sdp)
            sdps.append(sdp)
        wait_until(lambda: all(s.exists() and s.read_text().count("m=") == 2
                               for s in sdps), 20, "the SDP files")
        lines = self.finish(self.push(f"--resident={sdps[0]}",
                                      f"--clerk={sdps[1]}"))
        self.assert_whole_call(lines)
        self.assertEqual(lines[-1]["unreadable_packets"], 0, self.said())
        self.assert_senders_clocks()
        self.assert_in_sync("resident", media.RESIDENT)
        self.assert_in_sync("clerk", media.CLERK)

    @unittest.skipUnless(has_rtsp_server(), "no RTSP server (Debian's "
                         "gir1.2-gst-rtsp-server-1.0 and python3-gi)")
    def test_rtsp(self):
        urls = []
        for side, recording in (("resident", media.RESIDENT),
                                ("clerk", media.CLERK)):
            port = self.folder / f"{side}.port"
            self.start([SYSTEM_PYTHON, "-B", str(RTSP_SERVER), str(recording),
                        str(port)], "rtsp.log", stdin=subprocess.PIPE)
            wait_until(lambda: port.exists() and port.read_text(), 20,
                       "the RTSP server")
            urls.append(f"rtsp://127.0.0.1:{port.read_text()}/call")
        lines = self.finish(self.push(f"--resident={urls[0]}",
                                      f"--clerk={urls[1]}"))
        self.assert_whole_call(lines)
        self.assertEqual(lines[-1]["unreadable_packets"], 0, self.said())
        self.assert_senders_clocks()
        self.assert_in_sync("resident", media.RESIDENT)
        self.assert_in_sync("clerk", media.CLERK)

    def test_stdin_carries_a_running_container(self):
        play = self.play(media.RESIDENT, "-c:a", "copy", "-f", "matroska", "-",
                         stdout=subprocess.PIPE)
        push = self.push("--resident=-", f"--clerk={media.CLERK}",
                         stdin=play.stdout)
        play.stdout.close()
        self.assert_whole_call(self.finish(push))

    def test_a_gateway_that_died_goes_on_with_a_live_call(self):
        spool = self.folder / "spool"
        ports = [free_port(UDP), free_port(UDP)]
        arguments = [f"--resident=udp://127.0.0.1:{ports[0]}",
                     f"--clerk=udp://127.0.0.1:{ports[1]}", f"--spool={spool}"]
        for recording, port in zip((media.RESIDENT, media.CLERK), ports):
            self.play(recording, "-c:a", "copy", "-f", "mpegts",
                      f"udp://127.0.0.1:{port}?pkt_size=1316")
        self.archive.kill()
        push = self.push(*arguments)
        wait_until(lambda: sum(f.stat().st_size
                               for f in spool.glob("*/*.spool")) > 60_000
                   or push.poll() is not None, 20, "the spool to fill")
        self.assertIsNone(push.poll(), self.said())
        push.kill()
        push.wait()
        push = self.push(*arguments)
        self.archive.start()
        lines = self.finish(push)
        receipt, = [m for m in lines if m["message_type"] == "receipt"]
        for side, counted in zip(receipt["sides"], lines[-1]["sides"]):
            # What the first one spooled and the second one read, without holes.
            self.assertEqual(side["final_sequence"], side["packets"])
            self.assertEqual(side["packets"], counted["accepted"])
        sent = sum(side["accepted"] for side in lines[-1]["sides"])
        self.assertGreater(sent, lines[-1]["packets"])
        self.assertEqual(list(spool.glob("*/*.spool")), [])


if __name__ == "__main__":
    unittest.main()
