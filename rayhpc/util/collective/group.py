"""A member's side of a group: the operations, as exchanges of parts of arrays.

Created by `membership`, used by `collective`.  Small arrays travel through the coordinator, larger
ones through the object store, a bounded part of each at a time; a reduction divides its work among
the members, so that each array crosses the network about twice, whatever their number.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import rayhpc
from rayhpc.exceptions import CollectiveGroupError, ObjectLostError, RayActorError, RayTaskError
from rayhpc.util.collective.tensors import Flat, reduce_into, slices
from rayhpc.util.collective.types import ReduceOp

# The most that an answer of the coordinator contains, for all members together: up to this size it
# is cheaper than an object each.
ANSWER_BYTES = 128 * 1024
# How much a member puts into the store at a time.
PART_BYTES = 32 * 2**20

Array = np.ndarray[Any, Any]


class Group:
    """One member of a group.

    Args:
        name: the group's name.
        rank: this member's rank.
        world_size: the number of members.
        member: this member's name at the coordinator.
        coordinator: the actor at which they meet.
        timeout: how long an operation waits for others, in seconds.
    """

    def __init__(
        self,
        name: str,
        rank: int,
        world_size: int,
        member: str,
        coordinator: Any,
        timeout: float,
    ) -> None:
        self.group_name = name
        self.rank = rank
        self.world_size = world_size
        self.member = member
        self.coordinator = coordinator
        self.timeout = timeout
        self.small = ANSWER_BYTES // world_size
        self._everybody = tuple(range(world_size))
        self._lock = threading.Lock()
        self._turns: defaultdict[tuple[Any, ...], int] = defaultdict(int)

    # -- operations -------------------------------------------------------------------------------
    def barrier(self) -> None:
        """Wait until all members have arrived."""
        self._operation("barrier").meet(None)

    def allreduce(self, array: Array, op: ReduceOp) -> None:
        """Replace the array of each member by the reduction of all."""
        flat = Flat(array)
        steps = self._operation("allreduce", array, op.name)
        if flat.row.nbytes <= self.small:
            flat.row[...] = _reduced(steps.exchange(flat.row), op)
        else:
            for part in slices(flat.row.size, flat.row.itemsize, PART_BYTES):
                self._reduce_scattered(steps, flat.row[part], op)
            steps.finish()
        flat.write_back()

    def reduce(self, array: Array, root: int, op: ReduceOp) -> None:
        """Replace the root's array by the reduction of all."""
        flat = Flat(array)
        steps = self._operation("reduce", array, op.name, root)
        for part in slices(flat.row.size, flat.row.itemsize, PART_BYTES // self.world_size):
            found = steps.exchange(flat.row[part], wanted=self.rank == root)
            if self.rank == root:
                flat.row[part] = _reduced(found, op)
        steps.finish(flat.row)
        if self.rank == root:
            flat.write_back()

    def broadcast(self, array: Array, root: int) -> None:
        """Replace the array of each member by the root's."""
        flat = Flat(array)
        steps = self._operation("broadcast", array, root)
        for part in slices(flat.row.size, flat.row.itemsize, PART_BYTES):
            found = steps.exchange(flat.row[part] if self.rank == root else None, only=root)
            if self.rank != root:
                flat.row[part] = found[root]
        steps.finish(flat.row)
        if self.rank != root:
            flat.write_back()

    def allgather(self, arrays: list[Array], array: Array) -> None:
        """Fill `arrays` with the array of each member, by rank."""
        flat, targets = Flat(array), [Flat(x) for x in arrays]
        steps = self._operation("allgather", array)
        for part in slices(flat.row.size, flat.row.itemsize, PART_BYTES // self.world_size):
            for rank, found in steps.exchange(flat.row[part]).items():
                targets[rank].row[part] = found
        steps.finish(flat.row)
        for target in targets:
            target.write_back()

    def reducescatter(self, array: Array, arrays: list[Array], op: ReduceOp) -> None:
        """Set the array to the reduction of all members' entries for this rank in `arrays`."""
        flat, sources = Flat(array), [Flat(x) for x in arrays]
        steps = self._operation("reducescatter", array, op.name)
        for part in slices(flat.row.size, flat.row.itemsize, PART_BYTES // self.world_size):
            found = steps.scatter([x.row[part] for x in sources])
            flat.row[part] = _reduced(found, op)
        steps.finish(flat.row)
        flat.write_back()

    def send(self, array: Array, to: int) -> None:
        """Send to one member; returns once it has the array."""
        flat = Flat(array)
        steps = self._operation("send", array, pair=(self.rank, to))
        for part in slices(flat.row.size, flat.row.itemsize, PART_BYTES):
            steps.exchange(flat.row[part], wanted=False)
        steps.finish(flat.row)

    def recv(self, array: Array, source: int) -> None:
        """Receive what one member sends."""
        flat = Flat(array)
        steps = self._operation("send", array, pair=(source, self.rank))
        for part in slices(flat.row.size, flat.row.itemsize, PART_BYTES):
            flat.row[part] = steps.exchange(None, only=source)[source]
        steps.finish(flat.row)
        flat.write_back()

    # -- details ----------------------------------------------------------------------------------
    def _reduce_scattered(self, steps: _Steps, row: Array, op: ReduceOp) -> None:
        """Reduce a row in place: each member reduces its share of it and sends all the result."""
        shares = np.array_split(row, self.world_size)
        share = _reduced(steps.scatter(shares), op)
        for rank, found in steps.exchange(share).items():
            shares[rank][...] = found

    def _operation(
        self, title: str, array: Array | None = None, *further: Any, pair: Sequence[int] = ()
    ) -> _Steps:
        shape = () if array is None else (array.size, array.dtype.str)
        with self._lock:
            # What one member sends to another is ordered separately.
            line = ("pair", *pair) if pair else ("all",)
            self._turns[line] += 1
            key = (*line, self._turns[line])
        return _Steps(self, tuple(pair) or self._everybody, key, (title, *shape, *further))


class _Steps:
    """The meetings of one operation, as one member takes part in them."""

    def __init__(self, group: Group, ranks: Sequence[int], key: Any, what: Any) -> None:
        self._group = group
        self._ranks = ranks
        self._key = key
        self._what = what
        self._step = 0

    def meet(self, brings: Any, **options: Any) -> dict[int, Any]:
        """Contribute something; returns all contributions by rank.

        Raises:
            CollectiveGroupError: not all can arrive, or they disagree.
        """
        group = self._group
        key = (*self._key, self._step)
        self._step += 1
        answer = group.coordinator.meet.remote(
            key, group.rank, self._ranks, self._what, [brings], group.timeout, **options
        )
        error, found = self._asked(lambda: rayhpc.get(answer))
        if error:
            raise CollectiveGroupError(f"{self}: {error}.")
        members: dict[int, Any] = found
        return members

    def exchange(
        self, row: Array | None, wanted: bool = True, only: int | None = None
    ) -> dict[int, Array]:
        """Send all members a row, and receive theirs.

        Args:
            row: the row to send; None: nothing.
            wanted: False: theirs are not needed here.
            only: only this member's row is sent.
        """
        found = self.meet(None if row is None else self._packed(row))
        if not wanted:
            return {}
        return self._unpacked(found if only is None else {only: found[only]}, row)

    def scatter(self, rows: Sequence[Array]) -> dict[int, Array]:
        """Send each member its row, and receive those that they have for this one."""
        group = self._group
        packed = [None if i == group.rank else self._packed(x) for i, x in enumerate(rows)]
        return self._unpacked(self.meet(packed, is_scattered=True), rows[group.rank])

    def finish(self, row: Array | None = None) -> None:
        """Wait until all have read what is in the store of this process's node.

        Args:
            row: the row that was sent; None: it was large.
        """
        if row is None or row.nbytes > self._group.small:
            self.meet(None, forgives=True)

    def _packed(self, row: Array) -> Any:
        """A row in the form it is sent: a copy, or a reference to one in the store."""
        return row.copy() if row.nbytes <= self._group.small else rayhpc.put(row)

    def _unpacked(self, found: dict[int, Any], own: Array | None) -> dict[int, Array]:
        mine = self._group.rank
        refs = {k: v for k, v in found.items() if isinstance(v, rayhpc.ObjectRef) and k != mine}
        values = self._asked(lambda: rayhpc.get(list(refs.values())))
        rows = {**found, **dict(zip(refs, values, strict=True))}
        if own is not None and mine in rows:
            rows[mine] = own
        return rows

    def _asked(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except (RayActorError, ObjectLostError) as error:
            if isinstance(error, RayTaskError):
                raise
            raise CollectiveGroupError(
                f"{self}: a member, or the node of the group's coordinator, has ended: {error}"
            ) from error

    def __str__(self) -> str:
        group = self._group
        return f"{self._what[0]} of rank {group.rank} in collective group {group.group_name!r}"


def _reduced(rows: dict[int, Array], op: ReduceOp) -> Array:
    """The reduction of all rows, in order of rank, so that every member computes the same."""
    first, *others = [rows[x] for x in sorted(rows)]
    found: Array = first.copy()
    for row in others:
        reduce_into(found, row, op)
    return found
