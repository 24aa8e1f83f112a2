"""Values as bytes: pickle 5 with out-of-band buffers, cloudpickle where pickle does not reach.

Used by `process.objects`, `worker.execution` and `api`.  Plain pickle is several times faster than
cloudpickle, so it goes first; what lives in `__main__`, in a module registered by value, or is no
importable name at all (lambdas, closures) goes through cloudpickle.  Never touches a socket.

Inline form: a pickle (first byte 0x80) if there are no buffers, else 0x01 and msgpack of
[pickle, [buffer, …]].
"""

from __future__ import annotations

import hashlib
import io
import pickle
import sys
import types
from collections import ChainMap
from collections.abc import Sequence
from typing import Any

import cloudpickle
import msgspec

from rayhpc.exceptions import RayError
from rayhpc.runtime.values import library_classes
from rayhpc.runtime.values.references import ObjectRef, collector

# Values up to this size stay in their owner's table and travel inside messages.
INLINE_BYTES = 100 * 1024
# The same for what has to go to another node anyway: it saves two stores and six messages.  Two
# results of this size fit into a worker's journal (`wire.slots`); what does not is less safe.
FAR_BYTES = 120 * 1024
# Smaller ones are not counted against the budget of inline values: their row is what costs.
COUNTED_BYTES = 1024
DEFINITION_ID_BYTES = 16
# The first byte of an inline value: a pickle, or one with buffers apart.
PICKLE, _FRAMED = 0x80, 1
ATOMS = frozenset((type(None), bool, int, float, str, bytes, complex))
_BY_REFERENCE_IN_MAIN = b"__main__"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[bytes, list[bytes]]).decode
dumps, loads = pickle.dumps, pickle.loads
_modules = sys.modules


class Serialized:
    """A value as a pickle and its out-of-band buffers; `refs` are the references inside it."""

    __slots__ = ("buffers", "nbytes", "pickled", "refs")

    def __init__(
        self, pickled: bytes, buffers: list[memoryview], refs: list[ObjectRef[Any]]
    ) -> None:
        self.pickled = pickled
        self.buffers = buffers
        self.refs = refs
        self.nbytes = len(pickled) + sum(x.nbytes for x in buffers) if buffers else len(pickled)


def serialize(value: Any) -> Serialized:
    """Pickle a value.

    Raises:
        TypeError: it cannot be pickled; the text names the path to what cannot.
    """
    if type(value) in ATOMS:
        return Serialized(dumps(value, 5), [], [])
    # `collect_refs` written out, since this is a part of every call.
    refs: list[ObjectRef[Any]] = []
    outer, collector.refs = collector.refs, refs
    try:
        pickled, buffers = _pickle(value, refs)
        return Serialized(pickled, buffers, refs)
    finally:
        collector.refs = outer


def to_inline(packed: Serialized) -> bytes:
    """A small value as a single byte string."""
    if not packed.buffers:
        return packed.pickled
    return b"\x01" + _encode((packed.pickled, packed.buffers))


def from_inline(data: bytes) -> Any:
    """The value `to_inline` was given."""
    if data[0] != _FRAMED:
        return loads(data)
    pickled, buffers = _decode(memoryview(data)[1:])
    return loads(pickled, buffers=buffers)


def unpacked(data: bytes) -> Serialized:
    """The serialized value that `to_inline` was given, without its references."""
    if data[0] != _FRAMED:
        return Serialized(data, [], [])
    pickled, buffers = _decode(memoryview(data)[1:])
    return Serialized(pickled, [memoryview(x) for x in buffers], [])


def deserialize(pickled: Any, buffers: Sequence[Any] = ()) -> Any:
    """The value of a pickle (any buffer) and its buffers; inline form is understood too."""
    if not buffers and type(pickled) is bytes:
        return from_inline(pickled)
    return loads(pickled, buffers=buffers)


# -- definitions ---------------------------------------------------------------------------------
def dump_definition(definition: Any) -> bytes:
    """Pickle a function or class, by name where possible, else by value.

    Raises:
        TypeError: it cannot be pickled; the text names the path to what cannot.
    """
    try:
        return _by_value(definition, None)
    except RayError:
        raise
    except Exception as error:
        raise _unpicklable(definition, error) from error


def definition_id(blob: bytes) -> bytes:
    """The id of a definition: a hash of its pickle."""
    return hashlib.blake2b(blob, digest_size=DEFINITION_ID_BYTES).digest()


# -- details -------------------------------------------------------------------------------------
def _pickle(value: Any, refs: list[ObjectRef[Any]]) -> tuple[bytes, list[memoryview]]:
    buffers: list[memoryview] = []

    def keep_apart(buffer: pickle.PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:  # not contiguous
            return True
        # Small arrays too: what comes back is read-only whatever its size.
        if not raw.nbytes:
            return True
        buffers.append(raw)
        return False

    if library_classes.STATE_MODULE in _modules:
        library_classes.register_loaded()
    if not cloudpickle.list_registry_pickle_by_value():
        try:
            pickled = dumps(value, 5, buffer_callback=keep_apart)
        except RayError:
            raise
        except Exception:  # not importable by name, or not picklable at all: cloudpickle decides
            pickled = b""
        if pickled and _BY_REFERENCE_IN_MAIN not in pickled:
            return pickled, buffers
        buffers.clear()
        refs.clear()
    try:
        return _by_value(value, keep_apart), buffers
    except RayError:
        raise
    except Exception as error:
        raise _unpicklable(value, error) from error


def _by_value(value: Any, keep_apart: Any) -> bytes:
    library_classes.register_loaded()
    out = io.BytesIO()
    _Pickler(out, protocol=5, buffer_callback=keep_apart).dump(value)
    return out.getvalue()


def _reduce_code(code: types.CodeType) -> Any:
    """As cloudpickle does it, with the file's name for tracebacks, which newer ones leave out."""
    make, parts = cloudpickle.Pickler.dispatch_table[types.CodeType](code)
    return make, tuple(code.co_filename if x == "<dynamic-code>" else x for x in parts)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """cloudpickle's, with code that knows where it was written and modules of any class by name."""

    dispatch_table = ChainMap(
        {types.CodeType: _reduce_code}, library_classes.reducers, cloudpickle.Pickler.dispatch_table
    )

    def reducer_override(self, obj: Any) -> Any:
        """How to pickle `obj`, where its class does not decide that."""
        if isinstance(obj, types.ModuleType) and type(obj) is not types.ModuleType:
            # cloudpickle knows modules of the common class alone.
            return cloudpickle.Pickler.dispatch_table[types.ModuleType](obj)
        return super().reducer_override(obj)


def _unpicklable(value: Any, error: BaseException) -> TypeError:
    from rayhpc.runtime.values.pickle_path import describe

    return TypeError(describe(value, error))
