"""The groups that this process is a member of, and how it joins and leaves them.

Used by `collective`.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import defaultdict
from typing import Any

import rayhpc
from rayhpc.exceptions import CollectiveGroupError, GetTimeoutError, RayActorError
from rayhpc.util.collective.coordinator import DECLARER, Coordinator
from rayhpc.util.collective.group import Group

_PREFIX = "rayhpc.util.collective:"
# Between attempts to join a group whose previous incarnation is just ending.
_PAUSE_S = 0.02
# In addition to the members' timeout: for the coordinator to start and answer.
_GRACE_S = 30.0

# One per name: waiting for one group's previous incarnation must not hold up other groups.
_locks: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)
_groups: dict[str, Group] = {}
# What a driver holds of the groups it has declared, so that they end with it.
_declared: dict[str, tuple[Any, Any]] = {}


def find(name: str) -> Group | None:
    """This process's membership; None: it has not joined the group."""
    return _groups.get(name)


def join(name: str, rank: int, world_size: int, timeout: float) -> Group:
    """Become a member; does not wait for the others.

    Args:
        name: the group's name.
        rank: this member's rank.
        world_size: the number of members.
        timeout: how long operations wait, in seconds.

    Raises:
        RuntimeError: this process is already a member.
        CollectiveGroupError: the rank is taken, or the members do not agree on the size.
    """
    with _locks[name]:
        if name in _groups:
            raise RuntimeError("Trying to initialize a group twice.")
        deadline = time.monotonic() + timeout + _GRACE_S
        while True:
            group = _try_to_join(name, rank, world_size, timeout)
            if group is not None:
                _groups[name] = group
                return group
            if time.monotonic() > deadline:
                raise CollectiveGroupError(
                    f"Collective group {name!r}: its previous incarnation does not end; remaining "
                    "members must call destroy_collective_group."
                )
            time.sleep(_PAUSE_S)


def join_declared(name: str) -> Group | None:
    """Join a group declared by a driver; None: it was not declared, or not for this actor."""
    actor = rayhpc.get_runtime_context().get_actor_id()
    if actor is None:
        return None
    with _locks[name]:
        if name in _groups:
            return _groups[name]
        try:
            coordinator = rayhpc.get_actor(_PREFIX + name)
            found = rayhpc.get(coordinator.rank_of.remote(actor))
        except (ValueError, RayActorError):
            return None
        return None if found is None else join(name, *found)


def declare(name: str, ranks: dict[str, int], timeout: float) -> None:
    """Declare a group whose members join when they first use it.

    Args:
        name: the group's name.
        ranks: the rank of each actor, by its id in hex.
        timeout: how long operations wait, in seconds.

    Raises:
        RuntimeError: there is already a group with that name.
    """
    size = len(ranks)
    try:
        coordinator = _actor_class(name, size).remote(name, size, ranks, timeout)
    except ValueError as error:  # the name is taken
        raise RuntimeError("Trying to initialize a group twice.") from error
    staying = coordinator.stay.remote(DECLARER)
    rayhpc.get(coordinator.declare.remote([staying]))
    _declared[name] = coordinator, staying


def leave(name: str) -> bool:
    """Leave a group, or end one that was declared here; False: there is none."""
    with _locks[name]:
        group = _groups.pop(name, None)
        declared = _declared.pop(name, None)
    if group is not None:
        _say_goodbye(group.coordinator, group.member)
    elif declared is not None:
        rayhpc.kill(declared[0])
    return group is not None or declared is not None


def _say_goodbye(coordinator: Any, member: str) -> None:
    try:
        rayhpc.get(coordinator.leave.remote(member), timeout=_GRACE_S)
    except (RayActorError, GetTimeoutError):  # it ends with its last member
        pass


def _try_to_join(name: str, rank: int, world_size: int, timeout: float) -> Group | None:
    member = uuid.uuid4().hex
    try:
        actor_class = _actor_class(name, world_size).options(get_if_exists=True)
        coordinator = actor_class.remote(name, world_size)
        staying = coordinator.stay.remote(member)
        answer = coordinator.join.remote(rank, member, world_size, [staying], timeout)
        is_in, error = rayhpc.get(answer, timeout=timeout + _GRACE_S)
    except RayActorError:  # just ended with its last member
        return None
    if error:
        raise CollectiveGroupError(f"Collective group {name!r}: {error}.")
    return Group(name, rank, world_size, member, coordinator, timeout) if is_in else None


def _actor_class(name: str, world_size: int) -> Any:
    return rayhpc.remote(Coordinator).options(
        name=_PREFIX + name,
        lifetime="detached",
        num_cpus=0,
        max_concurrency=max(1000, 8 * world_size),
    )
