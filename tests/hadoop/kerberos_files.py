"""A Kerberos that consists of files alone: a realm's configuration, and tickets nobody has issued.

Used by tests of what is said about tickets.  The system's library reads the files as it reads real
ones; no server takes such a ticket.
"""

from __future__ import annotations

import struct
import time
from pathlib import Path

REALM = "EXAMPLE.ORG"
PRINCIPAL = f"alice@{REALM}"
_AES256 = 18
_NT_PRINCIPAL = 1


def realm(folder: Path, kdc: str) -> dict[str, str]:
    """The variables of a user of a realm, who has no ticket yet; `kdc` is its server's address."""
    known = f" {REALM} = {{\n  kdc = {kdc}\n }}\n" if kdc else ""
    (folder / "krb5.conf").write_text(
        f"[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n rdns = false\n"
        f" dns_canonicalize_hostname = false\n udp_preference_limit = 1\n[realms]\n{known}"
    )
    return {
        "KRB5_CONFIG": str(folder / "krb5.conf"),
        "KRB5CCNAME": f"FILE:{folder}/tickets",
    }


def write_ticket(folder: Path, good_for_s: float) -> int:
    """A ticket-granting ticket of `PRINCIPAL`; returns when it ends, in seconds since 1970.

    The format is number 4 of MIT Kerberos's file caches.
    """
    ends = int(time.time() + good_for_s)
    alice, server = _principal("alice"), _principal("krbtgt", REALM)
    times = struct.pack(">4I", ends - 3600, ends - 3600, ends, 0)
    key = struct.pack(">H", _AES256) + _counted(b"k" * 32)
    flags_and_addresses = struct.pack(">BIII", 0, 0, 0, 0)
    body = alice + server + key + times + flags_and_addresses + _counted(_ticket()) + _counted(b"")
    header = struct.pack(">HHHHII", 0x0504, 12, 1, 8, 0, 0)
    (folder / "tickets").write_bytes(header + alice + body)
    return ends


def _principal(*names: str) -> bytes:
    parts = b"".join(_counted(name.encode()) for name in (REALM, *names))
    return struct.pack(">II", _NT_PRINCIPAL, len(names)) + parts


def _counted(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _ticket() -> bytes:
    """What the server would read: `Ticket` of RFC 4120 in DER."""
    names = _tlv(0x30, _text("krbtgt") + _text(REALM))
    name = _tlv(0x30, _tlv(0xA0, _number(_NT_PRINCIPAL)) + _tlv(0xA1, names))
    sealed = _tlv(0x30, _tlv(0xA0, _number(_AES256)) + _tlv(0xA2, _tlv(0x04, b"sealed")))
    fields = (_number(5), _text(REALM), name, sealed)
    tagged = b"".join(_tlv(0xA0 + tag, field) for tag, field in enumerate(fields))
    return _tlv(0x61, _tlv(0x30, tagged))


def _number(value: int) -> bytes:
    return _tlv(0x02, bytes([value]))


def _text(value: str) -> bytes:
    return _tlv(0x1B, value.encode())


def _tlv(tag: int, data: bytes) -> bytes:
    assert len(data) < 128
    return bytes([tag, len(data)]) + data
