"""Each bad input gets one precise status; everybody else goes on."""

import pathlib
import sys
import unittest
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import grpc

import matroska
import media
import wire
from archive import Archive

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def sources():
    return [wire.Source(matroska.read(media.RESIDENT), wire.RESIDENT, 1),
            wire.Source(matroska.read(media.CLERK), wire.CLERK, 3)]


class BadInputTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.archive = Archive()
        cls.addClassCleanup(cls.archive.close)
        cls.archive.init()
        cls.archive.start()

    def setUp(self):
        self.resident, self.clerk = sources()
        self.session = str(uuid.uuid4())
        self.writer = self.archive.pid_serving("ingest")

    def tearDown(self):
        # Nothing that anybody sends stops the daemon.
        self.assertEqual(self.archive.pid_serving("ingest"), self.writer)

    def connect(self):
        channel = wire.channel(self.archive.profile("gateway"),
                               self.archive.address("ingest"))
        self.addCleanup(channel.close)
        return wire.Stream(channel)

    def opened(self, *parts, session=None):
        stream = self.connect()
        stream.send(open=wire.open_message(session or self.session, parts))
        stream.wait_for("opened")
        return stream

    def assert_refused(self, stream, code, reason, **detail):
        """The stream ends with this status and these fields of its detail."""
        got_code, message, got = stream.wait_status()
        self.assertEqual(got_code, code, message)
        self.assertTrue(message)
        self.assertIsNotNone(got, f"no detail with: {message}")
        self.assertEqual(got.reason, reason, message)
        for field, value in detail.items():
            self.assertEqual(getattr(got, field), value, field)
        return got

    def refuse_open(self, change, code, reason, **detail):
        """An Open message with one thing changed is refused."""
        message = wire.open_message(self.session, [self.resident])
        change(message)
        stream = self.connect()
        stream.send(open=message)
        return self.assert_refused(stream, code, reason, **detail)

    def assert_receipt(self, stream, side, packets):
        totals = {s.side: s.packets for s in stream.wait_for("receipt").sides}
        self.assertEqual(totals[side], packets)

    def assert_resumes_behind(self, source, sequence):
        """What was durable stays: a new stream goes on from there."""
        stream = self.connect()
        stream.send(open=wire.open_message(self.session, [source]))
        opened = stream.wait_for("opened")
        self.assertGreaterEqual(opened.progress[0].sequence, sequence)
        stream.cancel()

    # ---- Opening ----

    def test_unknown_codec(self):
        def change(message):
            message.sides[0].tracks[0].codec = 99
        self.refuse_open(change, INVALID, "UNKNOWN_CODEC", track_id=1,
                         side=wire.RESIDENT)

    def test_codec_parameters_that_do_not_parse(self):
        h264, opus = 0, 1
        good = self.resident.tracks[h264].codec_config
        for index, config in (
                (h264, b""), (h264, b"\x01\x42"), (h264, good[:-3]),
                (h264, b"\x02" + good[1:]), (h264, b"\xff" * 64),
                (opus, b"OpusHead"), (opus, b"NotOpus" * 3)):
            with self.subTest(config[:16]):
                def change(message):
                    message.sides[0].tracks[index].codec_config = config
                self.refuse_open(change, INVALID, "BAD_CODEC_CONFIG",
                                 track_id=index + 1)

    def test_tracks_that_make_no_sense(self):
        def no_id(message):
            message.sides[0].tracks[0].track_id = 0

        def big_id(message):
            message.sides[0].tracks[0].track_id = 33

        def same_id(message):
            message.sides[0].tracks[1].track_id = 1

        def other_side(message):
            message.sides[0].tracks[0].side = wire.CLERK

        def no_tracks(message):
            del message.sides[0].tracks[:]
        for change, reason in ((no_id, "BAD_TRACK"), (big_id, "BAD_TRACK"),
                               (same_id, "BAD_OPEN"), (other_side, "BAD_OPEN"),
                               (no_tracks, "BAD_OPEN")):
            with self.subTest(change.__name__):
                self.refuse_open(change, INVALID, reason)

    def test_session_id_that_is_not_a_uuid(self):
        for text in ("", "x", "310106195202030021", str(uuid.uuid4())[:-1],
                     str(uuid.uuid4()) + "0", "../../../../etc/passwd"):
            with self.subTest(text):
                def change(message):
                    message.session_id = text
                self.refuse_open(change, INVALID, "BAD_SESSION_ID")

    def test_no_side_or_an_unknown_one(self):
        def none(message):
            del message.sides[:]

        def unknown(message):
            message.sides[0].side = wire.common.SIDE_UNSPECIFIED
        for change in (none, unknown):
            with self.subTest(change.__name__):
                self.refuse_open(change, INVALID, "BAD_OPEN")

    def test_packets_before_the_first_message(self):
        stream = self.connect()
        stream.send(packets=next(self.resident.batches()))
        self.assert_refused(stream, grpc.StatusCode.FAILED_PRECONDITION,
                            "NOT_OPENED")

    def test_open_twice(self):
        stream = self.opened(self.resident)
        stream.send(open=wire.open_message(self.session, [self.resident]))
        self.assert_refused(stream, grpc.StatusCode.FAILED_PRECONDITION,
                            "OPENED_TWICE")

    def test_side_declared_twice_in_one_message(self):
        def change(message):
            again = message.sides.add()
            again.CopyFrom(message.sides[0])
            again.tracks[0].width = 320
        self.refuse_open(change, grpc.StatusCode.ALREADY_EXISTS,
                         "SIDE_CONFLICT", side=wire.RESIDENT)

    def test_side_declared_twice_with_other_tracks(self):
        first = self.opened(self.resident)
        first.send(packets=next(self.resident.batches()))
        other = wire.Source(matroska.read(media.VP8_RESIDENT), wire.RESIDENT,
                            1)
        second = self.connect()
        second.send(open=wire.open_message(self.session, [other]))
        # The newer one wins; the older is told, what it had sent is kept.
        self.assert_refused(first, grpc.StatusCode.ABORTED, "TAKEN_OVER")
        opened = second.wait_for("opened")
        self.assertEqual(opened.progress[0].sequence, 20)

    # ---- Packets ----

    def broken(self, change, at=30):
        """A stream whose packet number `at` (from 0) is changed."""
        stream = self.opened(self.resident)
        packets = [wire.ingest.Packet.FromString(p.SerializeToString())
                   for p in self.resident.packets]
        for batch in self.resident.batches():
            if batch.packets[0].sequence > at:
                break
        change(packets[at])
        stream.send(packets=wire.ingest.Packets(packets=packets[:at]))
        stream.send(packets=wire.ingest.Packets(packets=packets[at:at + 5]))
        return stream, packets[at]

    def test_sequence_gap(self):
        def change(packet):
            packet.sequence += 1
        stream, packet = self.broken(change)
        self.assert_refused(stream, INVALID, "SEQUENCE_GAP",
                            side=wire.RESIDENT, sequence=packet.sequence,
                            session_id=self.session)

    def test_time_backwards(self):
        def change(packet):
            # By half a second or more it would be a jump of the clock.
            packet.pts_us -= 400_000
            packet.dts_us -= 400_000

        def early_dts(packet):
            packet.dts_us = 0
        def negative(packet):
            packet.pts_us = -1
            packet.dts_us = -1
        late = 700
        for each in (change, early_dts, negative):
            with self.subTest(each.__name__):
                self.session = str(uuid.uuid4())
                stream, packet = self.broken(each, at=late)
                self.assert_refused(stream, INVALID, "BAD_TIME",
                                    side=wire.RESIDENT,
                                    track_id=packet.track_id,
                                    sequence=packet.sequence)

    def test_packet_of_a_track_nobody_declared(self):
        def change(packet):
            packet.track_id = 9
        stream, _ = self.broken(change)
        self.assert_refused(stream, INVALID, "UNKNOWN_TRACK", track_id=9,
                            session_id=self.session)

    def test_payload_not_in_canonical_form(self):
        video = next(i for i, p in enumerate(self.resident.packets)
                     if p.track_id == 1)
        for payload in (b"\0\0\0\1\x65" + b"x" * 50, b"\xff" * 40,
                        self.resident.packets[video].payload[:-1]):
            with self.subTest(payload[:8]):
                def change(packet):
                    packet.payload = payload
                self.session = str(uuid.uuid4())
                stream, packet = self.broken(change, at=video)
                self.assert_refused(stream, INVALID, "BAD_PAYLOAD",
                                    track_id=1, sequence=packet.sequence)

    def test_other_bytes_under_the_same_number(self):
        stream = self.opened(self.resident)
        batch = next(self.resident.batches())
        stream.send(packets=batch)
        stream.send(packets=batch)  # The same again is fine.
        forged = wire.ingest.Packets.FromString(batch.SerializeToString())
        audio = next(i for i, p in enumerate(forged.packets)
                     if p.track_id == 2)
        forged.packets[audio].payload += b"\0"
        stream.send(packets=forged)
        detail = self.assert_refused(
            stream, grpc.StatusCode.ALREADY_EXISTS, "SEQUENCE_REUSED",
            sequence=forged.packets[audio].sequence)
        self.assertEqual(len(detail.stored_sha256), 32)
        self.assertEqual(len(detail.received_sha256), 32)
        self.assertNotEqual(detail.stored_sha256, detail.received_sha256)

    def test_message_over_the_limit(self):
        stream = self.opened(self.resident)
        stream.send(packets=wire.ingest.Packets(packets=[
            wire.ingest.Packet(track_id=1, sequence=1, key_frame=True,
                               payload=b"x" * (5 << 20))]))
        code, message, _ = stream.wait_status()
        self.assertEqual(code, grpc.StatusCode.RESOURCE_EXHAUSTED, message)

    def test_packet_over_the_limit(self):
        stream = self.opened(self.resident)
        stream.send(packets=wire.ingest.Packets(packets=[
            wire.ingest.Packet(track_id=2, sequence=1, key_frame=True,
                               payload=b"x" * ((2 << 20) + 1))]))
        self.assert_refused(stream, INVALID, "BAD_PACKET", sequence=1)

    def test_too_many_packets_in_a_message(self):
        stream = self.opened(self.resident)
        audio = next(p for p in self.resident.packets if p.track_id == 2)
        stream.send(packets=wire.ingest.Packets(packets=[audio] * 4097))
        self.assert_refused(stream, INVALID, "TOO_MANY_PACKETS")

    def test_empty_packet(self):
        def change(packet):
            packet.payload = b""
        stream, packet = self.broken(change)
        self.assert_refused(stream, INVALID, "BAD_PACKET",
                            sequence=packet.sequence)

    # ---- Tags ----

    def test_bad_tags(self):
        for key, values, reason in (
                ("Clerk", ["x"], "BAD_TAG"), ("", ["x"], "BAD_TAG"),
                ("9lives", ["x"], "BAD_TAG"), ("a b", ["x"], "BAD_TAG"),
                ("a" * 64, ["x"], "BAD_TAG"), ("clerk", [""], "BAD_TAG"),
                ("clerk", ["x" * 257], "BAD_TAG"),
                ("clerk", ["x"] * 65, "BAD_NOTE"),
                ("event", ["card_read"], "BAD_NOTE")):
            with self.subTest((key[:10], len(values))):
                self.session = str(uuid.uuid4())
                stream = self.opened(self.resident)
                stream.send(notes=wire.ingest.Notes(
                    side=wire.RESIDENT,
                    notes=[wire.tag_note(1, key, values)]))
                got = self.assert_refused(stream, INVALID, reason,
                                          side=wire.RESIDENT)
                self.assertNotIn("x" * 5, stream.status[1])
                self.assertEqual(got.sequence, 1)

    def test_note_sequence_gap(self):
        stream = self.opened(self.resident)
        stream.send(notes=wire.ingest.Notes(
            side=wire.RESIDENT, notes=[wire.tag_note(2, "clerk", ["x"])]))
        self.assert_refused(stream, INVALID, "SEQUENCE_GAP",
                            side=wire.RESIDENT)

    # ---- Ends ----

    def test_stream_that_ends_without_closing(self):
        stream = self.opened(self.resident)
        for batch in self.resident.batches():
            stream.send(packets=batch)
        stream.half_close()
        self.assert_refused(stream, grpc.StatusCode.FAILED_PRECONDITION,
                            "ENDED_WITHOUT_CLOSE",
                            session_id=self.session)
        # All that came is durable nevertheless, and the session goes on.
        self.assert_resumes_behind(self.resident, len(self.resident.packets))

    def test_close_that_promises_more_than_came(self):
        stream = self.opened(self.resident)
        stream.send(packets=next(self.resident.batches()))
        stream.send(close=wire.close_message((wire.RESIDENT, 999, 0)))
        self.assert_refused(stream, grpc.StatusCode.FAILED_PRECONDITION,
                            "CLOSE_MISMATCH", side=wire.RESIDENT,
                            sequence=999)

    # ---- The others go on ----

    def test_other_side_on_the_same_stream_goes_on(self):
        stream = self.opened(self.resident, self.clerk)
        good = list(self.resident.batches(size=50))
        for batch in good[:3]:
            stream.send(packets=batch)
        forged = wire.ingest.Packets.FromString(good[3].SerializeToString())
        forged.packets[0].sequence += 7
        stream.send(packets=forged)
        failed = stream.wait_for("side_failed")
        self.assertEqual(failed.side, wire.RESIDENT)
        self.assertEqual(wire.detail_of(failed.status).reason, "SEQUENCE_GAP")
        for batch in self.clerk.batches():
            stream.send(packets=batch)
        stream.send(close=wire.close_message(
            (wire.CLERK, len(self.clerk.packets), 0)))
        stream.half_close()
        stream.wait_durable(wire.CLERK, len(self.clerk.packets))
        self.assert_refused(stream, INVALID, "SEQUENCE_GAP",
                            side=wire.RESIDENT)
        # What the refused side had given before stays.
        self.assert_receipt(stream, wire.RESIDENT, 150)
        self.assert_receipt(stream, wire.CLERK, len(self.clerk.packets))

    def test_other_sessions_go_on_and_what_was_durable_stays(self):
        other_session = str(uuid.uuid4())
        other = self.opened(self.clerk, session=other_session)
        batches = list(self.clerk.batches(size=100))
        other.send(packets=batches[0])

        stream = self.opened(self.resident)
        for batch in self.resident.batches():
            stream.send(packets=batch)
        stream.wait_durable(wire.RESIDENT, 400)
        bad = self.resident.packets[-1]
        bad.sequence += 100
        stream.send(packets=wire.ingest.Packets(packets=[bad]))
        self.assert_refused(stream, INVALID, "SEQUENCE_GAP")
        self.assert_resumes_behind(self.resident, 400)

        for batch in batches[1:]:
            other.send(packets=batch)
        last = len(self.clerk.packets)
        other.send(close=wire.close_message((wire.CLERK, last, 0)))
        self.assert_receipt(other, wire.CLERK, last)

    def test_closing_again_gives_the_same_receipt(self):
        stream = self.opened(self.clerk)
        for batch in self.clerk.batches():
            stream.send(packets=batch)
        stream.send(close=wire.close_message(
            (wire.CLERK, len(self.clerk.packets), 0)))
        receipt = stream.wait_for("receipt")
        self.assertEqual(stream.wait_status()[0], grpc.StatusCode.OK)
        # A gateway that missed it opens again and finds it waiting.
        again = self.connect()
        again.send(open=wire.open_message(self.session, [self.clerk]))
        self.assertEqual(again.wait_for("receipt"), receipt)
        self.assertEqual(again.wait_status()[0], grpc.StatusCode.OK)


if __name__ == "__main__":
    unittest.main()
