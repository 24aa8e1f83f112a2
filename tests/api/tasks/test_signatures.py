"""Arguments are checked against the function before a call leaves the process."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rayhpc.api.tasks.signatures import Shape, is_async, is_generator, shape_of


def _plain(a: Any, b: int = 1) -> None: ...


def _wide(a: Any, /, *more: Any, key: Any, **rest: Any) -> None: ...


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((1,), {}), ((1, 2), {}), ((), {"a": 1}), ((1,), {"b": 2}), ((), {"b": 1, "a": 2})],
)
def test_what_fits(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    shape = shape_of(_plain)
    assert shape is not None
    shape.check("plain", args, kwargs)


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ((), {}, "missing a required argument: 'a'"),
        ((1, 2, 3), {}, "too many positional arguments"),
        ((1,), {"c": 3}, "unexpected keyword argument 'c'"),
        ((1,), {"a": 3}, "multiple values for argument 'a'"),
    ],
)
def test_what_does_not_fit_names_the_function(
    args: tuple[Any, ...], kwargs: dict[str, Any], words: str
) -> None:
    shape = shape_of(_plain)
    assert shape is not None
    with pytest.raises(TypeError, match=rf"plain\(\): .*{words}"):
        shape.check("plain", args, kwargs)


def test_every_kind_of_parameter() -> None:
    shape = shape_of(_wide)
    assert shape is not None
    shape.check("wide", (1, 2, 3), {"key": 4, "other": 5})
    with pytest.raises(TypeError, match="key"):
        shape.check("wide", (1,), {})


def test_a_shape_travels() -> None:
    shape = shape_of(_wide)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(shape), type=Shape) == shape


def test_classes_without_a_constructor_take_nothing() -> None:
    class Empty: ...

    shape = shape_of(Empty)
    assert shape is not None
    with pytest.raises(TypeError, match="too many positional"):
        shape.check("Empty", (1,), {})


def test_kinds_of_functions() -> None:
    def generator() -> Any:
        yield 1

    async def coroutine() -> None: ...

    async def stream() -> Any:
        yield 1

    assert [is_generator(x) for x in (generator, coroutine, stream, _plain)] == [
        True,
        False,
        True,
        False,
    ]
    assert [is_async(x) for x in (generator, coroutine, stream, _plain)] == [
        False,
        True,
        True,
        False,
    ]
