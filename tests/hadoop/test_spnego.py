"""What is said about a ticket that opens no door, by the system's own library, without a server."""

from __future__ import annotations

import ctypes
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rayhpc.hadoop import spnego, ticket
from rayhpc.hadoop.errors import KerberosError
from tests.hadoop.kerberos_files import PRINCIPAL, REALM, realm, write_ticket

Enter = Callable[[str], None]


@pytest.fixture
def enter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Enter:
    """Go to a realm with this server, without a ticket."""
    for library in ("libgssapi_krb5.so.2", "libkrb5.so.3"):
        try:
            ctypes.CDLL(library)
        except OSError:
            pytest.skip(f"this machine has no {library} (MIT Kerberos)")

    def go(kdc: str) -> None:
        for name, value in realm(tmp_path, kdc).items():
            monkeypatch.setenv(name, value)

    return go


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def test_an_expired_ticket_is_said_to_be_whose_and_since_when(enter: Enter, tmp_path: Path) -> None:
    enter(closed_port())
    ends = write_ticket(tmp_path, -60)
    assert ticket.held() == ticket.Ticket(PRINCIPAL, ends)
    at = time.strftime("%d %b %Y %H:%M:%S", time.localtime(ends))
    says = f"Kerberos: the ticket of {PRINCIPAL} expired on {at}: kinit gets a new one"
    for ask in (lambda: spnego.authorization("127.0.0.1"), spnego.check_ticket):
        with pytest.raises(KerberosError) as caught:
            ask()
        assert str(caught.value) == says


def test_no_ticket_is_said_with_where_it_is_looked_for(enter: Enter, tmp_path: Path) -> None:
    enter(closed_port())
    assert ticket.held() is None
    spnego.check_ticket()
    with pytest.raises(KerberosError, match=f"there is no ticket in FILE:{tmp_path}/tickets: kini"):
        spnego.authorization("127.0.0.1")


@pytest.mark.parametrize("is_known", [True, False])
def test_a_realm_without_a_server_is_named(enter: Enter, tmp_path: Path, is_known: bool) -> None:
    enter(closed_port() if is_known else "")
    write_ticket(tmp_path, 3600)
    with pytest.raises(KerberosError) as caught:
        spnego.authorization("127.0.0.1")
    said = str(caught.value)
    assert said.startswith(f"Kerberos: the ticket of {PRINCIPAL} is no way to HTTP@127.0.0.1: ")
    assert REALM in said.partition("HTTP@127.0.0.1: ")[2]
    assert f"does {tmp_path}/krb5.conf know it" in said


def test_a_silent_server_is_not_waited_for(
    enter: Enter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spnego, "_PATIENCE_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        enter(f"127.0.0.1:{server.getsockname()[1]}")
        write_ticket(tmp_path, 3600)
        with pytest.raises(KerberosError, match=r"no server \(KDC\) has answered for 0\.1 s"):
            spnego.authorization("127.0.0.1")
