"""Names of processes and objects that every part of rayhpc shares.

Used by everything that sends a message or names an object.  Never resolves a name to a socket:
that is `transport.py`.

An *address* is one integer: the node's number in the high 32 bits, the process's number on that
node in the low 32.  The head gives node numbers, a raylet gives process numbers; neither is ever
used twice in a cluster's life, so an address names one incarnation of one process.

An *object id* is 16 bytes: the owner's address (8, big endian) and the owner's sequence number
(8).  Whoever holds a reference therefore knows its owner, and the owner's node, without asking.
The sequence number's high 24 bits count the results of one task, so that these need no numbers of
their own; 40 bits are left for the tasks.  Task, actor and placement group ids are object ids of
their first result, lifeline and creator.
"""

from __future__ import annotations

Address = int
NodeNumber = int
ObjectId = bytes

HEAD: Address = 0
OBJECT_ID_BYTES = 16
RESULTS_MAX = 2**24 - 1

_LOW = 0xFFFFFFFF
_INDEX_SHIFT = 40


def make_address(node: NodeNumber, process: int) -> Address:
    """The address of process number `process` on node number `node`."""
    return node << 32 | process


def raylet_of(node: NodeNumber) -> Address:
    """The address of a node's raylet: process 0 of that node."""
    return node << 32


def node_of(address: Address) -> NodeNumber:
    """The node an address lies on; 0 is the head."""
    return address >> 32


def process_of(address: Address) -> int:
    """The process number within the node; 0 is the raylet."""
    return address & _LOW


def routing_id(address: Address) -> bytes:
    """The ZeroMQ routing id of a process: 9 bytes, never starting with zero (ZeroMQ's own)."""
    return b"@" + address.to_bytes(8, "big")


def id_prefix(owner: Address) -> bytes:
    """The first half of every object id that `owner` makes."""
    return owner.to_bytes(8, "big")


def make_object_id(owner: Address, sequence: int) -> ObjectId:
    """The id of the owner's object number `sequence` (from 1 on)."""
    return owner.to_bytes(8, "big") + sequence.to_bytes(8, "big")


def owner_of(oid: ObjectId) -> Address:
    """The process that owns an object."""
    return int.from_bytes(oid[:8], "big")


def owner_node_of(oid: ObjectId) -> NodeNumber:
    """The node whose raylet keeps the object's directory entry."""
    return int.from_bytes(oid[:4], "big")


def sequence_of(oid: ObjectId) -> int:
    """The owner's sequence number of an object."""
    return int.from_bytes(oid[8:], "big")


def sibling(oid: ObjectId, index: int) -> ObjectId:
    """The id of result number `index` of the task whose first result is `oid`."""
    return oid[:8] + (int.from_bytes(oid[8:], "big") + (index << _INDEX_SHIFT)).to_bytes(8, "big")


def describe(address: Address) -> str:
    """An address as people read it in logs: `head`, `raylet 3` or `process 3.17`."""
    if address == HEAD:
        return "head"
    if process_of(address) == 0:
        return f"raylet {node_of(address)}"
    return f"process {node_of(address)}.{process_of(address)}"
