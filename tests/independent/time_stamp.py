"""RFC 3161 time stamps: what one says, and whether an authority signed it."""

import datetime
import shutil
import subprocess

from untrue import Untrue, require

_SEQUENCE, _SET, _INTEGER, _OCTETS, _OID, _TIME = (
    0x30, 0x31, 0x02, 0x04, 0x06, 0x18)
_EXPLICIT = 0xA0
_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
_TST_INFO = bytes.fromhex("2a864886f70d0109100104")
_SHA256 = bytes.fromhex("608648016503040201")


class _Der:
    """Takes values off a DER encoding, one after another."""

    def __init__(self, data, place):
        self.data = data
        self.at = 0
        self.place = place

    def take(self, tag):
        """The content of the next value, which must be of that tag."""
        data, at = self.data, self.at
        require(at + 2 <= len(data) and data[at] == tag,
                f"{self.place} is no time stamp")
        size, at = data[at + 1], at + 2
        if size & 0x80:
            count = size & 0x7F
            require(1 <= count <= 4 and at + count <= len(data),
                    f"{self.place} is no time stamp")
            size, at = int.from_bytes(data[at:at + count], "big"), at + count
        require(size <= len(data) - at, f"{self.place} is cut off")
        self.at = at + size
        return data[at:at + size]

    def inside(self, tag):
        return _Der(self.take(tag), self.place)


def read_time_stamp(data, wanted_hash, place):
    """When the authority says that it saw the hash. Checks no signature."""
    whole = _Der(data, place)
    response = whole.inside(_SEQUENCE)
    require(whole.at == len(data), f"{place} has more than a time stamp")
    status = response.inside(_SEQUENCE).take(_INTEGER)
    require(status in (b"\0", b"\1"), f"{place}: no time stamp was given")
    content = response.inside(_SEQUENCE)
    require(content.take(_OID) == _SIGNED_DATA, f"{place} is no signed data")
    signed = content.inside(_EXPLICIT).inside(_SEQUENCE)
    signed.take(_INTEGER)
    signed.take(_SET)
    encapsulated = signed.inside(_SEQUENCE)
    require(encapsulated.take(_OID) == _TST_INFO, f"{place} is no time stamp")
    info = encapsulated.inside(_EXPLICIT).inside(_OCTETS).inside(_SEQUENCE)
    info.take(_INTEGER)
    info.take(_OID)
    imprint = info.inside(_SEQUENCE)
    require(imprint.inside(_SEQUENCE).take(_OID) == _SHA256
            and imprint.take(_OCTETS) == wanted_hash,
            f"{place} is of something else")
    info.take(_INTEGER)
    text = info.take(_TIME).decode("ascii", "replace")
    try:
        moment = datetime.datetime.strptime(text.split(".")[0].rstrip("Z"),
                                            "%Y%m%d%H%M%S")
    except ValueError:
        raise Untrue(f"{place}: its time is malformed") from None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def check_authority(stamp, stamped, authorities, place):
    """Raises unless an authority of the file signed it; openssl says so."""
    openssl = shutil.which("openssl")
    require(openssl is not None, f"{place}: openssl is not there to check it")
    done = subprocess.run(
        [openssl, "ts", "-verify", "-in", stamp, "-data", stamped, "-CAfile",
         authorities], capture_output=True, text=True, check=False,
        timeout=60)
    require(done.returncode == 0, f"{place}: openssl does not verify it")
