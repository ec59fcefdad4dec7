"""Signed notes, checkpoints and the log tree on disk, in Python.

Written from the C2SP specifications and archiver/evidence/FORMAT.md; shares no
code with the archive.
"""

import base64
import hashlib
import pathlib

from cryptography.hazmat.primitives.asymmetric import ed25519

import log_files

ED25519 = 1
COSIGNATURE = 4

# Types of records that are leaves: SessionOpened, Segment, SessionClosed,
# Access, KeysChanged.
LEAVES = (3, 8, 9, 10, 14)


def sha256(data):
    return hashlib.sha256(data).digest()


class Key:
    """A public key as signed notes have it: NAME+ID+BASE64."""

    def __init__(self, name, kind, public):
        self.name = name
        self.kind = kind
        self.public = public
        self.id = sha256(name.encode() + b"\n" + bytes([kind]) + public)[:4]

    @classmethod
    def parse(cls, text):
        name, key_id, encoded = text.strip().split("+", 2)
        material = base64.b64decode(encoded, validate=True)
        key = cls(name, material[0], material[1:])
        if key.id.hex() != key_id:
            raise ValueError("the key's id is wrong")
        return key

    def __str__(self):
        encoded = base64.b64encode(bytes([self.kind]) + self.public).decode()
        return f"{self.name}+{self.id.hex()}+{encoded}"


class Checkpoint:
    """A checkpoint's text and the signatures under it."""

    def __init__(self, note):
        self.note = note
        text, lines = note.rsplit("\n\n", 1)
        self.text = text + "\n"
        origin, size, root = self.text.splitlines()[:3]
        self.origin = origin
        self.size = int(size)
        self.root = base64.b64decode(root, validate=True)
        self.signatures = []
        for line in lines.splitlines():
            dash, name, encoded = line.split(" ")
            if dash != "—":
                raise ValueError(f"no signature line: {line}")
            material = base64.b64decode(encoded, validate=True)
            self.signatures.append((name, material[:4], material[4:]))

    def verify(self, key):
        """The time of a cosignature; raises if `key` did not sign this."""
        for name, key_id, signature in self.signatures:
            if (name, key_id) != (key.name, key.id):
                continue
            public = ed25519.Ed25519PublicKey.from_public_bytes(key.public)
            if key.kind == ED25519:
                public.verify(signature, self.text.encode())
                return None
            time_s = int.from_bytes(signature[:8], "big")
            public.verify(signature[8:], f"cosignature/v1\ntime {time_s}\n"
                          f"{self.text}".encode())
            return time_s
        raise ValueError(f"no signature by {key.name}")


def leaf_hash(data):
    return sha256(b"\0" + data)


def root_of(hashes):
    """RFC 6962, section 2.1, of leaf hashes."""
    if not hashes:
        return sha256(b"")
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << ((len(hashes) - 1).bit_length() - 1)
    return sha256(b"\1" + root_of(hashes[:split]) + root_of(hashes[split:]))


def root_from_inclusion(hash_, index, size, proof):
    """RFC 9162, section 2.1.3.2."""
    if index >= size:
        raise ValueError("no such leaf")
    node, last = index, size - 1
    for sibling in proof:
        if last == 0:
            raise ValueError("the proof is too long")
        if node & 1 or node == last:
            hash_ = sha256(b"\1" + sibling + hash_)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            hash_ = sha256(b"\1" + hash_ + sibling)
        node >>= 1
        last >>= 1
    if last != 0:
        raise ValueError("the proof is too short")
    return hash_


def log_leaves(archive_dir):
    """Leaf data that the log gives, in order."""
    leaves = []
    for record in log_files.records(pathlib.Path(archive_dir) / "volumes"):
        if record.type in LEAVES:
            digest = sha256(b"diptych-record-1" + bytes([record.type])
                            + sha256(record.header) + sha256(record.body))
            leaves.append(record.position.to_bytes(8, "big") + digest)
    return leaves


def _tile_path(index):
    parts = [f"{index % 1000:03d}"]
    while index >= 1000:
        index //= 1000
        parts.insert(0, f"x{index % 1000:03d}")
    return "/".join(parts)


def read_tiles(tlog, kind, count):
    """The bytes of the first `count` units of a level, tile by tile."""
    data = b""
    for index in range((count + 255) // 256):
        path = pathlib.Path(tlog) / "tile" / kind / _tile_path(index)
        width = min(256, count - 256 * index)
        if width < 256:
            partial = path.parent / f"{path.name}.p" / str(width)
            if partial.exists():
                path = partial
        data += path.read_bytes()
    return data


def tree_leaves(tlog, size):
    """Leaf data that the entry bundles of DIR/tlog hold."""
    data = read_tiles(tlog, "entries", size)
    leaves = []
    at = 0
    while len(leaves) < size:
        length = int.from_bytes(data[at:at + 2], "big")
        leaves.append(data[at + 2:at + 2 + length])
        at += 2 + length
    return leaves


def tree_hashes(tlog, size):
    """Leaf hashes that the tiles of DIR/tlog hold."""
    data = read_tiles(tlog, "0", size)
    return [data[i:i + 32] for i in range(0, 32 * size, 32)]
