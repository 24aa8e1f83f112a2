"""How many bytes go at a time, and how many may be on their way.

Used by everything that makes messages.  A batch is cut at about `BATCH_BYTES`, so that no frame
comes near `sockets.MAX_FRAME_BYTES` but one whose single part is that large; whether such a part
can be sent is checked once, where the user hands it in (`check_definition`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

# What one message carries, if it carries more than one thing.
BATCH_BYTES = 2**20
# What a leased worker has of tasks that have not ended.
LEASE_BYTES = 4 * BATCH_BYTES
# Small values that go along with one task's or constructor's arguments.
ALONG_BYTES = BATCH_BYTES
# What may wait in a process for others to take it in, before who makes it waits or stores it.
AHEAD_BYTES = 64 * BATCH_BYTES
# A pickled function or class: Ray's own limit.
DEFINITION_BYTES = 95 * 2**20
# What a thing costs beside its bytes: ids, numbers and lengths.
OVERHEAD_BYTES = 100


def cut(things: Iterable[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """The things in order, in lists of about `BATCH_BYTES` each; no list is empty."""
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
    """Refuse a function or class that no message can carry.

    Args:
        name: what it is and its name, for the message.
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
