"""RTP from a capture: read, replayed at its own pace, and depacketised.

Written from RFC 3550, 6184 (H.264) and 7587 (Opus), sharing nothing with the
product.
"""

import collections
import dataclasses
import pathlib
import re
import socket
import struct
import threading
import time

_PCAP = struct.Struct("<IIII")
_ETHERNET_BYTES = 14
_UDP = 17
_STAP_A = 24
_FU_A = 28


@dataclasses.dataclass
class Datagram:
    at_s: float
    port: int
    payload: bytes


def read_pcap(path):
    """Its UDP datagrams (IPv4 over Ethernet), from time 0 on."""
    data = pathlib.Path(path).read_bytes()
    if struct.unpack_from("<I", data)[0] != 0xa1b2c3d4:
        raise ValueError(f"{path} is no little-endian pcap")
    found = []
    at = 24
    while at < len(data):
        seconds, micros, length, _ = _PCAP.unpack_from(data, at)
        frame = data[at + _PCAP.size:at + _PCAP.size + length]
        at += _PCAP.size + length
        ip = frame[_ETHERNET_BYTES:]
        if ip[9] != _UDP:
            continue
        udp = ip[(ip[0] & 15) * 4:]
        _, port, size, _ = struct.unpack_from(">HHHH", udp)
        found.append(Datagram(seconds + micros / 1e6, port, udp[8:size]))
    start = found[0].at_s
    return [dataclasses.replace(d, at_s=d.at_s - start) for d in found]


@dataclasses.dataclass
class Frame:
    """What a decoder gets at once: NAL units, or one Opus packet."""

    at_s: float
    timestamp: int
    units: list


def frames(datagrams, port, codec):
    """The frames that were sent to a port, in order of their sequence."""
    found = collections.OrderedDict()
    packets = []
    rounds = 0
    last = None
    for datagram in datagrams:
        if datagram.port != port:
            continue
        first, _, sequence, timestamp = struct.unpack_from(
            ">BBHI", datagram.payload)
        start = 12 + 4 * (first & 15)
        if first & 0x10:
            start += 4 + 4 * struct.unpack_from(
                ">H", datagram.payload, start + 2)[0]
        end = len(datagram.payload)
        if first & 0x20:
            end -= datagram.payload[-1]
        if last is not None and sequence < last - 0x8000:
            rounds += 1
        last = sequence
        if end > start:
            packets.append((rounds << 16 | sequence, timestamp, datagram.at_s,
                            datagram.payload[start:end]))
    for _, timestamp, at_s, payload in sorted(set(packets)):
        frame = found.setdefault(timestamp, Frame(at_s, timestamp, []))
        if codec == "opus":
            frame.units.append(payload)
        else:
            _add_h264(frame.units, payload)
    return [f for f in found.values() if f.units]


def _add_h264(units, payload):
    kind = payload[0] & 31
    if kind == _STAP_A:
        at = 1
        while at < len(payload):
            size = struct.unpack_from(">H", payload, at)[0]
            units.append(payload[at + 2:at + 2 + size])
            at += 2 + size
    elif kind == _FU_A:
        if payload[1] & 0x80:
            units.append(bytes([payload[0] & 0xe0 | payload[1] & 31]))
        units[-1] += payload[2:]
    else:
        units.append(payload)


def _free_pair(taken):
    """An even UDP port that is free, as is the one after it."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one, \
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            if port % 2 or port in taken:
                continue
            try:
                other.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def move_ports(sdp_paths, folder):
    """Copies of SDP files on free ports; the copies, and old port -> new."""
    moved = {}
    copies = []
    for path in map(pathlib.Path, sdp_paths):
        def on_free_port(match):
            old = int(match[2])
            moved[old] = _free_pair(moved.values())
            moved[old + 1] = moved[old] + 1
            return f"{match[1]}{moved[old]}"
        text = re.sub(r"(?m)^(m=\w+ )(\d+)", on_free_port, path.read_text())
        copies.append(folder / path.name)
        copies[-1].write_text(text)
    return copies, moved


def bound(ports):
    """Whether somebody receives on all of these UDP ports."""
    rows = pathlib.Path("/proc/net/udp").read_text().splitlines()[1:]
    rows += pathlib.Path("/proc/net/udp6").read_text().splitlines()[1:]
    there = {int(row.split()[1].rsplit(":", 1)[1], 16) for row in rows}
    return set(ports) <= there


class Replay(threading.Thread):
    """Sends datagrams to the machine's own ports, when they are due."""

    def __init__(self, datagrams, ports):
        super().__init__(daemon=True)
        self._datagrams = datagrams
        self._ports = ports
        self.late_s = 0

    def run(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            began = time.monotonic()
            for datagram in self._datagrams:
                wait_s = began + datagram.at_s - time.monotonic()
                self.late_s = max(self.late_s, -wait_s)
                if wait_s > 0:
                    time.sleep(wait_s)
                try:
                    sender.sendto(datagram.payload,
                                  ("127.0.0.1", self._ports[datagram.port]))
                except ConnectionRefusedError:
                    # Nobody reads this track's RTCP.
                    pass
