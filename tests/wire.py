"""A session gateway and an auditor in Python, on the .proto files alone."""

import fcntl
import hashlib
import importlib
import os
import pathlib
import queue
import subprocess
import sys
import threading

import grpc

import tree

_FILES = [f for f in tree.files_ending(".proto")
          if f.startswith("proto/api/")]


def _stubs():
    """Generates Python stubs into .work, once for each state of the protos."""
    digest = hashlib.sha256()
    for name in _FILES:
        digest.update(name.encode() + (tree.ROOT / name).read_bytes())
    folder = tree.ROOT / ".work" / "stubs" / digest.hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            subprocess.run(
                ["protoc", f"-I{tree.ROOT}", "-I/usr/include",
                 f"--python_out={folder}", f"--grpc_python_out={folder}",
                 "--plugin=protoc-gen-grpc_python=/usr/bin/grpc_python_plugin",
                 *_FILES],
                check=True, cwd=tree.ROOT)
            (folder / "done").touch()
    return folder


# Some builds of gRPC print a line on every connection that is refused.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
sys.path.insert(0, str(_stubs()))
common = importlib.import_module("proto.api.v1.common_pb2")
ingest = importlib.import_module("proto.api.v1.ingest_pb2")
catalog = importlib.import_module("proto.api.v1.catalog_pb2")
media = importlib.import_module("proto.api.v1.media_pb2")
ingest_grpc = importlib.import_module("proto.api.v1.ingest_pb2_grpc")
catalog_grpc = importlib.import_module("proto.api.v1.catalog_pb2_grpc")
media_grpc = importlib.import_module("proto.api.v1.media_pb2_grpc")
log_grpc = importlib.import_module("proto.api.v1.archive_log_pb2_grpc")
archive_log = importlib.import_module("proto.api.v1.archive_log_pb2")

RESIDENT = common.SIDE_RESIDENT
CLERK = common.SIDE_CLERK

# How long an answer may take before it counts as never coming.
WAIT_S = 20


def channel(profile, address):
    """A channel with a profile folder's certificate."""
    profile = pathlib.Path(profile)
    return channel_with(address, (profile / "ca.crt").read_bytes(),
                        (profile / "client.key").read_bytes(),
                        (profile / "client.crt").read_bytes())


def channel_with(address, ca, key, certificate):
    credentials = grpc.ssl_channel_credentials(ca, key, certificate)
    return grpc.secure_channel(
        address, credentials,
        options=[("grpc.max_receive_message_length", 16 << 20),
                 ("grpc.enable_retries", 0)])


def status_of(error):
    """(code, message, ErrorDetail or None) of a grpc.RpcError."""
    detail = None
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            detail = detail_of(common.RpcStatus.FromString(value))
    return error.code(), error.details(), detail


def detail_of(status):
    """The ErrorDetail inside an RpcStatus; None if it has none."""
    for packed in status.details:
        detail = common.ErrorDetail()
        if packed.Unpack(detail):
            return detail
    return None


class Stream:
    """One Ingest.Record stream. Keeps every answer."""

    def __init__(self, channel_):
        self._requests = queue.Queue()
        self._changed = threading.Condition()
        self.answers = []
        self.status = None
        self._call = ingest_grpc.IngestStub(channel_).Record(
            iter(self._requests.get, None))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        try:
            for answer in self._call:
                with self._changed:
                    self.answers.append(answer)
                    self._changed.notify_all()
            status = (grpc.StatusCode.OK, "", None)
        except grpc.RpcError as error:
            status = status_of(error)
        with self._changed:
            self.status = status
            self._changed.notify_all()

    def send(self, **fields):
        self._requests.put(ingest.RecordRequest(**fields))

    def half_close(self):
        self._requests.put(None)

    def cancel(self):
        self._call.cancel()
        self._requests.put(None)

    def _wait(self, predicate, what):
        with self._changed:
            self._changed.wait_for(
                lambda: predicate() or self.status is not None, WAIT_S)
            value = predicate()
            if not value:
                raise AssertionError(
                    f"no {what} in {WAIT_S} s; status {self.status}, answers "
                    f"{[a.WhichOneof('message') for a in self.answers]}")
            return value

    def of(self, kind):
        return [getattr(a, kind) for a in list(self.answers)
                if a.WhichOneof("message") == kind]

    def wait_for(self, kind):
        """The first answer of a kind."""
        return self._wait(lambda: self.of(kind), kind)[0]

    def durable(self, side, notes=False):
        """The last sequence that was acknowledged; 0 if none was."""
        last = 0
        for answer in self.of("opened") + self.of("durable"):
            for progress in answer.progress:
                if progress.side == side:
                    last = max(last, progress.note_sequence if notes
                               else progress.sequence)
        return last

    def wait_durable(self, side, sequence):
        self._wait(lambda: self.durable(side) >= sequence,
                   f"acknowledgement of {sequence}")

    def wait_note_durable(self, side, note):
        self._wait(lambda: self.durable(side, notes=True) >= note,
                   f"acknowledgement of note {note}")

    def wait_status(self):
        """(code, message, ErrorDetail or None) of the stream's end."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.status is not None,
                                          WAIT_S):
                raise AssertionError(f"the stream went on for {WAIT_S} s")
            return self.status


class Source:
    """One side of a call, from a Matroska file, as a gateway has it."""

    _CODECS = {"V_MPEG4/ISO/AVC": common.CODEC_H264, "V_VP8": common.CODEC_VP8,
               "A_OPUS": common.CODEC_OPUS}

    def __init__(self, file, side, first_track_id):
        self.side = side
        self.tracks = []
        self.packets = []
        ids = {}
        for number, track in sorted(file.tracks.items()):
            ids[number] = first_track_id + len(ids)
            is_video = track.width > 0
            self.tracks.append(common.Track(
                track_id=ids[number], side=side,
                source=(common.SOURCE_CAMERA if is_video
                        else common.SOURCE_MICROPHONE),
                codec=self._CODECS[track.codec], codec_config=track.private,
                width=track.width, height=track.height,
                sample_rate_hz=0 if is_video else int(track.rate),
                channels=0 if is_video else track.channels))
        ordered = sorted(file.packets, key=lambda p: p.pts_ms)
        for sequence, packet in enumerate(ordered, 1):
            self.packets.append(ingest.Packet(
                track_id=ids[packet.track], sequence=sequence,
                pts_us=packet.pts_ms * 1000, dts_us=packet.pts_ms * 1000,
                duration_us=20_000, key_frame=packet.key,
                payload=packet.payload))

    def open_side(self):
        return ingest.OpenSide(side=self.side, tracks=self.tracks)

    def batches(self, after=0, size=20):
        """Packets messages of everything behind sequence `after`."""
        for at in range(after, len(self.packets), size):
            yield ingest.Packets(packets=self.packets[at:at + size])


def open_message(session, sources, start_time=None):
    message = ingest.Open(session_id=str(session),
                          sides=[s.open_side() for s in sources])
    if start_time is None:
        message.start_time.GetCurrentTime()
    else:
        message.start_time.CopyFrom(start_time)
    return message


def close_message(*sides):
    """Of (side, final_sequence, final_note_sequence) each."""
    return ingest.Close(sides=[
        ingest.CloseSide(side=side, final_sequence=sequence,
                         final_note_sequence=notes)
        for side, sequence, notes in sides])


def tag_note(sequence, key, values, at_us=0):
    return ingest.Note(note_sequence=sequence, at_us=at_us,
                       tag=ingest.TagUpdate(key=key, values=values,
                                            operation=ingest.TAG_OPERATION_SET))
