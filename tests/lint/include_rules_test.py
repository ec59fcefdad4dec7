"""The arrows of the design, read off the #include and import lines.

Bazel's visibility can't see system headers (they are on the compiler's own
path), so that including one without its dependency compiles.
"""

import re
import sys
import pathlib
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import tree

_INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)

# Header prefix -> folders that may include it.
_LIBRARY_USERS = {
    "libav": ("archiver/media/", "indexer/retrieval/",
              "tools/diptych/verify/", "tools/gateway/"),
    "libsw": (),
    "sodium": ("archiver/seal/",),
    "rocksdb/": ("indexer/store/",),
    "isa-l": ("archiver/log/",),
    "sqlite3": ("tests/tag_index/",),
    "postgresql/": ("tests/tag_index/",),
}

# Folder -> prefixes of our own headers that it never includes.
_NEVER = {
    "archiver/": ("indexer/", "tools/", "tests/"),
    "indexer/": ("tools/", "tests/"),
    # The log, the seals and the index hold what lies on disk, which is never
    # a message of the wire.
    "archiver/log/": ("proto/api/",),
    "archiver/seal/": ("proto/api/",),
    "tools/gateway/": ("proto/stored/", "archiver/log/", "archiver/seal/",
                       "indexer/"),
    # Lower parts of the archiver don't know the higher ones.
    "archiver/base/": ("archiver/log/", "archiver/seal/", "archiver/media/",
                       "archiver/ingest/", "proto/stored/"),
    "archiver/media/": ("archiver/log/", "archiver/seal/", "archiver/ingest/"),
}

# The writer can't read: nothing in it opens what is sealed.
_OPENERS = ("archiver/seal/session_opener.h",)
_MAY_OPEN = ("archiver/seal/", "indexer/", "tools/diptych/",
             "tools/diptychd/", "tests/")


def includes(text):
    """(is_system, path) of each #include of a source text."""
    return [(mark == "<", path) for mark, path in _INCLUDE.findall(text)]


def offences(name, text):
    """What is wrong with the includes of file `name`, as sentences."""
    found = []
    for is_system, path in includes(text):
        if is_system:
            for prefix, users in _LIBRARY_USERS.items():
                if path.startswith(prefix) and not name.startswith(users):
                    found.append(f"{name}: <{path}> belongs to "
                                 f"{' and '.join(users) or 'nobody'}")
            continue
        for folder, never in _NEVER.items():
            if name.startswith(folder) and path.startswith(never):
                found.append(f"{name}: {folder} never includes {path}")
        if path in _OPENERS and not name.startswith(_MAY_OPEN):
            found.append(f"{name}: may not open seals ({path})")
    return found


class IncludeRulesTest(unittest.TestCase):

    def test_every_include_is_allowed(self):
        files = tree.cpp_files()
        self.assertTrue(files)
        found = [o for f in files for o in offences(f, tree.read(f))]
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_libraries_are_used_where_the_design_says(self):
        # If nobody used them, the rule above would prove nothing.
        for prefix, users in _LIBRARY_USERS.items():
            if not users:
                continue
            with self.subTest(prefix):
                self.assertTrue(any(
                    is_system and path.startswith(prefix)
                    for f in tree.cpp_files() if f.startswith(users)
                    for is_system, path in includes(tree.read(f))))

    def test_own_includes_name_files_from_the_root(self):
        known = set(tree.all_files())
        wrong = []
        for f in tree.cpp_files():
            for is_system, path in includes(tree.read(f)):
                if is_system or path.startswith(("absl/", "google/")):
                    continue
                source = re.sub(r"(\.grpc)?\.pb\.h$", ".proto", path)
                if source not in known:
                    wrong.append(f'{f}: "{path}"')
        self.assertEqual(wrong, [])

    def test_wire_and_disk_stay_apart(self):
        for f in tree.files_ending(".proto"):
            imports = re.findall(r'^import\s+"([^"]+)"', tree.read(f),
                                 re.MULTILINE)
            with self.subTest(f):
                if f.startswith("proto/api/"):
                    self.assertFalse(
                        [i for i in imports if i.startswith("proto/stored/")])
                if f.startswith("proto/stored/"):
                    self.assertFalse(
                        [i for i in imports if i.startswith("proto/api/")])
                    self.assertNotRegex(tree.read(f), r"(?m)^service ")

    def test_the_rules_bite(self):
        must_fail = {
            "archiver/log/x.cc": "#include <sodium.h>\n",
            "archiver/ingest/x.cc": "# include <libavformat/avformat.h>\n",
            "archiver/ingest/y.cc": '#include "indexer/store/store.h"\n',
            "archiver/ingest/z.cc":
                '#include "archiver/seal/session_opener.h"\n',
            "indexer/query/x.cc": "#include <rocksdb/db.h>\n",
            "tools/gateway/x.cc":
                '#include "proto/stored/v1/records.pb.h"\n',
        }
        for name, text in must_fail.items():
            with self.subTest(name):
                self.assertEqual(len(offences(name, text)), 1)


if __name__ == "__main__":
    unittest.main()
