"""The layout of a stored object: what is written is what is read, in place and aligned."""

import pickle

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from rayhpc.store import layout


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.lists(st.binary(max_size=300), max_size=6))
def test_what_is_written_is_read(pickled: bytes, buffers: list[bytes]) -> None:
    size = layout.size_needed(pickled, buffers)
    place = bytearray(size)
    layout.write_into(memoryview(place), pickled, buffers)
    found, views = layout.parse(place)
    assert bytes(found) == pickled
    assert [bytes(view) for view in views] == buffers
    assert all(view.readonly for view in views)


def test_buffers_are_aligned() -> None:
    array = np.zeros(layout.size_needed(b"abc", [b"x" * 5, b"y" * 70]) + 64, np.uint8)
    start = -array.ctypes.data % 64
    place = array[start:]
    layout.write_into(memoryview(place), b"abc", [b"x" * 5, b"y" * 70])
    for view in layout.parse(place)[1]:
        assert np.frombuffer(view, np.uint8).ctypes.data % layout.ALIGNMENT == 0


@pytest.mark.parametrize("order", ["C", "F"])
def test_large_arrays_of_any_order(order: str) -> None:
    array = np.asarray(np.random.default_rng(1).random((700, 300)), order=order)  # type: ignore[call-overload]
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(array, protocol=5, buffer_callback=buffers.append)
    place = bytearray(layout.size_needed(pickled, buffers))
    layout.write_into(memoryview(place), pickled, buffers)
    found, views = layout.parse(place)
    again = pickle.loads(found, buffers=views)
    assert np.array_equal(again, array)
    assert again.flags.f_contiguous == array.flags.f_contiguous
    assert not again.flags.writeable


def test_a_buffer_with_gaps_is_refused() -> None:
    array = np.arange(100)[::2]
    with pytest.raises(BufferError):
        layout.write_into(memoryview(bytearray(2000)), b"", [array])


def test_a_place_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot take"):
        layout.write_into(memoryview(bytearray(100)), b"", [b"x" * 100])


@pytest.mark.parametrize("memory", [b"", b"RHO1", b"x" * 100])
def test_foreign_memory_is_refused(memory: bytes) -> None:
    with pytest.raises(ValueError, match="no stored object"):
        layout.parse(memory)


def test_a_torn_object_is_refused() -> None:
    place = bytearray(layout.size_needed(b"abc", [b"x" * 500]))
    layout.write_into(memoryview(place), b"abc", [b"x" * 500])
    with pytest.raises(ValueError, match="only 100"):
        layout.parse(place[:100])
