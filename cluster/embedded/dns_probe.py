"""Ask the cluster's DNS one question, over its Service address."""

import secrets
import socket
import struct

QUESTION = "kubernetes.default.svc.cluster.local"
_RECURSION_DESIRED = 0x0100
_ADDRESS_RECORD = 1
_INTERNET = 1
_HEADER = ">HHHHHH"
_CODE_MASK = 0x000F


def answers(server: str, *, name: str = QUESTION, timeout_seconds: float = 0.5) -> bool:
    """Tell whether ``server`` knows an address of ``name``: one packet there and one back."""
    number = secrets.randbelow(1 << 16)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(timeout_seconds)
        try:
            client.connect((server, 53))
            client.send(query(name, number))
            return has_address(client.recv(512), number)
        except OSError:
            return False


def query(name: str, number: int) -> bytes:
    """Return the packet that asks for the addresses of ``name`` (RFC 1035, section 4.1)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    header = struct.pack(_HEADER, number, _RECURSION_DESIRED, 1, 0, 0, 0)
    return header + labels + b"\0" + struct.pack(">HH", _ADDRESS_RECORD, _INTERNET)


def has_address(answer: bytes, number: int) -> bool:
    """Tell whether ``answer`` belongs to question ``number``, reports success and holds a record."""
    if len(answer) < struct.calcsize(_HEADER):
        return False
    answered, flags, _, records, _, _ = (int(field) for field in struct.unpack_from(_HEADER, answer))
    return answered == number and flags & _CODE_MASK == 0 and records > 0
