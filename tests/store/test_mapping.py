"""The windows onto the arena: views keep their exporter, and with it the pin, alive."""

import gc
import os
import pickle
import subprocess
import sys
import weakref
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from rayhpc.store import layout
from rayhpc.store.arena import Arena
from rayhpc.store.mapping import Mapping

SIZE = 48 * 2**20
OID = b"o" * 16


@pytest.fixture
def arena() -> Iterator[Arena]:
    arena = Arena.create(SIZE)
    assert arena.commit(0, SIZE)
    yield arena
    arena.close()


def store(mapping: Mapping, value: Any, offset: int = 0) -> int:
    """Write a value; the bytes it takes."""
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    size = layout.size_needed(pickled, buffers)
    layout.write_into(mapping.writable(offset, size), pickled, buffers)
    return size


def load(exporter: Any) -> Any:
    pickled, buffers = layout.parse(exporter)
    return pickle.loads(pickled, buffers=buffers)


@pytest.mark.parametrize("with_numpy", [True, False])
def test_an_array_keeps_its_pin_until_the_last_view_is_gone(
    arena: Arena, monkeypatch: pytest.MonkeyPatch, with_numpy: bool
) -> None:
    mapping = Mapping(arena.fd, arena.size)
    value = {"a": np.arange(10_000), "b": b"text"}
    size = store(mapping, value)
    unpinned: deque[bytes] = deque()
    with monkeypatch.context() as context:
        if not with_numpy:
            context.setitem(sys.modules, "numpy", None)
        exporter = mapping.export(0, size, unpinned, OID)
    assert isinstance(exporter, np.ndarray) == with_numpy
    again = load(exporter)
    del exporter
    view = again["a"].reshape(100, 100).T[3:5]
    del again
    gc.collect()
    assert not unpinned, "the pin went while a view was alive: use after free"
    assert view[0, 0] == 3
    del view
    gc.collect()
    assert list(unpinned) == [OID]


def test_each_reader_has_a_pin_of_its_own(arena: Arena) -> None:
    mapping = Mapping(arena.fd, arena.size)
    size = store(mapping, b"x" * 1000)
    unpinned: deque[bytes] = deque()
    one = mapping.export(0, size, unpinned, OID)
    two = mapping.export(0, size, unpinned, OID)
    del one
    gc.collect()
    assert list(unpinned) == [OID]
    del two
    gc.collect()
    assert list(unpinned) == [OID, OID]


@pytest.mark.parametrize("with_numpy", [True, False])
def test_views_outlive_the_mapping(
    arena: Arena, monkeypatch: pytest.MonkeyPatch, with_numpy: bool
) -> None:
    mapping = Mapping(arena.fd, arena.size)
    size = store(mapping, np.arange(5000))
    with monkeypatch.context() as context:
        if not with_numpy:
            context.setitem(sys.modules, "numpy", None)
        array = load_later(mapping.export(0, size, deque(), OID))
    memory = weakref.ref(mapping._read)
    mapping.close()
    del mapping
    gc.collect()
    assert memory() is not None, "unmapped under a view"
    assert array().sum() == 5000 * 4999 // 2
    del array
    gc.collect()
    assert memory() is None, "never unmapped"


def load_later(exporter: Any) -> Any:
    """What will load the object: keeps only what `layout.parse` gives."""
    pickled, buffers = layout.parse(exporter)
    return lambda: pickle.loads(pickled, buffers=buffers)


def test_arrays_are_read_only_for_good(arena: Arena) -> None:
    mapping = Mapping(arena.fd, arena.size)
    array = load(mapping.export(0, store(mapping, np.arange(5000)), deque(), OID))
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.flags.writeable = True


def test_another_mapping_reads_what_was_written(arena: Arena) -> None:
    writer, reader = (Mapping(arena.fd, arena.size) for _ in range(2))
    big = np.random.default_rng(0).integers(0, 255, 40 * 2**20, np.uint8)
    size = store(writer, big, offset=4096)  # large enough to be populated ahead of the copy
    array = load(reader.export(4096, size, deque(), OID))
    assert np.array_equal(array, big)


def test_a_stray_write_crashes_the_writer_and_changes_nothing(arena: Arena) -> None:
    mapping = Mapping(arena.fd, arena.size)
    size = store(mapping, b"intact")
    program = (
        "import ctypes, sys\n"
        "from collections import deque\n"
        "from rayhpc.store.mapping import Mapping\n"
        "mapping = Mapping(int(sys.argv[1]), int(sys.argv[2]))\n"
        "exporter = mapping.export(0, 64, deque(), b'')\n"
        "ctypes.memset(ctypes.addressof(exporter), 0, 64)\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", program, str(arena.fd), str(arena.size)],
        pass_fds=[arena.fd],
        check=False,
        timeout=30,
    )
    assert child.returncode == -11
    assert load(mapping.export(0, size, deque(), OID)) == b"intact"


def test_the_arena_cannot_be_cut_short(arena: Arena) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(arena.fd, 4096)


def test_an_arena_takes_memory_only_where_it_was_committed() -> None:
    arena = Arena.create(1 << 40)
    assert os.fstat(arena.fd).st_blocks == 0
    assert arena.commit(0, 1 << 20)
    assert os.fstat(arena.fd).st_blocks * 512 == 1 << 20
    arena.close()


def test_a_size_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        Arena.create(0)
