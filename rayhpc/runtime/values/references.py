"""`ObjectRef`: what users hold in place of a value, and how references are counted.

Used by everything that returns or takes references.  A reference does no I/O: its creation and
death are recorded in a queue that the leading thread processes (finalizers may run anywhere).
"""

from __future__ import annotations

import concurrent.futures
import logging
import os
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from rayhpc.runtime.values.ids import JobID, TaskID
from rayhpc.wire.address import OBJECT_ID_BYTES, Address, ObjectId, owner_of, task_id_of

logger = logging.getLogger("rayhpc")

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")

_NIL = b"\xff" * OBJECT_ID_BYTES

# What travels with a reference: its value if known, whether that is an error, the earliest attempt
# of its task whose copies will do.
Travelling = tuple[bytes | None, bool, int]
# A reference that was created by unpickling: its id, and what came with it.
Birth = tuple[ObjectId, bytes | None, bool, int]
# Recorded in order: an id for a reference that died, or a birth.  Processed by
# `ownership.Ownership.settle`.
events: deque[ObjectId | Birth] = deque()


class Home(Protocol):
    """The process that holds the references."""

    def future_of(self, ref: ObjectRef[Any]) -> concurrent.futures.Future[Any]:
        """A future that is completed with the value or error of `ref`."""

    def awaitable_of(
        self, ref: ObjectRef[Any], loop: asyncio.AbstractEventLoop
    ) -> asyncio.Future[Any]:
        """A future of an event loop, completed there."""

    @property
    def job(self) -> int:
        """The number of the job of this process."""


def _not_known(_: ObjectId) -> Travelling:
    return None, False, 0


class Hooks:
    """What the process does for its references; set by `process.current` and `loop`.

    Attributes:
        wake: makes the polling thread process what was recorded; None: nobody does.
        home: this process; starts a cluster if there is none.
        travelling_value: the small value, and whether it is an error, that is sent with a
            reference, if known here; and the earliest attempt of its task whose copies will do.
    """

    wake: Callable[[], None] | None = None
    home: Callable[[], Home]
    travelling_value: Callable[[ObjectId], Travelling] = staticmethod(_not_known)


hooks = Hooks()


class _Collector(threading.local):
    """Where references being pickled in this thread are recorded; None: nowhere."""

    refs: list[ObjectRef[Any]] | None = None


collector = _Collector()
# References pickled by hand, outside a call, are kept until the process ends (`protocol.md`).
_pickled_by_hand: list[ObjectRef[Any]] = []


def _note(
    event: ObjectId | Birth,
    # Bound here: when the interpreter exits, the module's names go before the last references.
    events: deque[ObjectId | Birth] = events,
    hooks: Hooks = hooks,
) -> None:
    events.append(event)
    # Those after the first are processed together with it.
    if len(events) == 1 and hooks.wake is not None:
        hooks.wake()


class ObjectRef(Generic[T]):
    """A reference to a value that exists or will exist somewhere in the cluster.

    Hashable and comparable by identity of the object; picklable inside arguments, results and
    other objects (it keeps the value alive wherever it is); awaitable.

    Args:
        binary: the object's id; the new reference is counted.
        is_counted: the creator has already entered it into the table (runtime only).

    Raises:
        TypeError: not bytes.
        ValueError: not the length of an object id.
    """

    __slots__ = ("__weakref__", "_id")

    def __init__(self, binary: ObjectId, is_counted: bool = False) -> None:
        if not is_counted:
            self._id = _NIL  # what dies if the next line raises
            _check_id(binary)
            _note((binary, None, False, 0))
        self._id = binary

    # `_note` inlined, since this is part of every task.
    def __del__(
        self,
        events: deque[ObjectId | Birth] = events,
        hooks: Hooks = hooks,
    ) -> None:
        events.append(self._id)
        if len(events) == 1 and hooks.wake is not None:
            hooks.wake()

    def binary(self) -> bytes:
        """The object's id, 28 bytes."""
        return self._id

    def hex(self) -> str:
        """The object's id as text."""
        return self._id.hex()

    def is_nil(self) -> bool:
        """Whether this is the nil reference."""
        return self._id == _NIL

    @classmethod
    def nil(cls) -> ObjectRef[Any]:
        """The nil reference."""
        return cls(_NIL, True)

    @classmethod
    def from_hex(cls, text: str) -> ObjectRef[Any]:
        """The reference with this `hex`; it is counted from now on."""
        return cls(bytes.fromhex(text))

    @classmethod
    def from_binary(cls, binary: bytes) -> ObjectRef[Any]:
        """The reference with this `binary`; it is counted from now on."""
        return cls(bytes(binary))

    @classmethod
    def from_random(cls) -> ObjectRef[Any]:
        """A unique reference, to nothing."""
        return cls(os.urandom(OBJECT_ID_BYTES))

    @classmethod
    def size(cls) -> int:
        """The length of an id in bytes."""
        return OBJECT_ID_BYTES

    def task_id(self) -> TaskID:
        """The id of the task that creates the object."""
        return TaskID(task_id_of(self._id))

    def job_id(self) -> JobID:
        """The id of the job of this process."""
        return JobID.from_int(hooks.home().job)

    def owner_address(self) -> Address:
        """The address of the process that owns the object."""
        return owner_of(self._id)

    def future(self) -> concurrent.futures.Future[T]:
        """A `concurrent.futures.Future` of the value (or error)."""
        return hooks.home().future_of(self)

    def _on_completed(self, py_callback: Callable[[Any], object]) -> ObjectRef[T]:
        """Call `py_callback` with the value, or with the error, once it is ready; returns this.

        It runs in the process's callback thread; what it raises is logged.
        """
        waiting = [py_callback]

        def call(done: concurrent.futures.Future[T]) -> None:
            # Futures keep what they have called, and a traceback keeps the functions of its frames.
            error = done.exception()
            try:
                waiting.pop()(done.result() if error is None else error)
            except Exception:
                told = traceback.format_exc()
                logger.error("a callback of this program raised an exception:\n%s", told)

        self.future().add_done_callback(call)
        return self

    def as_future(self, _internal: bool = False) -> asyncio.Future[T]:
        """An `asyncio.Future` of the value, on the running loop; if none is running, on the loop
        that this thread would run (`asyncio.get_event_loop`).
        """
        return hooks.home().awaitable_of(self, _event_loop())

    def __await__(self) -> Generator[Any, None, T]:
        return self.as_future().__await__()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectRef) and other._id == self._id

    def __hash__(self) -> int:
        return hash(self._id)

    def __repr__(self) -> str:
        return f"ObjectRef({self._id.hex()})"

    def __copy__(self) -> ObjectRef[T]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> ObjectRef[T]:
        return self

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        note_ref(self)
        value, is_error, attempt = hooks.travelling_value(self._id)
        if attempt:
            return rebuild, (self._id, value, is_error, attempt)
        return rebuild, (self._id, value, is_error)

    def __class_getitem__(cls, item: Any) -> Any:
        return cls


def rebuild(oid: ObjectId, value: bytes | None, is_error: bool, attempt: int = 0) -> ObjectRef[Any]:
    """A reference from a pickle, counted from now on; `value` is sent with it if known.

    Args:
        oid: the object.
        value: its small value; None: not known.
        is_error: whether that is an error.
        attempt: the earliest attempt of its task whose copies will do.
    """
    _note((oid, value, is_error, attempt))
    return ObjectRef(oid, True)


def _check_id(binary: ObjectId) -> None:
    if not isinstance(binary, bytes):
        raise TypeError(
            f"ObjectRef takes bytes, not a {type(binary).__name__}; ObjectRef.from_hex takes text."
        )
    if len(binary) != OBJECT_ID_BYTES:
        raise ValueError(f"An ObjectRef needs to have length {OBJECT_ID_BYTES}, not {len(binary)}.")


def _event_loop() -> asyncio.AbstractEventLoop:
    """The loop running in this thread, or its own one, created if there is none yet."""
    import asyncio

    try:
        return asyncio.get_event_loop()
    except RuntimeError:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        return loop


# -- references inside what is pickled -----------------------------------------------------------
@contextmanager
def collect_refs() -> Iterator[list[ObjectRef[Any]]]:
    """Collect the references that are pickled in this thread inside the `with`."""
    refs: list[ObjectRef[Any]] = []
    outer, collector.refs = collector.refs, refs
    try:
        yield refs
    finally:
        collector.refs = outer


def note_ref(ref: ObjectRef[Any]) -> None:
    """A reference is being pickled: whoever collects keeps it alive, else this process does."""
    refs = collector.refs
    (_pickled_by_hand if refs is None else refs).append(ref)


# The name under which old programs know references.
ObjectID = ObjectRef
