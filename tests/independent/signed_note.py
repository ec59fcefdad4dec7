"""C2SP signed notes, checkpoints, cosignatures and tlog-proofs."""

import dataclasses
import hashlib
import struct

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from untrue import Untrue, decimal, decode_base64, require

# Types of keys and signatures.
ED25519 = 1
COSIGNATURE = 4

# The specification wants at least 16 to be taken.
_MAX_SIGNATURES = 64
_MAX_SIZE = (1 << 63) - 1


def verify_ed25519(public_key, signature, message):
    """Whether an RFC 8032 signature is right."""
    if len(signature) != 64:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature,
                                                              message)
    except (InvalidSignature, ValueError):
        return False
    return True


def key_id(name, kind, public_key):
    return hashlib.sha256(name.encode("utf-8") + b"\n" + bytes([kind])
                          + public_key).digest()[:4]


def _check_name(name, what):
    require(name and "+" not in name and not any(c.isspace() for c in name),
            f"{what}: a key's name is not allowed")


@dataclasses.dataclass(frozen=True)
class VerifierKey:
    name: str
    kind: int
    public_key: bytes

    @property
    def id(self):
        return key_id(self.name, self.kind, self.public_key)

    @property
    def short_id(self):
        """As source statements name a key."""
        return hashlib.sha256(self.public_key).digest()[:8]


def parse_verifier_key(text, what="a key"):
    """NAME+HASH+BASE64."""
    parts = text.split("+", 2)
    require(len(parts) == 3, f"{what} is not NAME+HASH+BASE64")
    name, hash_text, encoded = parts
    _check_name(name, what)
    material = decode_base64(encoded, what, 33)
    kind, public_key = material[0], material[1:]
    require(kind in (ED25519, COSIGNATURE), f"{what} is of type {kind}")
    require(hash_text == key_id(name, kind, public_key).hex(),
            f"{what} of {name}: the hash is not that of the key")
    return VerifierKey(name, kind, public_key)


def parse_verifier_keys(text, what):
    """A file of keys: one on a line, # begins a comment."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.split("#", 1)[0].strip()
        if line:
            found.append(parse_verifier_key(line, f"{what}, line {number}"))
    return found


@dataclasses.dataclass(frozen=True)
class Signature:
    name: str
    id: bytes
    data: bytes


@dataclasses.dataclass(frozen=True)
class SignedNote:
    text: str
    signatures: tuple
    # One for each signature, with its line end.
    lines: tuple


def parse_note(data, what):
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Untrue(f"{what} is not UTF-8") from None
    require(not any(c < " " and c != "\n" for c in whole),
            f"{what} has control characters")
    cut = whole.rfind("\n\n")
    require(cut >= 0 and whole.endswith("\n"), f"{what} is no signed note")
    text, rest = whole[:cut + 1], whole[cut + 2:]
    lines = rest.split("\n")[:-1]
    require(0 < len(lines) <= _MAX_SIGNATURES,
            f"{what} has {len(lines)} signatures")
    signatures = []
    for line in lines:
        parts = line.split(" ")
        require(len(parts) == 3 and parts[0] == "\u2014",
                f"{what}: a signature's line is malformed")
        _check_name(parts[1], what)
        raw = decode_base64(parts[2], f"{what}: a signature")
        require(len(raw) > 4, f"{what}: a signature is too short")
        signatures.append(Signature(parts[1], raw[:4], raw[4:]))
    names = [(s.name, s.id) for s in signatures]
    require(len(set(names)) == len(names), f"{what}: one key signed twice")
    return SignedNote(text, tuple(signatures),
                      tuple(line + "\n" for line in lines))


def verify_note(note, key, what):
    """Of one key's signature: None without one, else what it says.

    Gives True for a signature on the text, the time in seconds for a
    cosignature. One that is wrong makes the whole note untrue.
    """
    for signature in note.signatures:
        if (signature.name, signature.id) != (key.name, key.id):
            continue
        message = note.text.encode("utf-8")
        data, said = signature.data, True
        if key.kind == COSIGNATURE:
            require(len(data) == 72, f"{what}: a cosignature's length")
            said = struct.unpack(">Q", data[:8])[0]
            require(said <= _MAX_SIZE, f"{what}: a cosignature's time")
            data = data[8:]
            message = b"cosignature/v1\ntime %d\n" % said + message
        require(verify_ed25519(key.public_key, data, message),
                f"{what}: the signature of {key.name} is wrong")
        return said
    return None


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    note: SignedNote
    origin: str
    size: int
    root: bytes


def parse_checkpoint(data, what):
    note = parse_note(data, what)
    lines = note.text.split("\n")[:-1]
    # The format has no extension lines.
    require(len(lines) == 3 and all(lines), f"{what} has not three lines")
    return Checkpoint(note, lines[0],
                      decimal(lines[1], f"{what}: the tree's size", _MAX_SIZE),
                      decode_base64(lines[2], f"{what}: the root", 32))


@dataclasses.dataclass(frozen=True)
class Proof:
    index: int
    hashes: tuple
    checkpoint: Checkpoint


def parse_proof(data, what):
    """A tlog-proof without an extra line."""
    head, separator, checkpoint = data.partition(b"\n\n")
    require(separator, f"{what} is no tlog-proof")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise Untrue(f"{what} is no tlog-proof") from None
    require(lines[0] == "c2sp.org/tlog-proof@v1" and len(lines) >= 2
            and lines[1].startswith("index "), f"{what} is no tlog-proof")
    index = decimal(lines[1][len("index "):], f"{what}: the index", _MAX_SIZE)
    require(len(lines) <= 2 + 64, f"{what}: too many hashes")
    hashes = tuple(decode_base64(line, f"{what}: a hash", 32)
                   for line in lines[2:])
    return Proof(index, hashes, parse_checkpoint(checkpoint, what))
