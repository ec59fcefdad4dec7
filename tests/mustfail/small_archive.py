"""A small archive with everything in it, as a daemon leaves it."""

import pathlib
import shutil
import subprocess
import tempfile
import uuid

import archive
import matroska
import media
import wire

# What one run over all forgeries may take.
RUN_S = 4 * 3600


def _clip(source, path, seconds, *streams):
    maps = [part for stream in streams for part in ("-map", stream)]
    media.ffmpeg("-i", source, "-t", seconds, *maps, "-c", "copy", path)
    return path


class SmallArchive:
    """Two sessions, one of which a crash interrupted, and who looked at them.

    The daemon has ended when the archive is handed over.
    """

    def __init__(self):
        self.archive = archive.Archive()
        self.clips = pathlib.Path(tempfile.mkdtemp(prefix="diptych-clips-"))

    def __enter__(self):
        try:
            self.archive.init()
            self.archive.start()
            self._push()
            self._interrupted()
            self.archive.wait_indexed()
            self.archive.query('clerk = "C0231"')
            assert self.archive.stop() == 0
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.archive.close()
        shutil.rmtree(self.clips, ignore_errors=True)

    def _push(self):
        """Signed by its gateway; video, sound, tags, an event, a document."""
        resident = _clip(media.RESIDENT, self.clips / "resident.mkv", "0.4",
                         "0:v:0", "0:a:0")
        clerk = _clip(media.CLERK, self.clips / "clerk.mkv", "0.4", "0:a:0")
        document = self.clips / "form.txt"
        document.write_text("An invented form.\n")
        self.archive.push(
            f"--resident={resident}", f"--clerk={clerk}",
            "--tag", "clerk=C0231", "--tag", "item=0417", "--event",
            "identity_checked@0.1s:result=match",
            "--attach", f"document_captured@0.2s={document}")

    def _interrupted(self):
        """Goes on after a crash of the daemon, under a second epoch."""
        session = str(uuid.uuid4())
        sources = []
        for file, side, track in ((media.RESIDENT, wire.RESIDENT, 1),
                                  (media.CLERK, wire.CLERK, 3)):
            clip = _clip(file, self.clips / f"sound-{side}.mkv", "0.5", "0:a:0")
            sources.append(wire.Source(matroska.read(clip), side, track))

        def send(stream, after, until):
            for source in sources:
                for packet in source.packets[after[source.side]:until]:
                    stream.send(packets=wire.ingest.Packets(packets=[packet]))

        def connect():
            channel = wire.channel(self.archive.profile("gateway"),
                                   self.archive.address("ingest"))
            stream = wire.Stream(channel)
            stream.send(open=wire.open_message(session, sources))
            return channel, stream, stream.wait_for("opened")

        channel, stream, _ = connect()
        send(stream, {s.side: 0 for s in sources}, 12)
        for source in sources:
            stream.wait_durable(source.side, 1)
        self.archive.kill()
        channel.close()
        self.archive.start()
        channel, stream, opened = connect()
        assert opened.resumed
        after = {s.side: 0 for s in sources}
        after.update({p.side: p.sequence for p in opened.progress})
        stream.send(notes=wire.ingest.Notes(
            side=wire.CLERK, notes=[wire.tag_note(1, "clerk", ["C0232"])]))
        send(stream, after, None)
        stream.send(close=wire.close_message(
            *((s.side, len(s.packets), s.side == wire.CLERK)
              for s in sources)))
        stream.wait_for("receipt")
        channel.close()

    def sizes(self):
        """Bytes that are flipped one by one."""
        return sum(path.stat().st_size
                   for folder in ("volumes", "keystore", "tlog")
                   for path in (self.archive.dir / folder).rglob("*")
                   if path.is_file())

    def damage(self, every=1, begin=0):
        """Runs all forgeries; returns the exit code and what was said."""
        # On a disk in memory if there is one: it is written again and again.
        memory = pathlib.Path("/dev/shm")
        with tempfile.TemporaryDirectory(
                prefix="diptych-forged-",
                dir=memory if memory.is_dir() else None) as scratch:
            done = subprocess.run(
                [str(archive.BIN / "tests/mustfail/archive_damage"),
                 str(self.archive.dir), f"{scratch}/copy",
                 f"--keys={self.archive.keys}", f"--every={every}",
                 f"--from={begin}"],
                capture_output=True, text=True, check=False, timeout=RUN_S,
                stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout + done.stderr
