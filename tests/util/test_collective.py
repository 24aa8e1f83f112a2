"""Collective operations between actors, on one node and on two."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import rayhpc
from rayhpc.exceptions import CollectiveGroupError, RayActorError
from rayhpc.util import collective as col
from rayhpc.util import list_named_actors

pytestmark = pytest.mark.usefixtures("nodes")

# Through the coordinator; as objects in the owner's table and in the store; in several parts.
SIZES = [1, 3, 11_250, 300_000]


@rayhpc.remote(num_cpus=0, max_concurrency=4, scheduling_strategy="SPREAD")
class Member:
    def join(self, size: int, rank: int, name: str = "default", timeout: float = 30) -> None:
        col.init_collective_group(size, rank, "gloo", name, int(timeout * 1000))

    def leave(self, name: str = "default") -> None:
        col.destroy_collective_group(name)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)


Members = list[Any]


def three(name: str) -> Members:
    made = [Member.remote() for _ in range(3)]
    rayhpc.get([x.join.remote(3, i, name) for i, x in enumerate(made)], timeout=60)
    return made


@pytest.fixture(scope="module")
def members(nodes: int) -> Members:
    """Three members of the group "default", the same for all tests that leave them whole."""
    return three("default")


@pytest.fixture
def own_members(nodes: int) -> Iterator[Members]:
    """Three members of a group "own", for one test."""
    made = three("own")
    yield made
    for each in made:
        rayhpc.kill(each)


def each(members: Members, function: Callable[..., Any], *args: Any, **kwargs: Any) -> list[Any]:
    """What the function returns in every member, its rank being the first argument."""
    refs = [x.call.remote(function, i, *args, **kwargs) for i, x in enumerate(members)]
    return rayhpc.get(refs, timeout=60)


def numbers(rank: int, size: int, dtype: str = "float64") -> Any:
    return (np.arange(size) % 7 + rank + 1).astype(dtype)


# -- operations ----------------------------------------------------------------------------------
@pytest.mark.parametrize("size", SIZES)
def test_every_operation(members: Members, size: int) -> None:
    def go(rank: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        mine = numbers(rank, size)
        col.allreduce(mine)
        found["allreduce"] = mine
        mine = numbers(rank, size)
        col.reduce(mine, dst_rank=1)
        found["reduce"] = mine
        mine = numbers(rank, size)
        col.broadcast(mine, src_rank=2)
        found["broadcast"] = mine
        gathered = [np.zeros(size) for _ in range(3)]
        col.allgather(gathered, numbers(rank, size))
        found["allgather"] = gathered
        mine = np.zeros(size)
        col.reducescatter(mine, [numbers(rank + 10 * i, size) for i in range(3)])
        found["reducescatter"] = mine
        received = np.zeros(size)
        if rank == 0:
            col.send(numbers(9, size), 2)
        elif rank == 2:
            col.recv(received, 0)
        found["recv"] = received
        col.barrier()
        return found

    results = each(members, go)
    total = sum(numbers(i, size) for i in range(3))
    for rank, found in enumerate(results):
        np.testing.assert_array_equal(found["allreduce"], total)
        expected = total if rank == 1 else numbers(rank, size)
        np.testing.assert_array_equal(found["reduce"], expected)
        np.testing.assert_array_equal(found["broadcast"], numbers(2, size))
        for source, gathered in enumerate(found["allgather"]):
            np.testing.assert_array_equal(gathered, numbers(source, size))
        expected = sum(numbers(i + 10 * rank, size) for i in range(3))
        np.testing.assert_array_equal(found["reducescatter"], expected)
        expected = numbers(9, size) if rank == 2 else np.zeros(size)
        np.testing.assert_array_equal(found["recv"], expected)


def test_a_hundred_megabytes_in_a_store_of_three_hundred(members: Members) -> None:
    def go(rank: int) -> list[float]:
        mine = np.full(12_500_000, float(rank + 1))
        col.allreduce(mine)
        found = [mine[0], mine[-1], float(mine.min()), float(mine.max())]
        mine[:] = rank
        col.broadcast(mine, 1)
        found += [mine[0], mine[-1], float(mine.sum())]
        if rank == 0:
            col.send(np.arange(12_500_000.0), 1)
        elif rank == 1:
            col.recv(mine, 0)
            found.append(mine[-1])
        return found

    results = each(members, go)
    common = [6.0] * 4 + [1.0, 1.0, 12_500_000.0]
    assert results == [common, [*common, 12_499_999.0], common]


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (col.ReduceOp.SUM, [6, 12]),
        (col.ReduceOp.PRODUCT, [6, 48]),
        (col.ReduceOp.MIN, [1, 2]),
        (col.ReduceOp.MAX, [3, 6]),
    ],
)
def test_ways_to_reduce(members: Members, op: Any, expected: list[int]) -> None:
    def go(rank: int) -> list[Any]:
        found = []
        for size in (2, 60_000):
            mine = np.resize(np.array([rank + 1, 2 * (rank + 1)], "int32"), size)
            col.allreduce(mine, op=op)
            found.append(mine[:2].tolist())
            assert (mine == np.resize(mine[:2], size)).all()
        return found

    assert each(members, go) == [[expected, expected]] * 3


def test_arrays_of_any_shape_and_order_in_memory(members: Members) -> None:
    def go(rank: int) -> Any:
        base = np.zeros((40, 60), "float32")
        strided = base[::2, ::3]
        strided[...] = rank + 1
        col.allreduce(strided)
        fortran = np.asfortranarray(np.arange(12.0).reshape(3, 4) * (rank + 1))
        col.allreduce(fortran)
        scalar = np.array(rank)
        col.broadcast(scalar, 2)
        empty = np.zeros((0, 3))
        col.allreduce(empty)
        return base.sum(), fortran, scalar

    for total, fortran, scalar in each(members, go):
        assert total == 6 * 20 * 20
        np.testing.assert_array_equal(fortran, np.arange(12.0).reshape(3, 4) * 6)
        assert scalar == 2


def test_tensors_of_pytorch(members: Members) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    del torch

    def go(rank: int) -> list[float]:
        import torch

        mine = torch.full((3, 2), float(rank), requires_grad=True)
        col.allreduce(mine)
        turned = torch.arange(6.0).reshape(2, 3).t()
        col.allgather([torch.zeros(3, 2) for _ in range(3)], turned)
        return [float(x) for x in mine.flatten()]

    assert each(members, go) == [[3.0] * 6] * 3


def test_many_operations_one_after_the_other(members: Members) -> None:
    def go(rank: int) -> int:
        total = np.zeros(1, "int64")
        for i in range(100):
            mine = np.full(1, rank * i)
            col.allreduce(mine)
            total += mine
            other = (rank + 1) % 3
            if rank == 0:
                col.send(mine, other)
                col.recv(mine, 2)
            else:
                col.recv(mine, rank - 1)
                col.send(mine, other)
        return int(total[0])

    assert each(members, go) == [3 * sum(range(100))] * 3


# -- groups --------------------------------------------------------------------------------------
def test_several_groups_from_several_threads(members: Members) -> None:
    names = [f"group {i}" for i in range(3)]
    for name in names:
        rayhpc.get([x.join.remote(3, 2 - i, name) for i, x in enumerate(members)], timeout=60)

    def go(index: int) -> list[Any]:
        found: dict[str, Any] = {}

        def work(name: str, factor: int) -> None:
            for _ in range(20):
                mine = np.full(10_000, float(factor))
                col.allreduce(mine, name)
                found[name] = (col.get_rank(name), mine[-1])

        threads = [threading.Thread(target=work, args=(x, i)) for i, x in enumerate(names)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [found[x] for x in names]

    results = each(members, go)
    assert results == [[(2 - i, 3.0 * x) for x in range(3)] for i in range(3)]


def test_a_group_may_be_made_again_in_the_same_processes(own_members: Members) -> None:
    def again(rank: int) -> tuple[Any, ...]:
        before = col.is_group_initialized("own"), col.get_rank("own")
        col.destroy_collective_group("own")
        between = col.is_group_initialized("own"), col.get_rank("own")
        # Another order of ranks, at once: the others may still be in the earlier group.
        col.init_collective_group(3, 2 - rank, "gloo", "own")
        mine = np.full(20_000, 1.0)
        col.allreduce(mine, "own")
        return before, between, col.get_rank("own"), col.get_collective_group_size("own"), mine[0]

    for _ in range(3):
        found = each(own_members, again)
        ranks = [x[2] for x in found]
        assert sorted(ranks) == [0, 1, 2]
        for i, (before, between, rank, size, value) in enumerate(found):
            assert before[0] is True
            assert (between, rank, size, value) == ((False, -1), 2 - i, 3, 3.0)


def test_a_group_that_a_driver_declares() -> None:
    made = [Member.remote() for _ in range(2)]
    col.create_collective_group(made, 2, [1, 0], backend="gloo", group_name="declared")
    with pytest.raises(RuntimeError, match="twice"):
        col.create_collective_group(made, 2, [1, 0], group_name="declared")

    def go(index: int) -> tuple[Any, ...]:
        before = col.get_rank("declared")
        mine = np.array([index])
        col.broadcast(mine, 0, "declared")
        return before, col.get_rank("declared"), int(mine[0])

    assert each(made, go) == [(-1, 1, 1), (-1, 0, 1)]
    stranger = Member.remote()
    with pytest.raises(RuntimeError, match="not initialized"):
        rayhpc.get(stranger.call.remote(go, 0), timeout=60)
    col.destroy_collective_group("declared")
    with pytest.raises(CollectiveGroupError):
        rayhpc.get(made[0].call.remote(go, 0), timeout=60)
    rayhpc.get([x.leave.remote("declared") for x in made], timeout=60)
    col.create_collective_group(made, 2, [0, 1], group_name="declared")
    assert each(made, go) == [(-1, 0, 0), (-1, 1, 0)]
    col.destroy_collective_group("declared")


def test_members_may_be_tasks() -> None:
    @rayhpc.remote(num_cpus=0)
    def work(rank: int) -> float:
        col.init_collective_group(2, rank, "gloo", "tasks")
        mine = np.full(50_000, float(rank))
        col.allreduce(mine, "tasks")
        col.destroy_collective_group("tasks")
        return float(mine.sum())

    for _ in range(2):
        found = rayhpc.get([work.remote(i) for i in range(2)], timeout=60)
        assert found == [50_000.0] * 2


def test_nothing_is_left_of_a_group_that_all_have_left() -> None:
    made = [Member.remote() for _ in range(2)]
    rayhpc.get([x.join.remote(2, i, "short") for i, x in enumerate(made)], timeout=60)
    coordinator = rayhpc.get_actor("rayhpc.util.collective:short")
    over = coordinator.stay.remote("somebody who never leaves")
    rayhpc.get([x.leave.remote("short") for x in made], timeout=60)
    with pytest.raises(RayActorError):
        rayhpc.get(over, timeout=60)
    deadline = time.monotonic() + 30
    while "rayhpc.util.collective:short" in list_named_actors() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert "rayhpc.util.collective:short" not in list_named_actors()


# -- trouble -------------------------------------------------------------------------------------
def reduce_all(rank: int, size: int = 3) -> None:
    col.allreduce(np.ones(size), "own")


@pytest.mark.parametrize("operation", ["allreduce", "barrier", "recv"])
def test_a_member_that_dies_is_an_error_for_those_who_wait(
    own_members: Members, operation: str
) -> None:
    members = own_members
    calls: dict[str, Callable[[int], Any]] = {
        "allreduce": lambda rank: col.allreduce(np.ones(300_000), "own"),
        "barrier": lambda rank: col.barrier("own"),
        "recv": lambda rank: col.recv(np.ones(3), 2, "own"),
    }
    waiting = [x.call.remote(calls[operation], i) for i, x in enumerate(members[:2])]
    ready, _ = rayhpc.wait(waiting, timeout=0.2)
    assert not ready
    rayhpc.kill(members[2])
    for ref in waiting:
        with pytest.raises(CollectiveGroupError, match="rank 2 has ended"):
            rayhpc.get(ref, timeout=20)
    # And for those who come later.
    with pytest.raises(CollectiveGroupError, match="rank 2 has ended"):
        rayhpc.get(members[0].call.remote(calls[operation], 0), timeout=20)
    # The others may go on without it, in a new group of that name.
    rayhpc.get([x.leave.remote("own") for x in members[:2]], timeout=60)
    rayhpc.get([x.join.remote(2, i, "own") for i, x in enumerate(members[:2])], timeout=60)
    each(members[:2], reduce_all)


def test_the_end_of_the_coordinator_is_an_error(own_members: Members) -> None:
    waiting = own_members[0].call.remote(reduce_all, 0)
    rayhpc.wait([waiting], timeout=0.2)
    rayhpc.kill(rayhpc.get_actor("rayhpc.util.collective:own"))
    with pytest.raises(CollectiveGroupError, match="coordinator"):
        rayhpc.get(waiting, timeout=20)


def test_who_does_not_come_in_time_is_named() -> None:
    made = [Member.remote() for _ in range(2)]
    rayhpc.get([x.join.remote(3, i, "own", timeout=1.0) for i, x in enumerate(made)], timeout=60)
    late = made[0].call.remote(reduce_all, 0)
    with pytest.raises(CollectiveGroupError, match=r"ranks \[1, 2\] have not arrived within 1 s"):
        rayhpc.get(late, timeout=30)
    with pytest.raises(CollectiveGroupError, match=r"ranks \[2\] have never joined"):
        rayhpc.get(made[1].call.remote(reduce_all, 1), timeout=30)
    rayhpc.get([x.leave.remote("own") for x in made], timeout=60)


def test_members_that_do_not_do_the_same_are_told(own_members: Members) -> None:
    members = own_members

    def differ(rank: int) -> None:
        if rank == 1:
            col.barrier("own")
        else:
            col.allreduce(np.ones(2), "own")

    def sizes(rank: int) -> None:
        col.allreduce(np.ones(rank + 1), "own")

    for function in (differ, sizes):
        for i, member in enumerate(members):
            member.call.remote(function, i)
        with pytest.raises(CollectiveGroupError, match="same operations"):
            each(members, function)
        rayhpc.get([x.leave.remote("own") for x in members], timeout=60)
        rayhpc.get([x.join.remote(3, i, "own") for i, x in enumerate(members)], timeout=60)


def test_bad_calls_are_refused(members: Members) -> None:
    def go(rank: int) -> list[str]:
        array = np.ones(3)
        read_only = np.ones(3)
        read_only.flags.writeable = False
        calls: list[tuple[type[Exception], Callable[[], Any]]] = [
            (RuntimeError, lambda: col.init_collective_group(3, 0, "gloo")),
            (ValueError, lambda: col.init_collective_group(3, 3, "gloo", "x")),
            (ValueError, lambda: col.init_collective_group(3, 0, "gloo", "")),
            (ValueError, lambda: col.init_collective_group(3, 0, "smoke", "x")),
            (RuntimeError, lambda: col.init_collective_group(3, 0, "mpi", "x")),
            (RuntimeError, lambda: col.allreduce([1, 2])),
            (RuntimeError, lambda: col.allreduce(np.array([object()]))),
            (RuntimeError, lambda: col.allreduce(read_only)),
            (RuntimeError, lambda: col.allgather([array], array)),
            (RuntimeError, lambda: col.allgather(array, array)),
            (RuntimeError, lambda: col.reducescatter(array, [np.ones(2)] * 3)),
            (ValueError, lambda: col.broadcast(array, 3)),
            (ValueError, lambda: col.send(array, -1)),
            (RuntimeError, lambda: col.send(array, rank)),
            (RuntimeError, lambda: col.barrier("unknown")),
        ]
        missed = []
        for i, (kind, call) in enumerate(calls):
            try:
                call()
            except kind:
                continue
            missed.append(str(i))
        return missed

    assert each(members, go) == [[], [], []]
    extra = Member.remote()
    with pytest.raises(CollectiveGroupError, match="rank 1 is taken"):
        rayhpc.get(extra.join.remote(3, 1), timeout=60)
    with pytest.raises(CollectiveGroupError, match="world_size=2"):
        rayhpc.get(extra.join.remote(2, 1), timeout=60)


def test_a_driver_is_no_member() -> None:
    for call in (
        lambda: col.init_collective_group(1, 0, "gloo"),
        col.get_rank,
        col.get_collective_group_size,
        lambda: col.allreduce(np.ones(1)),
    ):
        with pytest.raises(RuntimeError, match="inside a Ray actor or task"):
            call()
    actors = [Member.remote()]
    for size, ranks in ((1, [0, 1]), (1, [1]), (2, [0])):
        with pytest.raises(RuntimeError):
            col.create_collective_group(actors, size, ranks, "gloo")
    assert col.gloo_available()
    assert not col.nccl_available()
