"""getifaddrs(3) through ctypes: the addresses of the interfaces that are up.

Called only by `interfaces.py`.  Exists because the standard library has no such call, and
importing psutil costs more than everything else done at start.
"""

from __future__ import annotations

import ctypes
import socket
import sys

_IFF_UP = 0x1
# Offset and length of the address inside sockaddr_in and sockaddr_in6 (ip(7), ipv6(7)).
_ADDRESS_AT = {socket.AF_INET: (4, 4), socket.AF_INET6: (8, 16)}


class _Entry(ctypes.Structure):
    """struct ifaddrs."""


_Entry._fields_ = [
    ("next", ctypes.POINTER(_Entry)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.c_void_p),
    ("netmask", ctypes.c_void_p),
    ("broadcast", ctypes.c_void_p),
    ("data", ctypes.c_void_p),
]


def getifaddrs() -> list[tuple[str, str, int]]:
    """(name, address, prefix length in bits) of each address; empty if unavailable.

    IPv6 addresses have no zone.
    """
    if not sys.platform.startswith("linux"):
        return []
    libc = ctypes.CDLL(None, use_errno=True)
    head = ctypes.POINTER(_Entry)()
    if libc.getifaddrs(ctypes.byref(head)) != 0:
        return []
    try:
        return _walk(head)
    finally:
        libc.freeifaddrs(head)


def _walk(cursor: ctypes._Pointer[_Entry]) -> list[tuple[str, str, int]]:
    found: list[tuple[str, str, int]] = []
    while cursor:
        entry = cursor.contents
        family, packed = _sockaddr(entry.address)
        if packed and entry.flags & _IFF_UP:
            _, mask = _sockaddr(entry.netmask)
            prefix = sum(byte.bit_count() for byte in mask) if mask else len(packed) * 8
            found.append((entry.name.decode(), socket.inet_ntop(family, packed), prefix))
        cursor = entry.next
    return found


def _sockaddr(pointer: int | None) -> tuple[int, bytes]:
    """Family and packed address; no bytes for families other than IP."""
    if not pointer:
        return 0, b""
    family = ctypes.c_ushort.from_address(pointer).value
    offset, length = _ADDRESS_AT.get(family, (0, 0))  # type: ignore[call-overload]
    return family, ctypes.string_at(pointer + offset, length)
