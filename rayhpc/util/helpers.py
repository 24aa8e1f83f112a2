"""Small helpers for references and the cluster.

Used by programs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import rayhpc
from rayhpc.api.actors.actor import list_named_actors
from rayhpc.api.session.services import get_node_ip_address


def as_completed(
    refs: Sequence[Any], *, chunk_size: int = 10, yield_obj_refs: bool = False
) -> Iterator[Any]:
    """The results of `refs` as they become ready.

    Args:
        refs: references.
        chunk_size: how many are taken at a time.
        yield_obj_refs: yield the references themselves.

    Raises:
        ValueError: chunk_size is below 1.
        RayError: when the turn of a reference comes whose task has failed.
    """
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, not {chunk_size}.")
    left = list(refs)
    while left:
        ready, left = rayhpc.wait(left, num_returns=min(chunk_size, len(left)), timeout=0)
        if not ready:
            ready, left = rayhpc.wait(left, num_returns=1)
        yield from ready if yield_obj_refs else map(rayhpc.get, ready)


def map_unordered(
    fn: Any,
    items: Iterable[Any],
    *,
    backpressure_size: int | None = 100,
    chunk_size: int = 10,
    yield_obj_refs: bool = False,
) -> Iterator[Any]:
    """Run a remote function on each item; results come as they are ready.

    Args:
        fn: a remote function (or a method of an actor).
        items: its arguments, consumed only as fast as results are.
        backpressure_size: how many calls may be outstanding; None: no bound.
        chunk_size: how many results are taken at a time.
        yield_obj_refs: yield references instead of results.

    Raises:
        ValueError: a size below 1.
    """
    if chunk_size < 1 or (backpressure_size is not None and backpressure_size < 1):
        raise ValueError("backpressure_size and chunk_size must be at least 1.")
    under_way: list[Any] = []
    for item in items:
        if backpressure_size is not None and len(under_way) >= backpressure_size:
            ready, under_way = rayhpc.wait(under_way, num_returns=1)
            yield from ready if yield_obj_refs else map(rayhpc.get, ready)
        under_way.append(fn.remote(item))
    yield from as_completed(under_way, chunk_size=chunk_size, yield_obj_refs=yield_obj_refs)


def get_node_instance_id() -> str:
    """Always empty: nodes of an allocation are not cloud instances."""
    return ""


__all__ = [
    "as_completed",
    "get_node_instance_id",
    "get_node_ip_address",
    "list_named_actors",
    "map_unordered",
]
