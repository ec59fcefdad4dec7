"""Recorded calls, and what ffprobe and ffmpeg say of a file."""

import json
import os
import pathlib
import subprocess

import tree

DATA = tree.ROOT / "tests" / "data"
RESIDENT = DATA / "janus-h264-opus-resident.mkv"
CLERK = DATA / "janus-h264-opus-clerk.mkv"
VP8_RESIDENT = DATA / "janus-vp8-opus-resident.webm"
VP8_CLERK = DATA / "janus-vp8-opus-clerk.webm"
DOCUMENT = DATA / "document.png"

# Media that may be used and not copied lies outside the repository.
SHARED = pathlib.Path(os.environ.get(
    "DIPTYCH_SHARED_DIR", tree.ROOT.parent / "shared")) / "media"


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y",
                    *map(str, arguments)], check=True, timeout=300)


def long_call(folder):
    """A resident's and a clerk's recording of over a minute.

    Those beside the repository, or where they are not at hand the short ones
    several times over, made in `folder`.
    """
    long = [SHARED / f"call-75s-{side}.mkv" for side in ("resident", "clerk")]
    if all(path.exists() for path in long):
        return long
    made = []
    for side, short in (("resident", RESIDENT), ("clerk", CLERK)):
        made.append(pathlib.Path(folder) / f"long-{side}.mkv")
        ffmpeg("-stream_loop", "6", "-i", short, "-t", "75", "-c", "copy",
               made[-1])
    return made


def probe(path, *options):
    """ffprobe's JSON: streams, and packets with the SHA-256 of their data."""
    run = subprocess.run(
        ["ffprobe", "-v", "error", *options, "-show_streams", "-show_packets",
         "-show_data_hash", "SHA256", "-of", "json", str(path)],
        capture_output=True, text=True, check=True, timeout=300)
    return json.loads(run.stdout)


def frame_hashes(path, stream, *options):
    """MD5 of every decoded frame of a stream, in order.

    Args:
      path: the file.
      stream: as ffmpeg's -map names it: "0:v:0".
      options: for reading the file.
    """
    run = subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", *options, "-i", str(path),
         "-map", stream, "-fps_mode", "passthrough", "-copyts",
         "-f", "framemd5", "-"],
        capture_output=True, text=True, check=True, timeout=300)
    return [line.rsplit(",", 1)[1].strip()
            for line in run.stdout.splitlines() if not line.startswith("#")]
