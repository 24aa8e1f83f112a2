"""Kerberos for HTTP (SPNEGO), through the system's GSSAPI library: nothing needs to be installed.

Used if a cluster is secure.  Reads the user's ticket cache, never a password.
"""

from __future__ import annotations

import base64
import ctypes
import ctypes.util
import os
import queue
import threading
import time
from typing import Any

from rayhpc.hadoop import ticket
from rayhpc.hadoop.errors import KerberosError

_LIBRARY = "libgssapi_krb5.so.2"
_MUTUAL = 2
# The library asks a silent Kerberos server again and again: half a minute for each there is.
_PATIENCE_S = 10.0


class _Buffer(ctypes.Structure):
    _fields_ = [("length", ctypes.c_size_t), ("value", ctypes.c_void_p)]


class _Oid(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint32), ("elements", ctypes.c_char_p)]


_SPNEGO = bytes.fromhex("2b0601050502")
_HOST_BASED_SERVICE = bytes.fromhex("2a864886f71201020104")


def authorization(host: str, service: str = "HTTP") -> str:
    """The value of an Authorization header for `host`; good for one request.

    Raises:
        KerberosError: no library, no ticket, an expired one, an unknown service, or no Kerberos
            server answers.
    """
    token = _in_time(_load(), f"{service}@{host}")
    return "Negotiate " + base64.b64encode(token).decode()


def check_ticket() -> None:
    """Raise KerberosError for an expired ticket, before a program that is slow to notice runs."""
    try:
        held = ticket.held()
    except OSError:
        return
    if held is not None and held.is_expired():
        raise KerberosError(_has_expired(held))


def _load() -> Any:
    try:
        return ctypes.CDLL(ctypes.util.find_library("gssapi_krb5") or _LIBRARY)
    except OSError:
        raise KerberosError(
            "the cluster requires Kerberos, but this machine has no GSSAPI library: install MIT "
            "Kerberos (krb5-libs, libgssapi-krb5-2)"
        ) from None


def _in_time(gss: Any, target: str) -> bytes:
    """The first token; on another thread, since a call into the library cannot be interrupted."""
    answer: queue.SimpleQueue[bytes | KerberosError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answer.put(_first_token(gss, target))
        except KerberosError as error:
            answer.put(error)

    threading.Thread(target=ask, name="rayhpc-kerberos", daemon=True).start()
    try:
        found = answer.get(timeout=_PATIENCE_S)
    except queue.Empty:
        raise KerberosError(
            f"Kerberos: no server (KDC) has answered for {_PATIENCE_S:g} s; is the network up, and "
            f"does {_krb5_conf()} name those of your realm?"
        ) from None
    if isinstance(found, KerberosError):
        raise found
    return found


def _first_token(gss: Any, target: str) -> bytes:
    minor, ignored = ctypes.c_uint32(), ctypes.c_uint32()
    name, context, token = ctypes.c_void_p(), ctypes.c_void_p(), _Buffer()
    try:
        _check(gss, target, minor, _import_name(gss, minor, target, name))
        mechanism = _Oid(len(_SPNEGO), _SPNEGO)
        status = gss.gss_init_sec_context(
            *(ctypes.byref(minor), None, ctypes.byref(context), name, ctypes.byref(mechanism)),
            *(ctypes.c_uint32(_MUTUAL), ctypes.c_uint32(0), None, None, None),
            *(ctypes.byref(token), None, None),
        )
        _check(gss, target, minor, status)
        return ctypes.string_at(token.value or 0, token.length)
    finally:
        gss.gss_release_name(ctypes.byref(ignored), ctypes.byref(name))
        gss.gss_release_buffer(ctypes.byref(ignored), ctypes.byref(token))
        if context:
            gss.gss_delete_sec_context(ctypes.byref(ignored), ctypes.byref(context), None)


def _import_name(gss: Any, minor: ctypes.c_uint32, target: str, name: ctypes.c_void_p) -> int:
    text = target.encode()
    buffer = _Buffer(len(text), ctypes.cast(ctypes.c_char_p(text), ctypes.c_void_p))
    kind = _Oid(len(_HOST_BASED_SERVICE), _HOST_BASED_SERVICE)
    return int(
        gss.gss_import_name(
            ctypes.byref(minor), ctypes.byref(buffer), ctypes.byref(kind), ctypes.byref(name)
        )
    )


def _check(gss: Any, target: str, minor: ctypes.c_uint32, major: int) -> None:
    """Raise KerberosError for an error status."""
    if not ctypes.c_uint32(major).value >> 16:
        return
    sentences = []
    for code, kind in ((major, 1), (minor.value, 2)):
        more, text, ignored = ctypes.c_uint32(0), _Buffer(), ctypes.c_uint32()
        gss.gss_display_status(
            *(ctypes.byref(ignored), ctypes.c_uint32(code), kind, None),
            *(ctypes.byref(more), ctypes.byref(text)),
        )
        sentences.append(ctypes.string_at(text.value or 0, text.length).decode(errors="replace"))
        gss.gss_release_buffer(ctypes.byref(ignored), ctypes.byref(text))
    raise KerberosError(_in_words(target, sentences))


def _in_words(target: str, sentences: list[str]) -> str:
    """What is wrong: with the ticket, if that can be seen, else in the library's own words."""
    try:
        held = ticket.held()
    except OSError:
        return f"Kerberos: {'; '.join(sentences)}; klist shows your tickets"
    if held is None:
        where = os.environ.get("KRB5CCNAME", "the default cache")
        return f"Kerberos: there is no ticket in {where}: kinit gets one, klist shows your tickets"
    if held.is_expired():
        return _has_expired(held)
    return (
        f"Kerberos: the ticket of {held.principal} is no way to {target}: {sentences[-1]}; is that "
        f"the right realm, and does {_krb5_conf()} know it? klist shows your tickets"
    )


def _has_expired(held: ticket.Ticket) -> str:
    at = time.strftime("%d %b %Y %H:%M:%S", time.localtime(held.ends))
    return f"Kerberos: the ticket of {held.principal} expired on {at}: kinit gets a new one"


def _krb5_conf() -> str:
    return os.environ.get("KRB5_CONFIG", "/etc/krb5.conf")
