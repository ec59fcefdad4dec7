"""A live call: RTP at its own pace, both sides complete and in sync."""

import pathlib
import statistics
import struct
import subprocess
import sys
import tempfile
import unittest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent),
                str(pathlib.Path(__file__).resolve().parent)]
import archive
import matroska
import media
import rtp

_PCAP = media.SHARED / "janus-rtpforward-h264-opus.pcap"
_SDP = [media.SHARED / f"{side}.sdp" for side in ("resident", "clerk")]
# Port in the capture -> codec, and what the export calls it.
_TRACKS = {("resident", 30000): "opus", ("resident", 30002): "h264",
           ("clerk", 30010): "opus", ("clerk", 30012): "h264"}
_SYNC_S = 0.080
# The call, the silence after which a live source has ended, and the receipt.
_PUSH_S = 90


def _units(payload):
    """NAL units of a canonical H.264 payload: each after its length."""
    at = 0
    while at < len(payload):
        size = struct.unpack_from(">I", payload, at)[0]
        yield payload[at + 4:at + 4 + size]
        at += 4 + size


@unittest.skipUnless(_PCAP.exists(), f"no {_PCAP.name} outside the repository "
                                     "(DIPTYCH_SHARED_DIR)")
class LiveCallTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.scratch = pathlib.Path(cls.enterClassContext(
            tempfile.TemporaryDirectory(prefix="diptych-live-")))
        cls.archive = cls.enterClassContext(archive.Archive())
        cls.datagrams = rtp.read_pcap(_PCAP)
        sdp, ports = rtp.move_ports(_SDP, cls.scratch)
        process = subprocess.Popen(
            [str(archive.DIPTYCH),
             f"--profile={cls.archive.profile('gateway')}", "push",
             "--resident", sdp[0], "--clerk", sdp[1],
             "--tag", "clerk=C0231", "--json"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, start_new_session=True)
        archive._running.add(process)
        try:
            archive.wait_until(
                lambda: rtp.bound(ports[p] for _, p in _TRACKS), 20,
                "the gateway's ports")
            cls.replay = rtp.Replay(cls.datagrams, ports)
            cls.replay.start()
            out, err = process.communicate(timeout=_PUSH_S)
        finally:
            archive._end_group(process)
            process.wait()
            archive._running.discard(process)
        cls.pushed = archive.Run(["push"], subprocess.CompletedProcess(
            [], process.returncode, out, err))
        if process.returncode != 0:
            raise AssertionError(str(cls.pushed))
        cls.archive.wait_indexed()
        cls.session = cls.pushed.of_type("receipt")[0]["session"]
        cls.found = {}
        for side in ("resident", "clerk"):
            path = cls.scratch / f"{side}.mkv"
            cls.archive.export(cls.session, "--side", side, "-o", path)
            file = matroska.read(path)
            for number, track in file.tracks.items():
                codec = "h264" if track.width else "opus"
                cls.found.setdefault((side, codec), []).extend(
                    file.of(number))
        path = cls.scratch / "both.mkv"
        cls.archive.export(cls.session, "-o", path)
        cls.both = matroska.read(path)

    def sent(self, port, codec):
        frames = rtp.frames(self.datagrams, port, codec)
        self.assertGreater(len(frames), 100)
        return frames

    def test_every_frame_is_there(self):
        for (side, port), codec in _TRACKS.items():
            with self.subTest(side=side, codec=codec):
                wanted = [f.units for f in self.sent(port, codec)]
                packets = self.found[side, codec]
                if codec == "h264":
                    found = [list(_units(p.payload)) for p in packets]
                else:
                    found = [[p.payload] for p in packets]
                self.assertEqual(len(found), len(wanted))
                self.assertEqual(found, wanted)

    def test_the_sides_are_in_sync(self):
        # How much later than in the capture each packet lies in the archive;
        # the same for all, but for a constant.
        late = {}
        for (side, port), codec in _TRACKS.items():
            frames = self.sent(port, codec)
            payloads = [p.payload for p in self.found[side, codec]]
            track, = [n for n in self.both.tracks
                      if [p.payload for p in self.both.of(n)] == payloads]
            late[side, codec] = [
                p.pts_ms / 1000 - f.at_s
                for p, f in zip(self.both.of(track), frames)]
        middle = {track: statistics.median(values)
                  for track, values in late.items()}
        for codec in ("opus", "h264"):
            self.assertLess(abs(middle["resident", codec]
                                - middle["clerk", codec]), _SYNC_S, middle)
        for side in ("resident", "clerk"):
            self.assertLess(abs(middle[side, "opus"] - middle[side, "h264"]),
                            _SYNC_S, middle)

    def test_it_was_a_live_one(self):
        # At its own pace, and nothing was made up.
        self.assertLess(self.replay.late_s, 1)
        self.assertEqual(self.pushed.summary["unreadable_packets"], 0)
        shown = self.archive.ok("auditor", "show", self.session)
        # The clerk joined when the capture says, and nothing else is missing.
        began = {side: min(self.sent(port, codec)[0].at_s
                           for (of, port), codec in _TRACKS.items()
                           if of == side) for side in ("resident", "clerk")}
        gap, = shown.of_type("gap")
        self.assertEqual((gap["side"], gap["from_s"]), ("clerk", 0))
        self.assertAlmostEqual(gap["to_s"], began["clerk"] - began["resident"],
                               delta=_SYNC_S)


if __name__ == "__main__":
    unittest.main()
