"""Two sides whose clocks and pauses are known, and what the archive makes of
them: where packets come to lie on the session's timeline, and what is told of
it."""

import pathlib
import struct
import sys
import unittest
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import matroska
import media
import wire
from archive import Archive

PACKET_US = 20_000
PACKET_BYTES = 160
SECOND_US = 1_000_000
# What the archive promises, and what it reaches where nothing hinders it.
PROMISED_MS = 80
DRIFT_REACHED_MS = 10
HONEST_MS = 1
GAP_S = 0.020


def honest(true_us):
    return true_us


def fast_by(ppm):
    return lambda true_us: true_us + true_us * ppm // 1_000_000


def stepping(at_us, by_us):
    return lambda true_us: true_us + (by_us if true_us >= at_us else 0)


def p95(values):
    return sorted(values)[int(len(values) * 0.95)]


class Side:
    """What one side gives: packets with true times, sent under its own clock.

    An anchor for every second and track, right to the microsecond, goes out
    before the first packet that it concerns.
    """

    def __init__(self, side, tracks, clock=honest):
        self.side = side
        self.tracks = tracks
        self.clock = clock
        # (true time, track, payload, pts - dts, duration, key frame)
        self.media = []
        self.notes = 0
        self.sequence = 0

    def open_side(self):
        return wire.ingest.OpenSide(side=self.side, tracks=self.tracks)

    def messages(self, start):
        """(true time, fields of a RecordRequest) in the order of sending."""
        anchored = {}
        for true_us, track, payload, shift_us, duration_us, key in self.media:
            if true_us - anchored.get(track, -SECOND_US) >= SECOND_US or (
                    self.clock(true_us) - self.clock(true_us - PACKET_US)
                    not in range(PACKET_US // 2, 2 * PACKET_US)):
                anchored[track] = true_us
                self.notes += 1
                anchor = wire.ingest.ClockAnchor(
                    track_id=track, media_us=self.clock(true_us), source="ntp")
                anchor.wall_time.FromMicroseconds(start + true_us)
                yield true_us, {"notes": wire.ingest.Notes(
                    side=self.side, notes=[wire.ingest.Note(
                        note_sequence=self.notes,
                        at_us=self.clock(true_us), clock_anchor=anchor)])}
            self.sequence += 1
            raw_us = self.clock(true_us)
            yield true_us, {"packets": wire.ingest.Packets(packets=[
                wire.ingest.Packet(
                    track_id=track, sequence=self.sequence, dts_us=raw_us,
                    pts_us=raw_us + shift_us, duration_us=duration_us,
                    key_frame=key, payload=payload)])}


def speech(side, track_ids, clock=honest):
    """A side of G.711 tracks; nothing is said yet."""
    return Side(side, [wire.common.Track(
        track_id=track_id, side=side, source=wire.common.SOURCE_MICROPHONE,
        codec=wire.common.CODEC_G711_ULAW, sample_rate_hz=8000, channels=1)
                       for track_id in track_ids], clock)


def say(side, track, from_s, to_s):
    """Packets that carry who said them and when."""
    for true_us in range(int(from_s * SECOND_US), int(to_s * SECOND_US),
                         PACKET_US):
        payload = struct.pack(">BBQ", 0xD1, track, true_us)
        side.media.append((true_us, track,
                           payload + bytes(PACKET_BYTES - len(payload)),
                           0, PACKET_US, True))
    side.media.sort(key=lambda m: m[0])


class ClocksTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.archive = cls.enterClassContext(Archive())

    def record(self, *sides):
        """Sends a whole session and returns its id."""
        session = str(uuid.uuid4())
        channel = wire.channel(self.archive.profile("gateway"),
                               self.archive.address("ingest"))
        self.addCleanup(channel.close)
        stream = wire.Stream(channel)
        opening = wire.open_message(session, sides)
        stream.send(open=opening)
        stream.wait_for("opened")
        start = opening.start_time.ToMicroseconds()
        messages = [m for side in sides for m in side.messages(start)]
        for _, fields in sorted(messages, key=lambda m: m[0]):
            stream.send(**fields)
        stream.send(close=wire.close_message(
            *[(s.side, s.sequence, s.notes) for s in sides]))
        stream.wait_for("receipt")
        self.archive.wait_indexed()
        done = self.archive.check("--read-data", "--keys", self.archive.keys)
        self.assertEqual(done.code, 0, done)
        return session

    def export(self, session, *arguments):
        path = self.archive.base / f"{uuid.uuid4()}.mkv"
        self.archive.export(session, "-o", path, *arguments)
        return matroska.read(path)

    def segments(self, session, filter_text=""):
        """As query lists them, the earliest first."""
        done = self.archive.ok(
            "auditor", "query", f'session = "{session}" {filter_text}',
            "--segments", "--oldest-first")
        return done.of_type("segment")

    def show(self, session):
        return self.archive.ok("auditor", "show", session)

    def errors_ms(self, session, sides):
        """{side: {true ms: exported ms - true ms}}; every packet is there."""
        errors = {side.side: {} for side in sides}
        side_of = {t.track_id: s.side for s in sides for t in s.tracks}
        last = {}
        for packet in self.export(session).packets:
            mark, track, true_us = struct.unpack_from(">BBQ", packet.payload)
            self.assertEqual(mark, 0xD1)
            self.assertGreaterEqual(packet.pts_ms, last.get(packet.track, 0))
            last[packet.track] = packet.pts_ms
            errors[side_of[track]][true_us // 1000] = (
                packet.pts_ms - true_us / 1000)
        for side in sides:
            self.assertEqual(len(errors[side.side]), len(side.media))
        return errors

    def mutual_ms(self, errors):
        one, other = errors[wire.RESIDENT], errors[wire.CLERK]
        return [abs(one[t] - other[t]) for t in one if t in other]

    def gaps(self, session):
        return {(g["side"], g.get("track"), round(g["from_s"])):
                g["duration_s"] for g in self.show(session).of_type("gap")}

    def test_honest_clocks(self):
        sides = [speech(wire.RESIDENT, [1]), speech(wire.CLERK, [2])]
        for side in sides:
            say(side, side.tracks[0].track_id, 0, 20)
        session = self.record(*sides)
        for errors in self.errors_ms(session, sides).values():
            self.assertLessEqual(max(map(abs, errors.values())), HONEST_MS)
        shown = self.show(session)
        self.assertEqual(shown.of_type("gap"), [])
        self.assertEqual(
            [c for c in shown.of_type("clock_change")
             if c["reason"] != "placed"], [])

    def test_a_side_placed_wrongly_is_put_right(self):
        # The clerk's gateway began half a minute late and counts from 0.
        sides = [speech(wire.RESIDENT, [1]),
                 speech(wire.CLERK, [2], lambda t: t - 30 * SECOND_US)]
        say(sides[0], 1, 0, 40)
        say(sides[1], 2, 30, 40)
        session = self.record(*sides)
        for errors in self.errors_ms(session, sides).values():
            self.assertLessEqual(max(map(abs, errors.values())), HONEST_MS)
        placed = [c for c in self.show(session).of_type("clock_change")
                  if c["reason"] == "placed" and c["side"] == "clerk"]
        self.assertEqual([c["offset_s"] for c in placed], [30.0])

    def test_drift(self):
        sides = [speech(wire.RESIDENT, [1], fast_by(200)),
                 speech(wire.CLERK, [2], fast_by(-200))]
        for side in sides:
            say(side, side.tracks[0].track_id, 0, 120)
        session = self.record(*sides)
        errors = self.errors_ms(session, sides)
        mutual = self.mutual_ms(errors)
        self.assertEqual(len(mutual), 6000)
        # Left alone they would be 48 ms apart in the end.
        self.assertLessEqual(p95(mutual), DRIFT_REACHED_MS)
        for of_side in errors.values():
            self.assertLessEqual(p95(list(map(abs, of_side.values()))),
                                 DRIFT_REACHED_MS)
        shown = self.show(session)
        drifts = {c["side"] for c in shown.of_type("clock_change")
                  if c["reason"] == "drift"}
        self.assertEqual(drifts, {"resident", "clerk"})
        self.assertEqual(shown.of_type("gap"), [])

    def test_steps(self):
        sides = [speech(wire.RESIDENT, [1],
                        stepping(40 * SECOND_US, 2 * SECOND_US)),
                 speech(wire.CLERK, [2],
                        stepping(60 * SECOND_US, -2 * SECOND_US))]
        for side in sides:
            say(side, side.tracks[0].track_id, 0, 90)
        session = self.record(*sides)
        errors = self.errors_ms(session, sides)
        self.assertLessEqual(p95(self.mutual_ms(errors)), PROMISED_MS)
        for of_side in errors.values():
            self.assertLessEqual(p95(list(map(abs, of_side.values()))),
                                 PROMISED_MS)
        shown = self.show(session)
        jumps = [(c["side"], round(c["at_s"]))
                 for c in shown.of_type("clock_change")
                 if c["reason"] == "jump"]
        self.assertEqual(jumps, [("resident", 40), ("clerk", 60)])
        events = [e for e in shown.of_type("event")
                  if e["type"] == "clock_jumped"]
        self.assertEqual(
            [(e["side"], e["attributes"]) for e in events],
            [("resident", {"track": "1", "by_ms": "2000"}),
             ("clerk", {"track": "2", "by_ms": "-2000"})])
        self.assertEqual(len(shown.of_type("span")), 3)
        self.assertEqual(shown.of_type("gap"), [])
        found = self.archive.query(f'event = clock_jumped '
                                   f'AND session = "{session}"')
        self.assertEqual([s["session"] for s in found], [session])

    def test_pauses(self):
        sides = [speech(wire.RESIDENT, [1, 2]), speech(wire.CLERK, [3])]
        # One microphone is silent while the other goes on.
        say(sides[0], 1, 0, 60)
        say(sides[0], 2, 0, 12.5)
        say(sides[0], 2, 17, 60)
        # The clerk joins late, and is away for a while.
        say(sides[1], 3, 30, 41)
        say(sides[1], 3, 51, 60)
        session = self.record(*sides)
        for errors in self.errors_of_tracks(session).values():
            self.assertLessEqual(max(map(abs, errors)), HONEST_MS)
        gaps = self.gaps(session)
        expected = {("clerk", None, 0): 30.0, ("clerk", None, 41): 10.0,
                    ("resident", 2, 12): 4.5}
        self.assertEqual(gaps.keys(), expected.keys())
        for gap, length_s in expected.items():
            self.assertAlmostEqual(gaps[gap], length_s, delta=GAP_S)
        silences = [e for e in self.show(session).of_type("event")
                    if e["type"] == "silence"]
        self.assertEqual([e["attributes"]["track"] for e in silences], ["2"])

    def test_pauses_at_the_ends(self):
        sides = [speech(wire.RESIDENT, [1]), speech(wire.CLERK, [2, 3])]
        say(sides[0], 1, 5, 30)
        say(sides[1], 2, 0, 22)
        say(sides[1], 3, 0, 15)
        session = self.record(*sides)
        gaps = self.gaps(session)
        expected = {("resident", None, 0): 5.0, ("clerk", None, 22): 8.0,
                    ("clerk", 3, 15): 7.0}
        self.assertEqual(gaps.keys(), expected.keys())
        for gap, length_s in expected.items():
            self.assertAlmostEqual(gaps[gap], length_s, delta=GAP_S)

    def errors_of_tracks(self, session):
        errors = {}
        for packet in self.export(session).packets:
            _, track, true_us = struct.unpack_from(">BBQ", packet.payload)
            errors.setdefault(track, []).append(
                packet.pts_ms - true_us / 1000)
        return errors

    def test_a_recorded_call(self):
        sides = []
        for path, number, first_track, clock in (
                (media.RESIDENT, wire.RESIDENT, 1, fast_by(200)),
                (media.CLERK, wire.CLERK, 3,
                 stepping(4 * SECOND_US, 2 * SECOND_US))):
            source = wire.Source(matroska.read(path), number, first_track)
            side = Side(number, source.tracks, clock)
            for packet in source.packets:
                side.media.append((packet.dts_us, packet.track_id,
                                   packet.payload, 0, packet.duration_us,
                                   packet.key_frame))
            sides.append(side)
        session = self.record(*sides)
        given = {}
        for side in sides:
            for true_us, track, payload, *_ in side.media:
                given.setdefault(track, []).append((payload, true_us / 1000))
        got = {}
        for packet in self.export(session).packets:
            got.setdefault(packet.track, []).append(
                (packet.payload, packet.pts_ms))
        # The file's tracks by what they hold: a jump makes no further one.
        self.assertEqual(len(got), len(given))
        for packets in given.values():
            of_track = [t for t in got.values()
                        if [p for p, _ in t] == [p for p, _ in packets]]
            self.assertEqual(len(of_track), 1)
            errors = [abs(a - b) for (_, a), (_, b)
                      in zip(of_track[0], packets)]
            self.assertLessEqual(p95(errors), PROMISED_MS)
        jumps = {c["track"] for c in self.show(session).of_type("clock_change")
                 if c["reason"] == "jump"}
        self.assertEqual(jumps, {3, 4})

        # The span that began there begins without a key frame, says so, and
        # plays from the key frame before.
        video = next(t.track_id for t in sides[1].tracks if t.width > 0)
        keyless = [s for s in self.segments(session)
                   if video in s["tracks_without_key_frame"]]
        self.assertTrue(keyless)
        whole = self.segments(session)[0]
        self.assertEqual(whole["tracks_without_key_frame"], [])
        clip = self.export(session, "--side=clerk",
                           f"--from={keyless[0]['from_s'] + 0.1:.3f}s")
        number = next(n for n, t in clip.tracks.items() if t.width > 0)
        pictures = [p for p in clip.packets if p.track == number]
        self.assertTrue(pictures[0].key)

    def test_a_side_that_comes_long_after_its_time(self):
        sides = [speech(wire.RESIDENT, [1]), speech(wire.CLERK, [2])]
        say(sides[0], 1, 0, 60)
        say(sides[1], 2, 0, 60)
        session = str(uuid.uuid4())
        channel = wire.channel(self.archive.profile("gateway"),
                               self.archive.address("ingest"))
        self.addCleanup(channel.close)
        opening = wire.open_message(session, sides[:1])
        start = opening.start_time.ToMicroseconds()
        live, late = (wire.Stream(channel) for _ in sides)
        live.send(open=opening)
        live.wait_for("opened")
        live.send(notes=wire.ingest.Notes(side=wire.RESIDENT, notes=[
            wire.tag_note(1, "item", ["1"]),
            wire.tag_note(2, "item", ["2"], 30 * SECOND_US)]))
        sides[0].notes = 2
        messages = list(sides[0].messages(start))
        for true_us, fields in messages:
            if true_us < 30 * SECOND_US:
                live.send(**fields)
        live.wait_durable(wire.RESIDENT, 1500)
        # Now the clerk's spool drains from the start, and the call goes on:
        # three seconds of the one, three of the other.
        late.send(open=wire.open_message(session, sides[1:],
                                         opening.start_time))
        late.wait_for("opened")
        spool = list(sides[1].messages(start))
        for at_s in range(0, 30, 3):
            for stream, some, from_s in ((live, messages, 30 + at_s),
                                         (late, spool, at_s)):
                for true_us, fields in some:
                    if from_s <= true_us // SECOND_US < from_s + 3:
                        stream.send(**fields)
            live.wait_durable(wire.RESIDENT, 1500 + 50 * at_s)
            late.wait_durable(wire.CLERK, 50 * at_s)
        for true_us, fields in spool:
            if true_us >= 30 * SECOND_US:
                late.send(**fields)
        late.wait_durable(wire.CLERK, 2900)
        live.send(close=wire.close_message(
            (wire.RESIDENT, sides[0].sequence, sides[0].notes)))
        late.send(close=wire.close_message(
            (wire.CLERK, sides[1].sequence, sides[1].notes)))
        late.wait_for("receipt")
        self.archive.wait_indexed()

        for errors in self.errors_ms(session, sides).values():
            self.assertLessEqual(max(map(abs, errors.values())), HONEST_MS)
        stamps = [p.pts_ms for p in self.export(session).packets]
        self.assertEqual(stamps, sorted(stamps))
        self.assertEqual(self.show(session).of_type("gap"), [])
        for item, from_s, to_s in (("1", 0, 30), ("2", 30, 60)):
            found = self.segments(session, f'item = "{item}"')
            self.assertGreaterEqual(min(s["from_s"] for s in found), from_s)
            self.assertLess(max(s["from_s"] for s in found), to_s)
            # Nothing of it is under another item.
            self.assertEqual(sum(s["bytes"] for s in found),
                             2 * 30 * 50 * PACKET_BYTES)
            times = [s["from_s"] for s in found]
            self.assertEqual(times, sorted(times))
        done = self.archive.check("--read-data", "--keys", self.archive.keys)
        self.assertEqual(done.code, 0, done)


if __name__ == "__main__":
    unittest.main()
