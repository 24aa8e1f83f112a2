"""The user's Kerberos ticket: whose it is, and until when, as the system's libkrb5 reads the cache.

Used by `spnego` to say what is wrong.  Reads the cache only: never asks a Kerberos server.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_LIBRARY = "libkrb5.so.3"
_OF_A_REALM = "krbtgt/"
# Times are unsigned 32-bit numbers, although krb5.h says otherwise.
_TIME_MASK = 0xFFFFFFFF


@dataclass(frozen=True)
class Ticket:
    """A ticket-granting ticket; `ends` in seconds since 1970."""

    principal: str
    ends: int

    def is_expired(self) -> bool:
        """Whether its time is over by this machine's clock."""
        return time.time() >= self.ends


class _Credentials(ctypes.Structure):
    """krb5_creds of krb5.h; what follows the times is only to be freed."""

    _fields_ = [
        ("magic", ctypes.c_int32),
        ("client", ctypes.c_void_p),
        ("server", ctypes.c_void_p),
        ("key", ctypes.c_void_p * 3),
        ("begins", ctypes.c_int32 * 2),
        ("ends", ctypes.c_int32),
        ("renewable_until", ctypes.c_int32),
        ("rest", ctypes.c_void_p * 16),
    ]


def held() -> Ticket | None:
    """The ticket in the user's cache, if there is one, expired or not.

    Raises:
        OSError: this machine has no libkrb5.
    """
    library = ctypes.CDLL(ctypes.util.find_library("krb5") or _LIBRARY)
    with _context(library) as context, _cache(library, context) as cache:
        if cache is None:
            return None
        found = [each for each in _tickets(library, context, cache) if each is not None]
    return max(found, key=lambda ticket: ticket.ends, default=None)


@contextlib.contextmanager
def _context(library: Any) -> Iterator[ctypes.c_void_p]:
    context = ctypes.c_void_p()
    if library.krb5_init_context(ctypes.byref(context)):
        raise OSError("libkrb5 does not start: is krb5.conf right?")
    try:
        yield context
    finally:
        library.krb5_free_context(context)


@contextlib.contextmanager
def _cache(library: Any, context: ctypes.c_void_p) -> Iterator[ctypes.c_void_p | None]:
    cache = ctypes.c_void_p()
    if library.krb5_cc_default(context, ctypes.byref(cache)):
        yield None
        return
    try:
        yield cache
    finally:
        library.krb5_cc_close(context, cache)


def _tickets(
    library: Any, context: ctypes.c_void_p, cache: ctypes.c_void_p
) -> Iterator[Ticket | None]:
    cursor, one = ctypes.c_void_p(), _Credentials()
    if library.krb5_cc_start_seq_get(context, cache, ctypes.byref(cursor)):
        return
    while not library.krb5_cc_next_cred(context, cache, ctypes.byref(cursor), ctypes.byref(one)):
        server = _name(library, context, one.server)
        is_wanted = server.startswith(_OF_A_REALM)
        name = _name(library, context, one.client)
        yield Ticket(name, one.ends & _TIME_MASK) if is_wanted else None
        library.krb5_free_cred_contents(context, ctypes.byref(one))
    library.krb5_cc_end_seq_get(context, cache, ctypes.byref(cursor))


def _name(library: Any, context: ctypes.c_void_p, principal: int | None) -> str:
    text = ctypes.c_char_p()
    if library.krb5_unparse_name(context, ctypes.c_void_p(principal), ctypes.byref(text)):
        return ""
    try:
        return (text.value or b"").decode(errors="replace")
    finally:
        library.krb5_free_unparsed_name(context, text)
