"""Token files and token strings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayhpc.hadoop.messages.security import CredentialsKVProto, CredentialsProto, TokenProto
from rayhpc.hadoop.protobuf import delimited
from rayhpc.hadoop.tokens import Credentials, Token
from rayhpc.hadoop.writable import read_vint, write_vint

tokens = st.builds(Token, st.binary(), st.binary(), st.text(), st.text())
collections = st.builds(
    Credentials,
    st.dictionaries(st.text(), tokens, max_size=3),
    st.dictionaries(st.text(), st.binary(), max_size=3),
)


@given(collections)
def test_files_are_read_as_written(credentials: Credentials) -> None:
    assert Credentials.decode(credentials.encode()) == credentials


@given(tokens)
def test_text_is_read_as_written(token: Token) -> None:
    assert Token.from_text(token.to_text()) == token
    assert "=" not in token.to_text()


@given(st.integers(-(2**63), 2**63 - 1))
def test_numbers_are_read_as_written(value: int) -> None:
    data = write_vint(value)
    assert read_vint(b"x" + data + b"y", 1) == (value, 1 + len(data))


def test_numbers_are_javas() -> None:
    # What WritableUtils.writeVLong writes.
    assert write_vint(127) == b"\x7f"
    assert write_vint(-112) == b"\x90"
    assert write_vint(128) == b"\x8f\x80"
    assert write_vint(-113) == b"\x87\x70"
    assert write_vint(1 << 16) == b"\x8d\x01\x00\x00"


@given(st.binary())
def test_no_bytes_do_worse_than_a_value_error(noise: bytes) -> None:
    for data in (noise, b"HDTS\0" + noise, b"HDTS\1" + noise):
        try:
            Credentials.decode(data)
        except ValueError:
            pass


@given(collections, st.integers(0, 10**6))
def test_a_cut_off_file_is_refused(credentials: Credentials, at: int) -> None:
    data = credentials.encode()
    with pytest.raises(ValueError):
        Credentials.decode(data[: at % len(data)])


def test_the_protobuf_format_is_read() -> None:
    message = CredentialsProto(
        tokens=[
            CredentialsKVProto(
                alias="a",
                token=TokenProto(identifier=b"i", password=b"p", kind="K", service="s:1"),
            )
        ],
        secrets=[CredentialsKVProto(alias="b", secret=b"hidden")],
    )
    found = Credentials.decode(b"HDTS\1" + delimited(message))
    assert found == Credentials({"a": Token(b"i", b"p", "K", "s:1")}, {"b": b"hidden"})
    assert found.of_kind("K") == Token(b"i", b"p", "K", "s:1")
    assert found.of_kind("other") is None
    assert found.without("K") == Credentials({}, {"b": b"hidden"})


def test_nothing_secret_is_shown() -> None:
    shown = repr(Credentials({"a": Token(b"ident", b"pass", "K", "s")}, {"b": b"hidden"}))
    assert "ident" not in shown
    assert "pass" not in shown
    assert "hidden" not in shown
