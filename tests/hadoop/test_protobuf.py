"""The codec: round trips, what it keeps, what it refuses."""

from __future__ import annotations

import importlib
import pkgutil
from enum import IntEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayhpc.hadoop import messages, protobuf
from rayhpc.hadoop.protobuf import CodecError, Message, delimited, read_delimited
from rayhpc.hadoop.protobuf.fields import Field


class Color(IntEnum):
    RED = 1
    BLUE = 5


class Inner(Message):
    id: int = protobuf.int32(1)
    text: str = protobuf.string(2, "none")


class Outer(Message):
    a: int = protobuf.int64(1, -1)
    b: int = protobuf.sint32(2)
    c: bool = protobuf.boolean(3, True)
    d: float = protobuf.float32(4)
    e: bytes = protobuf.bytestring(5)
    f: Inner | None = protobuf.message(6, Inner)
    g: list[Inner] = protobuf.message(7, Inner, repeated=True)
    h: list[int] = protobuf.int32(8, repeated=True)
    i: Color = protobuf.enumeration(9, Color, Color.BLUE)
    j: int = protobuf.uint64(1000)
    k: str = protobuf.string(11, required=True)


class Later(Message):
    """`Outer` as a newer server knows it."""

    k: str = protobuf.string(11, required=True)
    new: str = protobuf.string(77)
    newer: list[Inner] = protobuf.message(78, Inner, repeated=True)


def every_message() -> list[type[Message]]:
    found = []
    for module in pkgutil.iter_modules(messages.__path__):
        members = vars(importlib.import_module(f"{messages.__name__}.{module.name}")).values()
        found += [m for m in members if isinstance(m, type) and issubclass(m, Message)]
    return [each for each in dict.fromkeys(found) if each is not Message]


def _values(field: Field) -> st.SearchStrategy[object]:
    kind = field.kind
    scalars: dict[str, st.SearchStrategy[object]] = {
        "int32": st.integers(-(2**31), 2**31 - 1),
        "int64": st.integers(-(2**63), 2**63 - 1),
        "uint32": st.integers(0, 2**32 - 1),
        "uint64": st.integers(0, 2**64 - 1),
        "sint32": st.integers(-(2**31), 2**31 - 1),
        "bool": st.booleans(),
        "float": st.floats(width=32, allow_nan=False),
        "string": st.text(),
        "bytes": st.binary(),
    }
    if kind.name == "enum":
        return st.sampled_from(list(type(kind.zero)))
    if kind.name in scalars:
        return scalars[kind.name]
    # The class is what the field's kind decodes with.
    return st.deferred(lambda: a_message(kind.decode.__self__))  # type: ignore[attr-defined]


@st.composite
def a_message(draw: st.DrawFn, cls: type[Message]) -> Message:
    values = {}
    for name, field in cls.NAMES.items():
        if field.required or draw(st.booleans()):
            one = _values(field)
            values[name] = draw(st.lists(one, max_size=2) if field.repeated else one)
    return cls(**values)


@given(a_message(Outer))
def test_what_is_written_is_read(message: Outer) -> None:
    data = message.encode()
    assert Outer.decode(data) == message
    assert Outer.decode(data).encode() == data
    assert read_delimited(Outer, b"xy" + delimited(message), 2)[0] == message


@given(st.data())
def test_every_message_survives_a_round_trip(data: st.DataObject) -> None:
    cls = data.draw(st.sampled_from(every_message()))
    message = data.draw(a_message(cls))
    assert cls.decode(message.encode()) == message


@given(st.data(), st.binary(max_size=200))
def test_no_bytes_do_worse_than_a_codec_error(data: st.DataObject, noise: bytes) -> None:
    cls = data.draw(st.sampled_from([Outer, *every_message()]))
    try:
        cls.decode(noise)
    except CodecError:
        pass


@given(a_message(Outer), st.integers(0, 10**6), st.integers(0, 255))
def test_a_damaged_message_is_refused_or_another_one(message: Outer, at: int, byte: int) -> None:
    data = bytearray(message.encode())
    data[at % len(data)] = byte
    try:
        Outer.decode(bytes(data))
        Outer.decode(bytes(data[: at % len(data)]))
    except CodecError:
        pass


@given(st.text(), st.lists(st.builds(Inner, id=st.integers(0, 9)), max_size=3))
def test_what_is_not_known_is_kept(text: str, newer: list[Inner]) -> None:
    sent = Later(k="k", new=text, newer=newer)
    assert Later.decode(Outer.decode(sent.encode()).encode()) == sent


def test_defaults_are_read_where_nothing_was_set() -> None:
    empty = Outer(k="")
    assert (empty.a, empty.c, empty.i, empty.f, empty.e) == (-1, True, Color.BLUE, None, b"")
    assert not empty.has("a")
    assert not empty.has("g")
    empty.g.append(Inner(id=3))
    assert empty.has("g")
    assert Outer.decode(empty.encode()).g == [Inner(id=3)]
    assert Outer.FIELDS[1] is Outer.a  # type: ignore[comparison-overlap]


def test_numbers_may_come_packed() -> None:
    assert Outer.decode(b"\x5a\x00" + b"\x42\x03\x01\xac\x02").h == [1, 300]


def test_a_value_of_an_enumeration_that_is_new_is_a_number() -> None:
    found = Outer.decode(b"\x5a\x00" + b"\x48\x09")
    assert found.i == 9
    assert Outer.decode(found.encode()).i == 9


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (Outer(), "Outer needs k"),
        (Outer(k="", a=2**63), "a: 9223372036854775808 is out of range"),
        (Outer(k="", a=True), "a: bool instead of a whole number"),
        (Outer(k=b"x"), "k: bytes instead of text"),
        (Outer(k="", e="x"), "e: str instead of bytes"),
        (Outer(k="", f=Outer()), "f: Outer instead of Inner"),
        (Outer(k="\ud800"), "k: text that UTF-8 cannot hold"),
        (Outer(k="", d=1e60), "d: 1e\\+60 is not a number of 32 bits"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_fields_name(wrong: Outer, says: str) -> None:
    with pytest.raises(CodecError, match=says):
        wrong.encode()


def test_wrong_names_are_refused() -> None:
    with pytest.raises(TypeError, match="Inner has no field nmae"):
        Inner(nmae=1)


def test_no_bytes_are_shown() -> None:
    shown = repr(Outer(k="k", e=b"a password"))
    assert "password" not in shown
    assert "e=<10 bytes>" in shown
