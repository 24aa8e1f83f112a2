"""How many bytes are sent at a time, and how many may be in flight.

Used by everything that creates messages.  A batch is cut at about `BATCH_BYTES`, so no frame comes
near `sockets.MAX_FRAME_BYTES` unless a single part is that large; whether such a part can be sent
is checked once, where the user passes it in (`check_definition`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

# The size of a message that carries more than one item.
BATCH_BYTES = 2**20
# The bytes of unfinished tasks that a leased worker may have.
LEASE_BYTES = 4 * BATCH_BYTES
# Small values sent along with one task's or constructor's arguments.
ALONG_BYTES = BATCH_BYTES
# What may wait in a process to be picked up by others, before its producer must wait or store it.
AHEAD_BYTES = 64 * BATCH_BYTES
# A pickled function or class: Ray's own limit.
DEFINITION_BYTES = 95 * 2**20
# The overhead of an item beside its bytes: ids, numbers and lengths.
OVERHEAD_BYTES = 100


def cut(things: Iterable[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """The items in order, in lists of about `BATCH_BYTES` each; no list is empty."""
    part: list[T] = []
    total = 0
    for thing in things:
        more = size(thing)
        if part and total + more > BATCH_BYTES:
            yield part
            part, total = [], 0
        part.append(thing)
        total += more
    if part:
        yield part


def check_definition(name: str, blob: bytes) -> None:
    """Reject a function or class that no message can carry.

    Args:
        name: its kind and name, for the message.
        blob: the function or class, pickled.

    Raises:
        ValueError: it is larger than DEFINITION_BYTES.
    """
    if len(blob) > DEFINITION_BYTES:
        raise ValueError(
            f"The {name} is too large to send: {len(blob) >> 20} MiB pickled, "
            f"at most {DEFINITION_BYTES >> 20} MiB. It refers to large data: put that into the "
            "object store with rayhpc.put(), and pass the reference as an argument."
        )
