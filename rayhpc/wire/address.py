"""Names of processes and objects, shared by all of rayhpc.

Used by everything that sends a message or names an object.  Never resolves a name to a socket:
`transport.py` does.

An *address* is one integer: the node's number in the high 32 bits, the process's number on that
node in the low 32.  The head assigns node numbers, a raylet assigns process numbers; neither is
reused within a cluster's life, so an address names one incarnation of one process.  Those of
observers, from whom nothing but questions is taken, have numbers from 2³¹ on (`wire.roles`).

An *object id* is as long as Ray's (28 bytes): the owner's address (8, big endian), the owner's
sequence number (8) and the cluster's nonce (12).  So whoever holds a reference knows its owner,
and the owner's node, without asking; and an id kept beyond the end of its cluster is recognised as
foreign, although node, process and sequence numbers repeat in the next one.  The sequence number's
high 24 bits count the results of one task, which therefore need no numbers of their own; 40 bits
are left for tasks.

A task's id is that of its first result; users see it without the last four bytes (24, as in Ray).
Actor and placement group ids (16 and 18 bytes, as in Ray) are the owner's address, the end of the
nonce, and a four-byte number.
"""

from __future__ import annotations

import hashlib

Address = int
NodeNumber = int
ObjectId = bytes

HEAD: Address = 0
NONCE_BYTES = 12
OBJECT_ID_BYTES = 28
TASK_ID_BYTES = 24
ACTOR_ID_BYTES = 16
GROUP_ID_BYTES = 18
RESULTS_MAX = 2**24 - 1
# The first process number of observers.
FIRST_OBSERVER = 1 << 31

_LOW = 0xFFFFFFFF
_INDEX_SHIFT = 40
# The part of a sequence number that is its task's: the same for all results of one task.
SEQUENCE_MASK: int = 2**_INDEX_SHIFT - 1
# Offset of the nonce in an object id; then the length of the part that ends actor and group ids.
_NONCE_AT = 16
_NUMBER_BYTES = 4


def make_address(node: NodeNumber, process: int) -> Address:
    """The address of process number `process` on node number `node`."""
    return node << 32 | process


def raylet_of(node: NodeNumber) -> Address:
    """The address of a node's raylet: process 0 of that node."""
    return node << 32


def node_of(address: Address) -> NodeNumber:
    """The number of an address's node; 0 is the head."""
    return address >> 32


def process_of(address: Address) -> int:
    """The process number within the node; 0 is the raylet."""
    return address & _LOW


def is_observer(address: Address) -> bool:
    """Whether this is the address of a process that may only ask."""
    return address & _LOW >= FIRST_OBSERVER


def routing_id(address: Address) -> bytes:
    """The ZeroMQ routing id of a process: 9 bytes, never starting with zero (ZeroMQ's own)."""
    return b"@" + address.to_bytes(8, "big")


def id_prefix(owner: Address) -> bytes:
    """The first part of every object id that `owner` creates."""
    return owner.to_bytes(8, "big")


def cluster_nonce(cluster_id: str) -> bytes:
    """The part that every id of one cluster carries, and no other cluster's."""
    return hashlib.blake2b(cluster_id.encode(), digest_size=NONCE_BYTES).digest()


def make_object_id(owner: Address, sequence: int, nonce: bytes = bytes(NONCE_BYTES)) -> ObjectId:
    """The id of the owner's object number `sequence` (starting at 1)."""
    return owner.to_bytes(8, "big") + sequence.to_bytes(8, "big") + nonce


def make_actor_id(owner: Address, number: int, nonce: bytes = bytes(NONCE_BYTES)) -> ObjectId:
    """The id of the owner's actor number `number`; also that of the actor's lifeline."""
    return _short_id(ACTOR_ID_BYTES, owner, number, nonce)


def make_group_id(owner: Address, number: int, nonce: bytes = bytes(NONCE_BYTES)) -> ObjectId:
    """The id of the owner's placement group number `number`."""
    return _short_id(GROUP_ID_BYTES, owner, number, nonce)


def _short_id(size: int, owner: Address, number: int, nonce: bytes) -> ObjectId:
    part = nonce[-(size - 8 - _NUMBER_BYTES) :]
    return owner.to_bytes(8, "big") + part + number.to_bytes(_NUMBER_BYTES, "big")


def is_of_cluster(oid: ObjectId, nonce: bytes) -> bool:
    """Whether an object, actor or placement group belongs to the cluster with this nonce."""
    if len(oid) == OBJECT_ID_BYTES:
        return oid.endswith(nonce)
    return nonce.endswith(oid[8:-_NUMBER_BYTES])


def owner_of(oid: ObjectId) -> Address:
    """The process that owns an object."""
    return int.from_bytes(oid[:8], "big")


def owner_node_of(oid: ObjectId) -> NodeNumber:
    """The node whose raylet holds the object's directory entry."""
    return int.from_bytes(oid[:4], "big")


def sequence_of(oid: ObjectId) -> int:
    """The owner's sequence number of an object."""
    return int.from_bytes(oid[8:_NONCE_AT], "big")


def sibling(oid: ObjectId, index: int) -> ObjectId:
    """The id of result number `index` of the task whose first result is `oid`."""
    number = sequence_of(oid) + (index << _INDEX_SHIFT)
    return oid[:8] + number.to_bytes(8, "big") + oid[_NONCE_AT:]


def task_id_of(oid: ObjectId) -> bytes:
    """The id, as users see it, of the task that creates an object."""
    number = sequence_of(oid) & SEQUENCE_MASK
    return oid[:8] + number.to_bytes(8, "big") + oid[_NONCE_AT:TASK_ID_BYTES]


def constructor_task_of(actor: ObjectId) -> ObjectId:
    """The task id of an actor's constructor; users see it as in Ray: 0xff, then the actor's."""
    return (b"\xff" * 8 + actor).ljust(OBJECT_ID_BYTES, b"\0")


def describe(address: Address) -> str:
    """An address in readable form for logs: `head`, `raylet 3` or `process 3.17`."""
    if address == HEAD:
        return "head"
    if process_of(address) == 0:
        return f"raylet {node_of(address)}"
    return f"process {node_of(address)}.{process_of(address)}"
