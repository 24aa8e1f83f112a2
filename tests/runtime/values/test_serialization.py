"""Values survive the journey, references inside them are noted, what cannot go is named."""

from __future__ import annotations

import pickle
import sys
import threading
import types
from collections import namedtuple
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayhpc.runtime.values import references, serialization
from rayhpc.runtime.values.references import ObjectRef

Point = namedtuple("Point", "x y")
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


def there_and_back(value: Any) -> Any:
    packed = serialization.serialize(value)
    inline = serialization.from_inline(serialization.to_inline(packed))
    assert type(inline) is type(value)
    return serialization.deserialize(packed.pickled, packed.buffers)


@given(plain)
def test_plain_values_come_back_equal(value: Any) -> None:
    assert there_and_back(value) == value


def test_a_large_array_travels_out_of_band_and_comes_back_read_only() -> None:
    array = np.arange(10_000.0)
    packed = serialization.serialize({"a": array, "b": Point(1, 2)})
    assert len(packed.buffers) == 1
    assert packed.nbytes > array.nbytes > len(packed.pickled)
    back = serialization.from_inline(serialization.to_inline(packed))
    np.testing.assert_array_equal(back["a"], array)
    assert not back["a"].flags.writeable
    assert back["b"] == Point(1, 2)


def test_a_strided_array_is_copied_into_the_pickle() -> None:
    array = np.arange(20_000).reshape(100, 200)[::2, ::3]
    np.testing.assert_array_equal(there_and_back(array), array)


def test_lambdas_closures_and_local_classes_can_be_sent() -> None:
    factor = 3

    class Local:
        def __init__(self, n: int) -> None:
            self.n = n

    assert there_and_back(lambda x: x * factor)(2) == 6
    assert there_and_back(Local(5)).n == 5


def test_references_inside_are_collected_once_each() -> None:
    first, second = ObjectRef(b"1" * 28), ObjectRef(b"2" * 28)
    packed = serialization.serialize([first, {"k": (second, lambda: first)}])
    assert {r.binary() for r in packed.refs} == {first.binary(), second.binary()}
    assert serialization.serialize(5).refs == []


def test_collecting_nests_and_is_per_thread() -> None:
    ref = ObjectRef(b"3" * 28)
    seen_elsewhere: list[Any] = []
    with references.collect_refs() as outer:
        with references.collect_refs() as inner:
            references.note_ref(ref)
        thread = threading.Thread(
            target=lambda: seen_elsewhere.extend(serialization.serialize(1).refs)
        )
        thread.start()
        thread.join()
    assert inner == [ref]
    assert outer == []
    assert seen_elsewhere == []


class Holder:
    def __init__(self) -> None:
        self.inner = {"connection": threading.Lock()}


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (Holder(), ".inner['connection']"),
        ([1, (2, threading.Lock())], "[1][1]"),
        (lambda lock=Holder(): lock, "lambda"),
    ],
)
def test_what_cannot_be_pickled_is_named_with_its_path(value: Any, path: str) -> None:
    with pytest.raises(TypeError, match="cannot be pickled") as caught:
        serialization.serialize(value)
    assert path in str(caught.value)


def test_a_captured_variable_is_named() -> None:
    secret_lock = threading.Lock()

    def uses_it() -> Any:
        return secret_lock

    with pytest.raises(TypeError, match="secret_lock"):
        serialization.dump_definition(uses_it)


def test_definition_ids_follow_the_content() -> None:
    one = serialization.dump_definition(len)
    assert serialization.definition_id(one) == serialization.definition_id(bytes(one))
    other = serialization.dump_definition(sum)
    assert serialization.definition_id(one) != serialization.definition_id(other)


# -- modules and classes of others -----------------------------------------------------------------
class _CallableModule(types.ModuleType):
    def __call__(self) -> str:
        return self.__name__


def test_a_module_with_a_class_of_its_own_is_sent_by_name(monkeypatch: Any) -> None:
    module = _CallableModule("module_of_a_test")
    module.lock = threading.Lock()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert there_and_back(module) is module
    assert there_and_back(lambda: module())() == "module_of_a_test"
    back = pickle.loads(serialization.dump_definition(lambda: module))
    assert back() is module


def test_starlettes_state_comes_back_whole() -> None:
    datastructures = pytest.importorskip("starlette.datastructures")
    state = datastructures.State({"a": 1})
    assert there_and_back(state)._state == {"a": 1}
    assert there_and_back(lambda: state)()._state == {"a": 1}


def test_fields_of_pydantic_1_are_sent_without_their_compiled_checks() -> None:
    pydantic = pytest.importorskip("pydantic.v1")
    Item = pydantic.create_model("Item", counts=(list[int], ...))  # noqa: N806
    field = Item.__fields__["counts"]
    for each in (field, field.sub_fields[0]):
        each.post_validators = [threading.Lock()]  # as little to be pickled as compiled functions
    back = pickle.loads(serialization.dump_definition(field))
    assert back.validate(["1", 2], {}, loc="counts") == ([1, 2], None)
    assert back.validate(["x"], {}, loc="counts")[1]
