"""The files of a bundle, and their lists of hashes (RFC 8493)."""

import hashlib
import os
import re
import stat

from untrue import Untrue, read_bounded, require

_PATH = re.compile(r"[A-Za-z0-9._/-]+")
_LIST_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9._/-]+)\n")
_DECLARATION = (b"BagIt-Version: 1.0\n"
                b"Tag-File-Character-Encoding: UTF-8\n")
_INFO = re.compile(
    r"Source-Organization: diptych/([0-9a-f-]{36})\n"
    r"Bagging-Date: (\d{4}-\d\d-\d\d)\n"
    r"External-Identifier: ([0-9a-f-]{36})\n"
    r"Payload-Oxum: (\d{1,20})\.(\d{1,20})\n")
_TAG_FILES = ["bag-info.txt", "bagit.txt", "manifest-sha256.txt"]
_LIST = "manifest-sha256.txt"
_TAG_LIST = "tagmanifest-sha256.txt"
_MAX_FILES = 200_000
_MAX_DEPTH = 4
_MAX_LIST_BYTES = 64 << 20


class Bag:
    """A folder whose files are those that it lists, with their hashes."""

    def __init__(self, folder):
        self.folder = folder
        self.files = {}
        require(not os.path.islink(folder) and os.path.isdir(folder),
                f"{folder} is no folder")
        self._walk("", 0)
        self._check()

    def _walk(self, under, depth):
        require(depth <= _MAX_DEPTH, f"{under}: too deep")
        with os.scandir(os.path.join(self.folder, under)) as found:
            for entry in found:
                name = under + entry.name
                require(_PATH.fullmatch(name) is not None
                        and len(self.files) < _MAX_FILES,
                        f"a file's name is not allowed in {under or 'it'}")
                info = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(info.st_mode):
                    before = len(self.files)
                    self._walk(name + "/", depth + 1)
                    require(len(self.files) > before,
                            f"{name} is an empty folder")
                else:
                    require(stat.S_ISREG(info.st_mode),
                            f"{name} is no plain file")
                    self.files[name] = info.st_size

    def path(self, name):
        return os.path.join(self.folder, name)

    def read(self, name, most):
        require(name in self.files, f"{name} is missing")
        return read_bounded(self.path(name), most, name)

    def payload(self):
        """Names below data/."""
        return {name[len("data/"):] for name in self.files
                if name.startswith("data/")}

    def _hash(self, name):
        whole = hashlib.sha256()
        with open(self.path(name), "rb") as file:
            while block := file.read(1 << 20):
                whole.update(block)
        return whole.hexdigest()

    def _check_list(self, name, wanted):
        try:
            text = self.read(name, _MAX_LIST_BYTES).decode("ascii")
        except UnicodeDecodeError:
            raise Untrue(f"{name} is no text") from None
        at, listed = 0, []
        while at < len(text):
            line = _LIST_LINE.match(text, at)
            require(line is not None, f"{name} is malformed")
            listed.append((line[2], line[1]))
            at = line.end()
        names = [n for n, _ in listed]
        for missing in sorted(set(wanted) - set(names)):
            raise Untrue(f"{missing} is not in {name}")
        for extra in sorted(set(names) - set(wanted)):
            raise Untrue(f"{name} names {extra}, which is not there")
        require(names == sorted(wanted), f"{name} is not sorted")
        for file, digest in listed:
            require(self._hash(file) == digest,
                    f"{file} does not have its hash in {name}")

    def _check(self):
        payload = [n for n in self.files if n.startswith("data/")]
        rest = sorted(set(self.files) - set(payload))
        require(rest == sorted(_TAG_FILES + [_TAG_LIST]),
                f"the files beside data/ are {', '.join(rest)}")
        self._check_list(_TAG_LIST, _TAG_FILES)
        self._check_list(_LIST, payload)
        require(self.read("bagit.txt", 4096) == _DECLARATION,
                "bagit.txt is not that of BagIt 1.0 in UTF-8")
        info = _INFO.fullmatch(
            self.read("bag-info.txt", 4096).decode("ascii", "replace"))
        require(info is not None, "bag-info.txt is malformed")
        self.archive, self.date, self.session = info[1], info[2], info[3]
        total = sum(self.files[n] for n in payload)
        require((info[4], info[5]) == (str(total), str(len(payload))),
                f"bag-info.txt: there are {total} bytes in {len(payload)} "
                "files")
