#!/usr/bin/env python3
"""Proves an archive's folder without any key, by the documents alone.

  verify_archive.py DIR

Exit 0: prints what is there. Exit 1: prints the first false thing. What a kill
may leave behind (a torn tail, leaves that are not signed yet) is said and is
not false.
"""

import argparse
import pathlib
import sys
import uuid

import signed_note
import stored_messages
from archive_sessions import Sessions
from text_format import TextReader
from tile_files import Tiles
from untrue import Untrue, read_bounded, require
from volume_frames import Store

_MAX_CONFIG = 1 << 20
# How much older than the log's newest a record may be that is in no tree yet.
_MAX_LAG_US = 10_000_000


def verify(folder):
    """Sentences on what an archive holds; raises Untrue."""
    folder = pathlib.Path(folder)
    reader = stored_messages.stored_reader()
    text = read_bounded(folder / "archive.textproto", _MAX_CONFIG,
                        "archive.textproto")
    config = TextReader(reader.schema).read(
        "ArchiveConfig", text.decode("utf-8"), "archive.textproto")
    require(len(config.archive_id) == 16 and config.suite == 1
            and config.log_key is not None,
            "archive.textproto: its id, suite or log key")
    origin = f"diptych/{uuid.UUID(bytes=config.archive_id)}"
    require(config.log_key.name == origin,
            "archive.textproto: the log's key has another name")
    for source in config.sources:
        require(source.name.startswith(f"{origin}/gateway/"),
                "archive.textproto: a source's key has another name")
    # The tree before the log, and the log before the keys: a running archive
    # writes them the other way round.
    tiles = Tiles(folder / "tlog")
    log = Store(folder / "volumes", "log", config.archive_id, reader)
    keys = Store(folder / "keystore", "keys", config.archive_id, reader)
    sessions = Sessions(config, reader, keys.records)
    for record in log.records:
        sessions.add(record)
    sessions.finish()
    tiles.check(sessions.leaves, signed_note.VerifierKey(
        origin, signed_note.ED25519, config.log_key.public_key), [
            signed_note.VerifierKey(w.name, signed_note.COSIGNATURE,
                                    w.public_key) for w in config.witnesses])
    missing = [time_us for time_us in sessions.leaf_times_us[tiles.signed:]
               if time_us <= sessions.newest_us - _MAX_LAG_US]
    require(not missing, f"{len(missing)} records are missing from the tree, "
            "which is behind its log by 10 s or more")
    return [f"Archive {origin}.", *log.said, *keys.said, *sessions.said,
            *tiles.said]


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive")
    options = parser.parse_args(arguments)
    try:
        said = verify(options.archive)
    except Untrue as false:
        print(f"false: {false}")
        return 1
    except Exception as problem:  # Whatever damage does to a file.
        print(f"false: {type(problem).__name__}: {problem}")
        return 1
    print("\n".join(said))
    return 0


if __name__ == "__main__":
    sys.exit(main())
