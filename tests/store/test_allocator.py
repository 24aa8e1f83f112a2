"""The allocator: blocks never overlap, and whatever order they come back in, all bytes do."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from rayhpc.store.allocator import Allocator
from rayhpc.store.bins import SizeBins

CAPACITY = 1 << 20


def check(allocator: Allocator, taken: dict[int, int]) -> None:
    """No two blocks share a byte, and what is not taken is free or beyond the edge."""
    end = 0
    for offset in sorted(taken):
        assert offset >= end, "two blocks overlap"
        end = offset + taken[offset]
    assert end <= allocator.edge <= CAPACITY
    assert allocator.used == sum(-(-size // 64) * 64 for size in taken.values())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 90_000), st.integers(0, 3), st.integers(0, 40))))
def test_blocks_never_overlap_and_all_bytes_come_back(
    steps: list[tuple[int, int, int]],
) -> None:
    allocator = Allocator(CAPACITY)
    taken: dict[int, int] = {}
    for size, writer, victim in steps:
        offset = allocator.allocate(size, writer)
        if offset is not None:
            assert offset % 64 == 0
            assert offset not in taken
            taken[offset] = size
        if victim < len(taken):
            gone = list(taken)[victim]
            allocator.free(gone)
            del taken[gone]
        check(allocator, taken)
    for gone in list(taken):
        allocator.free(gone)
    assert allocator.used == 0
    whole = allocator.allocate(CAPACITY, 0)
    assert whole == 0, "freed blocks were not joined to one"


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(1, 1 << 40), min_size=1, max_size=30),
    st.integers(1, 1 << 40),
)
def test_bins_find_a_fit_unless_only_their_own_class_has_one(sizes: list[int], want: int) -> None:
    bins: SizeBins[int] = SizeBins()
    for key, size in enumerate(sizes):
        bins.add(key, size)
    found = bins.at_least(want)
    if found is None:
        assert max(sizes) < want * 1.126 + 128
    else:
        assert sizes[found] >= want
    largest = bins.largest()
    assert largest is not None
    assert sizes[largest] * 1.126 + 128 >= max(sizes)
    for key, size in enumerate(sizes):
        bins.discard(key, size)
    assert not bins
    assert bins.largest() is None


def test_a_writer_gets_its_own_block_back() -> None:
    allocator = Allocator(CAPACITY)
    mine = allocator.allocate(5000, writer=1)
    between = allocator.allocate(64, writer=3)
    other = allocator.allocate(5000, writer=2)
    assert mine is not None
    assert between is not None
    assert other is not None
    allocator.allocate(64, writer=3)
    allocator.free(mine)
    allocator.free(other)
    assert allocator.allocate(5000, writer=1) == mine
    allocator.free(mine)
    assert allocator.allocate(5000, writer=2) == other


@pytest.mark.parametrize("small_first", [True, False])
def test_joined_blocks_belong_to_whoever_wrote_more(small_first: bool) -> None:
    allocator = Allocator(CAPACITY)
    large, small = allocator.allocate(50_000, writer=1), allocator.allocate(64, writer=2)
    decoy = allocator.allocate(64, writer=3)
    spare = allocator.allocate(50_000, writer=3)
    allocator.allocate(64, writer=3)
    assert large is not None
    assert small is not None
    assert spare is not None
    assert decoy is not None
    for offset in (small, large) if small_first else (large, small):
        allocator.free(offset)
    allocator.free(spare)
    assert allocator.allocate(40_000, writer=1) == large


def test_used_memory_is_reused_before_new_is_touched() -> None:
    allocator = Allocator(CAPACITY)
    for _ in range(100):
        offset = allocator.allocate(10_000, writer=1)
        assert offset is not None
        allocator.free(offset)
    assert allocator.edge < 20_000


def test_a_block_that_does_not_fit_is_refused() -> None:
    allocator = Allocator(CAPACITY)
    assert allocator.allocate(CAPACITY + 1) is None
    assert allocator.allocate(CAPACITY) == 0
    assert allocator.allocate(1) is None
