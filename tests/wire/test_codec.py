"""Addresses, object ids and frames: what is packed comes out again, and nothing else gets in."""

from __future__ import annotations

import json
import subprocess
import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayhpc.wire import address, codec
from rayhpc.wire.messages import leases, tasks

numbers = st.integers(0, 2**32 - 1)
addresses = st.builds(address.make_address, numbers, numbers)
sequences = st.integers(1, 2**40 - 1)


@given(numbers, numbers)
def test_an_address_names_its_node_and_process(node: int, process: int) -> None:
    made = address.make_address(node, process)
    assert (address.node_of(made), address.process_of(made)) == (node, process)
    assert address.raylet_of(node) == address.make_address(node, 0)


@given(addresses, addresses)
def test_routing_ids_are_unique_and_never_zeromqs_own(one: int, other: int) -> None:
    assert (address.routing_id(one) == address.routing_id(other)) == (one == other)
    assert address.routing_id(one)[0] != 0


nonces = st.binary(min_size=address.NONCE_BYTES, max_size=address.NONCE_BYTES)


@given(addresses, st.integers(1, 2**32 - 1), nonces, nonces)
def test_every_id_carries_its_clusters_nonce(
    owner: int, number: int, nonce: bytes, other: bytes
) -> None:
    made = [
        address.make_object_id(owner, number, nonce),
        address.sibling(address.make_object_id(owner, number, nonce), 3),
        address.make_actor_id(owner, number, nonce),
        address.make_group_id(owner, number, nonce),
    ]
    assert [len(x) for x in made] == [28, 28, 16, 18]
    for oid, shared in zip(made, [12, 12, 4, 6], strict=True):
        assert address.owner_of(oid) == owner
        assert address.is_of_cluster(oid, nonce)
        assert address.is_of_cluster(oid, other) == (nonce[-shared:] == other[-shared:])


@given(addresses, sequences, st.integers(0, address.RESULTS_MAX), nonces)
def test_all_results_of_a_task_have_its_id(
    owner: int, sequence: int, index: int, nonce: bytes
) -> None:
    first = address.make_object_id(owner, sequence, nonce)
    task = address.task_id_of(address.sibling(first, index))
    assert task == address.task_id_of(first) == first[: address.TASK_ID_BYTES]


def test_clusters_have_different_nonces() -> None:
    assert address.cluster_nonce("ab" * 16) != address.cluster_nonce("ac" * 16)


@given(addresses, sequences)
def test_an_object_id_names_its_owner(owner: int, sequence: int) -> None:
    oid = address.make_object_id(owner, sequence)
    assert len(oid) == address.OBJECT_ID_BYTES
    assert address.owner_of(oid) == owner
    assert address.owner_node_of(oid) == address.node_of(owner)
    assert address.sequence_of(oid) == sequence
    assert oid.startswith(address.id_prefix(owner))


@given(addresses, sequences, sequences, st.integers(0, address.RESULTS_MAX))
def test_siblings_never_meet_another_tasks_ids(
    owner: int, sequence: int, other: int, index: int
) -> None:
    oid = address.sibling(address.make_object_id(owner, sequence), index)
    assert address.owner_of(oid) == owner
    assert (oid == address.make_object_id(owner, other)) == (index == 0 and sequence == other)


def test_addresses_in_words() -> None:
    assert address.describe(address.HEAD) == "head"
    assert address.describe(address.raylet_of(3)) == "raylet 3"
    assert address.describe(address.make_address(3, 17)) == "process 3.17"


tasks_made = st.builds(
    tasks.Task, st.binary(min_size=16, max_size=16), st.binary(max_size=20), st.binary(max_size=99)
)


@given(addresses, addresses, st.integers(0, 2**53), st.lists(tasks_made, max_size=5))
def test_a_frame_brings_its_message(
    destination: int, source: int, lease: int, some: list[tasks.Task]
) -> None:
    frame = codec.encode(destination, source, tasks.Push(lease, some))
    assert codec.destination_of(frame) == destination
    assert codec.source_of(frame) == source
    message = codec.Decoder([tasks.Push, leases.Leaving])(frame)
    assert type(message) is tasks.Push
    assert message.lease == lease
    assert message.tasks == some


@given(st.binary(max_size=200))
def test_nonsense_is_refused_and_never_anything_else(data: bytes) -> None:
    decode = codec.Decoder([leases.Leaving, leases.Shutdown])
    try:
        message = decode(bytes(codec.HEADER_BYTES) + data)
    except msgspec.DecodeError:
        return
    assert type(message) in (leases.Leaving, leases.Shutdown)


def test_a_role_refuses_messages_that_it_does_not_take() -> None:
    frame = codec.encode(1, 2, leases.Shutdown("end"))
    with pytest.raises(msgspec.ValidationError):
        codec.Decoder([leases.Leaving, leases.Blocked])(frame)


def test_every_message_has_a_number_of_its_own_whatever_is_imported_first() -> None:
    program = (
        "import importlib, json, sys\n"
        "importlib.import_module('rayhpc.wire.messages.' + sys.argv[1])\n"
        "from rayhpc.wire.messages.registry import Message\n"
        "print(json.dumps({x.__name__: x.__struct_config__.tag for x in Message.__subclasses__()}))"
    )
    numbers_of = [
        json.loads(subprocess.check_output([sys.executable, "-c", program, first]))
        for first in ("objects", "windows", "start")
    ]
    assert numbers_of[0] == numbers_of[1] == numbers_of[2]
    assert len(set(numbers_of[0].values())) == len(numbers_of[0]) > 100
