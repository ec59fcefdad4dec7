"""The files of this repository, for the tests that read them."""

import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Folders that hold no source of ours where there is no git to ask.
_SKIPPED_FOLDERS = {".git", ".work", "node_modules", "__pycache__"}

_FOR_TESTS = re.compile(
    r"_(test|benchmark)\.cc$|/(test|synthetic)_[a-z_]+\.(cc|h)$")


def all_files():
    """Paths relative to ROOT of every file that is or would be committed."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached",
         "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=False)
    if listed.returncode == 0:
        names = listed.stdout.decode().split("\0")
        return sorted({n for n in names if n and (ROOT / n).is_file()})
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [f for f in folders if f not in _SKIPPED_FOLDERS
                      and not (pathlib.Path(folder) / f).is_symlink()]
        found += [str((pathlib.Path(folder) / f).relative_to(ROOT))
                  for f in files]
    return sorted(found)


def files_ending(*suffixes):
    return [f for f in all_files() if f.endswith(suffixes)]


def cpp_files():
    return files_ending(".cc", ".h")


def is_for_tests(name):
    """Whether a C++ file is a test, or is built for tests alone."""
    return _FOR_TESTS.search(name) is not None


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")
