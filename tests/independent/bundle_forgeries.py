"""What a forger may change in evidence.json; each must be found out."""

import base64
import zlib

import tiny_bundle


def _flip_base64(text, at=3):
    data = bytearray(base64.b64decode(text))
    data[at % len(data)] ^= 1
    return tiny_bundle.b64(bytes(data))


def forgeries():
    """Name -> a change of the evidence, made in place."""
    def change(path, edit):
        def apply(evidence):
            *way, last = path
            here = evidence
            for step in way:
                here = here[step]
            here[last] = edit(here[last])
        return apply

    def drop(*path):
        def apply(evidence):
            *way, last = path
            here = evidence
            for step in way:
                here = here[step]
            del here[last]
        return apply

    first_run = ("segments", 0, "tracks", 0)
    audio_end = ("segments", 2, "tracks", 1)
    return {
        "format": change(("format",), lambda v: v + "0"),
        "archive": change(("archive",), lambda v: v[:-1] + "2"),
        "session": change(("session",), lambda v: v[:-1] + "c"),
        "start time": change(("start_time_us",), lambda v: v + 1),
        "range": change(("to_us",), lambda v: 1),
        "origin by 1 ms": change(("media", "origin_us"),
                                 lambda v: v + 1000),
        "origin by 1 us": change(("media", "origin_us"), lambda v: v + 1),
        "container": change(("media", "container"), lambda v: "mp4"),
        "other file": change(("media", "file"), lambda v: "boundary.bin"),
        "other side": change(("tracks", 0, "side"), lambda v: "clerk"),
        "other source": change(("tracks", 0, "source"), lambda v: "screen"),
        "other codec": change(("tracks", 0, "codec"), lambda v: "vp9"),
        "no video": change(("tracks", 0, "video"), lambda v: False),
        "other track": change(("tracks", 0, "track_id"), lambda v: 3),
        "tracks turned": change(("tracks",), lambda v: v[::-1]),
        "raw times": change(("tracks", 0, "raw_ms"), lambda v: tiny_bundle.b64(
            zlib.compress(b"\0" * 40))),
        "too many raw times": change(
            ("tracks", 1, "raw_ms"), lambda v: tiny_bundle.b64(zlib.compress(
                zlib.decompress(base64.b64decode(v)) + b"\0"))),
        "segments turned": change(("segments",), lambda v: v[::-1]),
        "segment dropped": change(("segments",), lambda v: v[:2]),
        "segment twice": change(("segments",), lambda v: v + v[-1:]),
        "other manifest": change(("segments", 1, "manifest"), lambda v: 3),
        "track dropped": change(("segments", 1, "tracks"), lambda v: v[:1]),
        "track twice": change(("segments", 1, "tracks"), lambda v: v + v[:1]),
        "stream swapped": change((*first_run, "stream"), lambda v: 1),
        "no such stream": change((*first_run, "stream"), lambda v: 2),
        "other chunk": change((*first_run, "first"), lambda v: 0),
        "fewer packets": change((*first_run, "packets"), lambda v: [9]),
        "no packets": change((*first_run, "packets"), lambda v: []),
        "empty chunk": change((*first_run, "packets"), lambda v: v + [0]),
        "salt": change(("segments", 1, "tracks", 0, "salt"), _flip_base64),
        "salts": change((*first_run, "salts", 0), _flip_base64),
        "salt missing": drop(*first_run, "salts"),
        "others": change((*first_run, "others", 0), _flip_base64),
        "others missing": drop(*first_run, "others"),
        "one more other": change((*first_run, "others"), lambda v: v * 2),
        "boundary missing": drop(*first_run, "boundary"),
        "boundary less": change((*first_run, "boundary", "before"),
                                lambda v: 2),
        "boundary behind": change((*first_run, "boundary"),
                                  lambda v: {"after": 3}),
        "boundary before": change((*audio_end, "boundary"),
                                  lambda v: {"before": 2}),
        "signed run longer": change(("sources", 0, "packets"),
                                    lambda v: v + 1),
        "signed run elsewhere": change(("sources", 0, "first"),
                                       lambda v: v + 1),
        "signed by other": change(("sources", 0, "record"), lambda v: v + 2),
        "not a statement": change(("sources", 0, "record"), lambda v: 0),
        "sources dropped": change(("sources",), lambda v: v[:-1]),
        "sources turned": change(("sources",), lambda v: v[::-1]),
        "source rest": change(("sources", 0, "others", 0), _flip_base64),
        "manifest dropped": change(("manifests",), lambda v: v[1:]),
        "manifest amid dropped": change(("manifests",),
                                        lambda v: v[:1] + v[2:]),
        "manifest changed": change(("manifests", 0, "header"), _flip_base64),
        "manifests turned": change(("manifests",), lambda v: v[::-1]),
        "proof dropped": drop("manifests", 2, "proof"),
        "proof swapped": change(("closed", "proof"),
                                lambda v: "proofs/opened.tlog-proof"),
        "position": change(("opened", "position"), lambda v: v + 1),
        "opened changed": change(("opened", "header"), _flip_base64),
        "closed left out": drop("closed"),
        "closed changed": change(("closed", "header"),
                                 lambda v: _flip_base64(v, -5)),
        "record dropped": change(("records",), lambda v: v[1:]),
        "record twice": change(("records",), lambda v: v + v[:1]),
        "record's kind": change(("records", 0, "type"), lambda v: 6),
        "record's body": change(("records", 0, "body_sha256"), _flip_base64),
        "record's header": change(("records", 1, "header"),
                                  lambda v: _flip_base64(v, -1)),
        "span": change(("spans", 0, "description"),
                       lambda v: _flip_base64(v, -1)),
        "span's salt": change(("spans", 0, "salt"), _flip_base64),
        "span missing": drop("spans"),
        "tag": change(("notes", 0, "note"), lambda v: _flip_base64(v, -4)),
        "event": change(("notes", 1, "note"), lambda v: _flip_base64(v, 12)),
        "note's salt": change(("notes", 0, "salt"), _flip_base64),
        "note elsewhere": change(("notes", 0, "at"), lambda v: 1),
        "note twice": change(("notes",), lambda v: v + v[:1]),
        "part's salt": change(("attachments", 0, "salt"), _flip_base64),
        "part elsewhere": change(("attachments", 1, "offset"),
                                 lambda v: v - 1),
        "part shorter": change(("attachments", 1, "bytes"), lambda v: v - 1),
        "part missing": change(("attachments",), lambda v: v[:1]),
        "parts missing": drop("attachments"),
        "part of another file": change(("attachments", 0, "file"),
                                       lambda v: "checkpoint"),
        "access record": change(("access", "record"),
                                lambda v: _flip_base64(v, -1)),
        "access body": change(("access", "body_sha256"), _flip_base64),
        "access missing": drop("access"),
        "anchor dropped": drop("anchors"),
        "anchor's proof": change(("anchors", 0, "consistency", 0),
                                 _flip_base64),
        "anchor's proof cut": change(("anchors", 0, "consistency"),
                                     lambda v: v[:-1]),
    }
