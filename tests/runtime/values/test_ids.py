"""Ids: hashable, comparable, to bytes and text and back."""

from __future__ import annotations

import pickle

import pytest

import rayhpc
from rayhpc.runtime.values import ids

KINDS = [
    rayhpc.ActorID,
    rayhpc.ActorClassID,
    rayhpc.FunctionID,
    rayhpc.JobID,
    rayhpc.NodeID,
    rayhpc.PlacementGroupID,
    rayhpc.TaskID,
    rayhpc.UniqueID,
    rayhpc.WorkerID,
]


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(kind: type[ids.BaseID]) -> None:
    one = kind.from_random()
    assert kind.from_hex(one.hex()) == one
    assert kind(one.binary()) == one
    assert pickle.loads(pickle.dumps(one)) == one
    assert len({one, kind.from_hex(one.hex()), kind.from_random()}) == 2
    assert len(one.binary()) == kind.size()
    assert not one.is_nil()
    assert kind.nil().is_nil()
    assert one.hex() in repr(one)


def test_ids_of_different_kinds_are_never_equal() -> None:
    binary = bytes(range(28))
    assert rayhpc.NodeID(binary) != rayhpc.UniqueID(binary)


def test_a_wrong_length_or_type_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        rayhpc.ActorID(b"short")
    with pytest.raises(TypeError, match="from_hex"):
        rayhpc.ActorID("ab" * 16)  # type: ignore[arg-type]


def test_job_ids_are_numbers() -> None:
    assert rayhpc.JobID.from_int(7).int() == 7
    assert rayhpc.JobID.from_int(1).hex() == "01000000"


def test_object_id_is_the_old_name_of_a_reference() -> None:
    assert rayhpc.ObjectID is rayhpc.ObjectRef
    nil = rayhpc.ObjectRef.nil()
    assert nil.is_nil()
    assert len(nil.binary()) == rayhpc.ObjectRef.size()


def test_ids_are_as_long_as_rays() -> None:
    sizes = {
        rayhpc.ObjectRef: 28,
        rayhpc.TaskID: 24,
        rayhpc.ActorID: 16,
        rayhpc.PlacementGroupID: 18,
        rayhpc.NodeID: 28,
        rayhpc.UniqueID: 28,
        rayhpc.JobID: 4,
    }
    assert {kind: kind.size() for kind in sizes} == sizes


def test_a_reference_takes_the_bytes_of_an_id() -> None:
    binary = bytes(range(28))
    assert rayhpc.ObjectRef(binary).binary() == binary
    assert rayhpc.ObjectRef.from_random() != rayhpc.ObjectRef(binary)
    with pytest.raises(ValueError, match="needs to have length 28"):
        rayhpc.ObjectRef(b"short")
    with pytest.raises(TypeError, match="from_hex"):
        rayhpc.ObjectRef("ab" * 28)  # type: ignore[arg-type]
