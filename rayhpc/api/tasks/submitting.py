"""The common part of `f.remote()` and `actor.method.remote()`: arguments, records, references.

Used by `remote_function`, `actor_method` and `actor_class`.  Runs in the user's thread; the
leading thread takes over what it creates.
"""

from __future__ import annotations

from typing import Any

import msgspec

from rayhpc.api.objects.generators import ObjectRefGenerator
from rayhpc.runtime.owner.pending import Pending
from rayhpc.runtime.owner.streams import Stream
from rayhpc.runtime.process.client import Client
from rayhpc.runtime.values import arguments, serialization
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.wire.address import RESULTS_MAX, sibling
from rayhpc.wire.messages.tasks import DYNAMIC, STREAMING, TaskMore

RETURNS = {"dynamic": DYNAMIC, "streaming": STREAMING}


class Further:
    """The options beyond the common ones of all calls of one function or method.

    Args:
        more: those options; empty ones do not travel unless a task makes the call.

    Attributes:
        is_needed: whether every call carries them.
    """

    __slots__ = ("_last", "_more", "is_needed")

    def __init__(self, more: TaskMore) -> None:
        self._more = self._last = more
        self.is_needed = bool(
            more.name
            or more.retry_on
            or more.window
            or more.max_calls
            or more.capture_group
            or more.unlisted
        )

    def of(self, parent: bytes, packed: int) -> TaskMore:
        """Them for a call that task `parent` makes; all its calls share one (0.7 µs each)."""
        last = self._last
        if last.parent != parent or last.packed != packed:
            last = self._last = msgspec.structs.replace(self._more, parent=parent, packed=packed)
        return last


def returns_of(num_returns: int | str | None, is_generator: bool) -> int:
    """num_returns in the form messages carry it; generators stream unless told otherwise."""
    if num_returns is None:
        return STREAMING if is_generator else 1
    if isinstance(num_returns, str):
        return RETURNS[num_returns]
    return min(num_returns, RESULTS_MAX)


def set_arguments(
    client: Client, pending: Pending, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> int:
    """Serialize the arguments into a record; returns their size if they went to the store, else 0.

    Raises:
        TypeError: an argument cannot be pickled; the text names the path to what cannot.
        RaySystemError: an argument belongs to a cluster that this program has left.
    """
    if not kwargs and serialization.ATOMS.issuperset(map(type, args)):
        # They hold no references to look for: saves three quarters of the time (3 µs).
        pending.args = serialization.dumps(args, 5)
        pending.size = len(pending.args)
        if pending.size <= serialization.COUNTED_BYTES or _fits(client, pending.size):
            return 0
    payload, deps = arguments.pack(args, kwargs)
    for ref in deps:
        if client.is_foreign(ref._id):
            client.refuse_foreign(ref._id, repr(ref))
    try:
        packed = serialization.serialize(payload)
    except TypeError as error:
        raise _unpicklable(pending.name, args, kwargs, error) from error.__cause__
    keep = packed.refs + deps
    # A program that runs far ahead gets its arguments into the store, which can spill.
    is_large = packed.nbytes > serialization.COUNTED_BYTES and not _fits(client, packed.nbytes)
    if is_large:
        blob = client.put(packed)
        deps.insert(0, blob)
        keep.append(blob)
    pending.args = b"" if is_large else serialization.to_inline(packed)
    pending.size = len(pending.args)
    if deps:
        pending.deps = deps
    if keep:
        pending.keep = keep
    return packed.nbytes if is_large else 0


def _fits(client: Client, size: int) -> bool:
    """Whether arguments of this size fit into messages."""
    return size <= client.most_argument() and client.has_room(size)


def _unpicklable(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], error: TypeError
) -> TypeError:
    """The error that says which argument cannot be pickled, and where inside it."""
    from rayhpc.runtime.values import pickle_path

    named = {**{f"argument {i}": x for i, x in enumerate(args)}, **_quoted(kwargs)}
    for where, value in named.items():
        try:
            serialization.serialize(value)
        except TypeError:
            path, culprit = pickle_path.find(value)
            return TypeError(
                f"Cannot send {where}{path} of {name}(): a {type(culprit).__name__} cannot be "
                f"pickled ({error.__cause__ or error}). Make it inside the task or actor that "
                "needs it, leave it out with __getstate__, or send what it is made from."
            )
    return error


def _quoted(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {f"argument {key!r}": value for key, value in kwargs.items()}


def references_to(pending: Pending) -> Any:
    """What the caller of a task gets: a reference, a list of them, or None."""
    tid, returns = pending.tid, pending.returns
    if returns == 1:
        return ObjectRef(tid, True)
    if returns > 1:
        return [ObjectRef(sibling(tid, i), True) for i in range(returns)]
    end: ObjectRef[Any] = ObjectRef(tid, True)
    if returns == STREAMING:
        assert isinstance(pending.stream, Stream)
        return ObjectRefGenerator(pending.stream, end)
    return None if returns == 0 else end
