"""Random messages of given types, for the fuzz tests of whoever takes them."""

from __future__ import annotations

import typing
from collections.abc import Iterable
from types import UnionType
from typing import Any

import msgspec
from hypothesis import strategies as st

_ADDRESSES = st.sampled_from([0, 1 << 32, (1 << 32) + 1, 2 << 32, (2 << 32) + 7, 9 << 32])
_NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 4) | _ADDRESSES
_IDS = st.sampled_from([bytes(28), b"a" * 16, (1).to_bytes(4, "big") + b"x" * 24])


def messages(kinds: Iterable[type[msgspec.Struct]]) -> st.SearchStrategy[Any]:
    """Any message of these types, with any values that its fields may have."""
    return st.one_of([of(kind) for kind in kinds])


def of(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type as messages use them."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = typing.get_type_hints(kind)
        return st.deferred(lambda: st.builds(kind, **{k: of(hints[k]) for k in hints}))
    if origin is list:
        return st.lists(of(arguments[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(of(arguments[0]), of(arguments[1]), max_size=3)
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return st.lists(of(arguments[0]), max_size=3).map(tuple)
        return st.tuples(*(of(x) for x in arguments))
    if origin in (typing.Union, UnionType):
        return st.one_of([of(x) for x in arguments])
    return _SIMPLE[kind]


_SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    int: _NUMBERS,
    float: st.floats(),
    bool: st.booleans(),
    str: st.text(max_size=8) | st.sampled_from(["CPU", "GPU", "group", "node", "spread", "kv://x"]),
    bytes: st.binary(max_size=40) | _IDS,
    type(None): st.none(),
    Any: st.none(),
}
