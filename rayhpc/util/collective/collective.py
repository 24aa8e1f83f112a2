"""The functions of `ray.util.collective`: they check the arguments; `group` does the work.

Used by programs.  An operation modifies its arrays in place and returns None; it raises
CollectiveGroupError (a RuntimeError) if a member has died or left, if not all members arrive within
the group's timeout, or if they call different operations.
"""

from __future__ import annotations

import logging
from typing import Any

import rayhpc
from rayhpc.api.session.session import is_worker
from rayhpc.util.collective import membership
from rayhpc.util.collective.group import Group
from rayhpc.util.collective.tensors import as_array, as_arrays, writable
from rayhpc.util.collective.types import Backend, ReduceOp

logger = logging.getLogger("rayhpc")

TIMEOUT_MS = 30_000


def nccl_available() -> bool:
    """Whether groups run on NCCL: never."""
    return False


def gloo_available() -> bool:
    """Whether groups support arrays in CPU memory: always."""
    return True


# -- groups ----------------------------------------------------------------------------------------
def init_collective_group(
    world_size: int,
    rank: int,
    backend: str = Backend.NCCL,
    group_name: str = "default",
    gloo_timeout: int = TIMEOUT_MS,
) -> None:
    """Make this process, in an actor or task, a member of a group; does not wait for the others.

    Args:
        world_size: the number of members.
        rank: this member's number, from 0.
        backend: "nccl" or "gloo"; either way arrays in CPU memory go through the object store.
        group_name: the group's name, in the namespace of the job.
        gloo_timeout: how long an operation waits for the other members, in milliseconds.

    Raises:
        RuntimeError: not in an actor or task, or already a member.
        ValueError: no name, a rank not below the size, or an unknown backend.
        CollectiveGroupError: the rank is taken, or the members do not agree on the size.
    """
    _check_in_worker()
    Backend(backend)
    if not group_name or not isinstance(group_name, str):
        raise ValueError(f"group_name '{group_name}' needs to be a string.")
    if world_size <= 0 or not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} of {world_size}: it must be from 0 to world_size - 1.")
    membership.join(group_name, rank, world_size, _seconds(gloo_timeout))


def create_collective_group(
    actors: list[Any],
    world_size: int,
    ranks: list[int],
    backend: str = Backend.NCCL,
    group_name: str = "default",
    gloo_timeout: int = TIMEOUT_MS,
) -> None:
    """Declare a group of actors, which join it at their first operation.

    Args:
        actors: their handles.
        world_size: their number.
        ranks: the rank of each.
        backend: as for `init_collective_group`.
        group_name: the group's name, in the namespace of the job.
        gloo_timeout: how long an operation waits for the other members, in milliseconds.

    Raises:
        RuntimeError: the group exists already, or the ranks do not match `actors`.
        ValueError: an unknown backend.
    """
    Backend(backend)
    if len(ranks) != len(actors):
        raise RuntimeError(
            f"Each actor should correspond to one rank. Got '{len(ranks)}' ranks but "
            f"'{len(actors)}' actors"
        )
    if set(ranks) != set(range(len(ranks))):
        raise RuntimeError(f"Ranks must be a permutation from 0 to '{len(ranks)}'. Got '{ranks}'.")
    if world_size != len(actors) or world_size <= 0:
        raise RuntimeError(f"World size must be the number of actors. Got '{world_size}'.")
    by_id = {x._ray_actor_id.hex(): r for x, r in zip(actors, ranks, strict=True)}
    membership.declare(group_name, by_id, _seconds(gloo_timeout))


def destroy_collective_group(group_name: str = "default") -> None:
    """Leave a group; the others' operations that need this member fail.

    A driver ends a group that it has declared, for all its members.
    """
    if not membership.leave(group_name):
        logger.warning("The group '%s' does not exist.", group_name)


def is_group_initialized(group_name: str = "default") -> bool:
    """Whether this process is a member of the group; not if it was declared but never used here."""
    return membership.find(group_name) is not None


def get_rank(group_name: str = "default") -> int:
    """This process's rank in the group; -1: not a member.

    Raises:
        RuntimeError: not in an actor or task.
    """
    _check_in_worker()
    group = membership.find(group_name)
    return -1 if group is None else group.rank


def get_collective_group_size(group_name: str = "default") -> int:
    """The number of members of the group; -1: this process is not a member.

    Raises:
        RuntimeError: not in an actor or task.
    """
    _check_in_worker()
    group = membership.find(group_name)
    return -1 if group is None else group.world_size


def get_group_handle(group_name: str = "default") -> Group:
    """This process's membership; joins the group now if it was declared.

    Raises:
        RuntimeError: not a member, or not in an actor or task.
    """
    _check_in_worker()
    group = membership.find(group_name) or membership.join_declared(group_name)
    if group is None:
        raise RuntimeError(
            f"The collective group '{group_name}' is not initialized in the process."
        )
    return group


# -- operations ------------------------------------------------------------------------------------
def allreduce(tensor: Any, group_name: str = "default", op: ReduceOp = ReduceOp.SUM) -> None:
    """Replace the tensor of each member by the reduction of all.

    Args:
        tensor: an array or CPU tensor, of the same size and type for all members.
        group_name: the group.
        op: how values are reduced.
    """
    array = writable(as_array(tensor))
    get_group_handle(group_name).allreduce(array, op)


def reduce(
    tensor: Any, dst_rank: int = 0, group_name: str = "default", op: ReduceOp = ReduceOp.SUM
) -> None:
    """Replace one member's tensor by the reduction of all.

    Args:
        tensor: an array or CPU tensor, of the same size and type for all members.
        dst_rank: the rank whose tensor is modified.
        group_name: the group.
        op: how values are reduced.
    """
    array = as_array(tensor)
    group = _with_rank(group_name, dst_rank)
    group.reduce(writable(array) if group.rank == dst_rank else array, dst_rank, op)


def broadcast(tensor: Any, src_rank: int = 0, group_name: str = "default") -> None:
    """Replace the tensor of each member by that of one member.

    Args:
        tensor: an array or CPU tensor, of the same size and type for all members.
        src_rank: the rank whose tensor is copied.
        group_name: the group.
    """
    array = as_array(tensor)
    group = _with_rank(group_name, src_rank)
    group.broadcast(array if group.rank == src_rank else writable(array), src_rank)


def allgather(tensor_list: list[Any], tensor: Any, group_name: str = "default") -> None:
    """Fill a list of tensors with those of all members, by rank.

    Args:
        tensor_list: one tensor per member, each as large as `tensor`.
        tensor: this member's tensor.
        group_name: the group.
    """
    array, arrays = as_array(tensor), [writable(x) for x in as_arrays(tensor_list)]
    group = get_group_handle(group_name)
    _check_list(group, arrays, array, "allgather")
    group.allgather(arrays, array)


def reducescatter(
    tensor: Any,
    tensor_list: list[Any],
    group_name: str = "default",
    op: ReduceOp = ReduceOp.SUM,
) -> None:
    """Reduce lists of tensors, and give each member the result at its rank.

    Args:
        tensor: receives this member's result.
        tensor_list: one tensor per member, each as large as `tensor`.
        group_name: the group.
        op: how values are reduced.
    """
    array, arrays = writable(as_array(tensor)), as_arrays(tensor_list)
    group = get_group_handle(group_name)
    _check_list(group, arrays, array, "reducescatter")
    group.reducescatter(array, arrays, op)


def send(tensor: Any, dst_rank: int, group_name: str = "default") -> None:
    """Send a tensor to one member; returns once it has arrived.

    Args:
        tensor: an array or CPU tensor.
        dst_rank: the receiver.
        group_name: the group.
    """
    array = as_array(tensor)
    _with_rank(group_name, dst_rank, is_other=True).send(array, dst_rank)


def recv(tensor: Any, src_rank: int, group_name: str = "default") -> None:
    """Receive a tensor that one member sends.

    Args:
        tensor: receives the data; of the same size and type.
        src_rank: the sender.
        group_name: the group.
    """
    array = writable(as_array(tensor))
    _with_rank(group_name, src_rank, is_other=True).recv(array, src_rank)


def barrier(group_name: str = "default") -> None:
    """Wait until all members have arrived."""
    get_group_handle(group_name).barrier()


# -- checks ----------------------------------------------------------------------------------------
def _with_rank(group_name: str, rank: int, is_other: bool = False) -> Group:
    group = get_group_handle(group_name)
    if rank < 0:
        raise ValueError(f"rank '{rank}' is negative.")
    if rank >= group.world_size:
        raise ValueError(f"rank '{rank}' must be less than world size '{group.world_size}'")
    if is_other and rank == group.rank:
        raise RuntimeError(f"The destination rank '{rank}' is self.")
    return group


def _check_list(group: Group, arrays: list[Any], array: Any, title: str) -> None:
    if len(arrays) != group.world_size:
        raise RuntimeError(
            f"The length of the tensor list operands to {title} must be equal to world_size."
        )
    for other in arrays:
        if other.size != array.size or other.dtype != array.dtype:
            raise RuntimeError(
                f"{title}: every tensor of the list must have the size and type of the tensor."
            )


def _check_in_worker() -> None:
    if not (rayhpc.is_initialized() and is_worker()):
        raise RuntimeError("The collective APIs shall be only used inside a Ray actor or task.")


def _seconds(milliseconds: float) -> float:
    if milliseconds <= 0:
        raise ValueError(f"gloo_timeout must be more than 0 milliseconds, not {milliseconds}.")
    return milliseconds / 1000
