"""Slots: what a worker noted is read after its death, wherever it was killed."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator

import pytest

from rayhpc.wire import slots
from rayhpc.wire.address import OBJECT_ID_BYTES
from rayhpc.wire.slots import SLOT_BYTES, Slot, SlotTable


@pytest.fixture
def table() -> Iterator[SlotTable]:
    table = SlotTable.create(3)
    yield table
    table.close()


def tid_of(number: int) -> bytes:
    return number.to_bytes(OBJECT_ID_BYTES // 2, "big") * 2


def test_an_empty_slot_says_nothing(table: SlotTable) -> None:
    assert [table.read(x) for x in range(3)] == [(b"", [])] * 3


def test_the_last_started_task_and_the_results_are_read(table: SlotTable) -> None:
    slot = Slot(table.fd, 1)
    for number in range(1, 6):
        slot.note_start(tid_of(number))
        assert table.read(1)[0] == tid_of(number)
    results = [b"", b"x", b"12345678", os.urandom(100_000)]
    assert all(slot.journal_append(x) for x in results)
    assert table.read(1) == (tid_of(5), results)
    assert table.read(0) == table.read(2) == (b"", [])
    slot.journal_clear()
    assert table.read(1) == (tid_of(5), [])
    slot.journal_append(b"next")
    assert table.read(1)[1] == [b"next"]
    slot.close()


def test_a_result_that_does_not_fit_leaves_the_others(table: SlotTable) -> None:
    slot = Slot(table.fd, 2)
    chunk = bytes(100_000)
    assert slot.journal_append(chunk)
    assert slot.journal_append(chunk)
    assert not slot.journal_append(chunk)
    assert slot.journal_append(b"small")
    assert table.read(2)[1] == [chunk, chunk, b"small"]
    slot.journal_clear()
    while slot.journal_append(b"0123456"):
        pass
    assert len(table.read(2)[1]) == (SLOT_BYTES - slots._JOURNAL) // 16
    slot.close()


def test_the_largest_result_fits_exactly(table: SlotTable) -> None:
    slot = Slot(table.fd, 0)
    largest = os.urandom(SLOT_BYTES - slots._JOURNAL - 8)
    assert not slot.journal_append(largest + b"!")
    assert slot.journal_append(largest)
    assert table.read(0)[1] == [largest]
    assert table.read(1) == (b"", [])
    slot.close()


def test_clearing_gives_the_memory_back(table: SlotTable) -> None:
    slot = Slot(table.fd, 1)
    slot.note_start(tid_of(1))
    slot.journal_append(bytes(range(256)) * 500)
    used = os.fstat(table.fd).st_blocks
    table.clear(1)
    assert table.read(1) == (b"", [])
    assert os.fstat(table.fd).st_blocks < used
    slot.close()


@pytest.mark.parametrize("at", [0, 8, slots._JOURNAL])
def test_a_slot_that_was_written_over_harms_nobody(table: SlotTable, at: int) -> None:
    slot = Slot(table.fd, 0)
    slot.note_start(tid_of(1))
    slot.journal_append(b"result")
    slot._bytes[at : at + 8] = b"\xff" * 8
    started, results = table.read(0)
    assert started in (b"", tid_of(1))
    assert all(len(x) <= SLOT_BYTES for x in results)
    slot.close()


def test_a_worker_killed_at_any_moment_leaves_whole_notes(table: SlotTable) -> None:
    rng = random.Random(1)
    for _ in range(20):
        table.clear(1)
        pid = os.fork()
        if not pid:
            try:
                _work(table.fd)
            finally:
                os._exit(1)
        while table.read(1)[0] < tid_of(50):
            time.sleep(0)
        time.sleep(rng.random() * 0.002)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        started, results = table.read(1)
        assert started[:14] == started[14:]
        last = int.from_bytes(started[:14], "big")
        found = [int.from_bytes(x[:8], "big") for x in results]
        assert all(x == x[:8] * (len(x) // 8) for x in results)
        # Results in a row, up to the task before the last one started, or that one.
        assert found == list(range(found[0], found[0] + len(found))) if found else True
        assert not found or found[-1] in (last - 1, last)


def _work(fd: int) -> None:
    slot = Slot(fd, 1)
    number = 0
    while True:
        number += 1
        slot.note_start(tid_of(number))
        if number % 10 == 0:
            slot.journal_clear()
        slot.journal_append(number.to_bytes(8, "big") * (number % 7 + 1))


def test_notes_are_cheap(table: SlotTable) -> None:
    slot = Slot(table.fd, 0)
    tid = tid_of(7)

    def spent() -> float:
        start = time.perf_counter()
        for _ in range(2000):
            slot.note_start(tid)
        return (time.perf_counter() - start) / 2000

    assert min(spent() for _ in range(20)) < 1e-6  # 0.1 µs on an idle machine
    slot.close()
    assert slots.SLOT_BYTES % 65536 == 0  # the largest page size in use
