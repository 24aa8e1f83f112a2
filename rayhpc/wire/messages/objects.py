"""Objects: borrowing between processes, a node's store, transfers between nodes.

Sent by `runtime` (owner, borrower) and by `raylet`.  Values are opaque bytes here.

A copy of a result has the number of the `attempt` of its task that wrote it (what is put: 0), since
attempts may make different values.  Nobody is given a copy of an earlier attempt than the owner has
accepted.
"""

from rayhpc.wire.messages.registry import Message

# FetchFailed.kind, ObjectAnswer.kind
VALUE = 0  # `value` is the small value
ERROR = 1  # `value` is a pickled error
LOST = 2  # every copy is gone and it cannot be reconstructed
OWNER_DIED = 3
FREED = 4
STORED = 5  # it is in a store: the directory knows which
FULL = 6  # no room for it here

# SpanRefused.why
NO_COPY = 0  # or one of another size or attempt
NOT_IN_MEMORY = 1  # ask for it by `ReadChunk`
NO_CHANNEL = 2  # it has been closed meanwhile

# DropCopies.before
EVERY_ATTEMPT = 2**62


# -- between owner and borrower ------------------------------------------------------------------
class Borrow(Message):
    """Borrower to owner: I hold these; answered by `Borrowed(token)`."""

    token: int
    oids: list[bytes]
    borrower: int


class Borrowed(Message):
    """Owner to borrower: recorded."""

    token: int


class Return(Message):
    """Borrower to owner: I no longer hold these."""

    oids: list[bytes]
    borrower: int


# -- between a process and its own raylet --------------------------------------------------------
class StoreCreate(Message):
    """Process to raylet: space for `size` bytes, please; answered by `StoreCreated`."""

    oid: bytes
    size: int
    attempt: int = 0


class StoreCreated(Message):
    """Raylet to process: write at `offset`; -1: no room, and `error` says what occupies it.

    If `path` is not empty: not in the arena, but in that file of the raylet's, to be mapped.
    """

    oid: bytes
    offset: int
    error: str = ""
    path: str = ""


class StoreSeal(Message):
    """Process to raylet: written; it may be read from now on."""

    oid: bytes
    size: int


class Fetch(Message):
    """Process to raylet: I need these here; `Fetched` or `FetchFailed` for each.

    `pin` false only brings them to this node (`wait(fetch_local=True)`) and reports it.  `attempts`
    are the earliest that will do, where that is not 0.
    """

    oids: list[bytes]
    pin: bool = True
    attempts: dict[bytes, int] = {}


class Fetched(Message):
    """Raylet to process: the object is at `offset`, pinned for you until `Unpin`.

    `path` as in `StoreCreated`.
    """

    oid: bytes
    offset: int
    size: int
    path: str = ""
    attempt: int = 0


class FetchFailed(Message):
    """Raylet to process: no object, but a small value, an error, or why there is none."""

    oid: bytes
    kind: int
    value: bytes = b""
    text: str = ""


class Unpin(Message):
    """Process to raylet: one view of each of these is gone (an id may appear several times)."""

    oids: list[bytes]


class CollectGarbage(Message):
    """Raylet to process: the store fills up; let the garbage collector look for references."""


class Free(Message):
    """Owner to its raylet: nobody refers to these any more; drop every copy."""

    oids: list[bytes]


class NewAttempt(Message):
    """Owner to its raylet: the task that makes these runs again, or has failed.

    Nobody is to be given a copy of an attempt before `attempt` any more.
    """

    oids: list[bytes]
    attempt: int


class FetchCancel(Message):
    """Process to raylet: I no longer wait for these (requested with the same `pin`)."""

    oids: list[bytes]
    pin: bool = True


# -- between the raylets, and from the owner's raylet to the owner -------------------------------
class ObjectAt(Message):
    """Raylet to the owner's raylet: `node` has a sealed copy.

    From the owner's raylet to `node`: your copy is now the primary one.
    """

    oid: bytes
    size: int
    node: int
    attempt: int = 0


class ObjectGone(Message):
    """Raylet to the owner's raylet: `node` has no copy (any more); `text`: it was damaged.

    `attempt` is that of the copy that is gone, or was expected there.
    """

    oid: bytes
    node: int
    text: str = ""
    attempt: int = 0


class Locate(Message):
    """Raylet to the owner's raylet: where is it? Answered by `Located`, now or once it exists.

    `eager`: if it is small and lies with you, send it along.  `attempt` is the earliest that will
    do.
    """

    oid: bytes
    node: int
    eager: bool = False
    attempt: int = 0


class LocateCancel(Message):
    """Raylet to the owner's raylet: we no longer want to know."""

    oid: bytes
    node: int


class Located(Message):
    """The owner's raylet to a raylet: the copies, or (kind not STORED) what exists instead.

    If it was asked for eagerly, `value` may be the stored object itself, of that `edition`.
    """

    oid: bytes
    kind: int
    size: int = 0
    nodes: list[int] = []
    value: bytes = b""
    text: str = ""
    edition: int = 0
    attempt: int = 0


class Ask(Message):
    """A raylet to an owner on its node: what about this object? Answered by `Tell` once known."""

    oid: bytes


class Tell(Message):
    """Owner to its raylet: the value, the error, FREED, or STORED (see the directory)."""

    oid: bytes
    kind: int
    value: bytes = b""
    text: str = ""


class CopiesLost(Message):
    """The owner's raylet to the owner: no copy is left; reconstruct it, or `Tell` LOST.

    `text` says what became of the last one, if known; `attempt` is that of the copies.
    """

    oids: list[bytes]
    text: str = ""
    attempt: int = 0


class DropCopies(Message):
    """The owner's raylet to a raylet with copies: drop those of attempts before `before`."""

    oids: list[bytes]
    before: int = EVERY_ATTEMPT


class MoveAway(Message):
    """A raylet that drains to an owner's raylet: keep a copy elsewhere, we are about to go."""

    oids: list[bytes]
    node: int


class ReadChunk(Message):
    """Raylet to raylet: send me `length` bytes from `start`; answered by `Chunk`.

    Only a copy of this `attempt` will do.
    """

    oid: bytes
    start: int
    length: int
    node: int
    attempt: int = 0


class Chunk(Message):
    """Raylet to raylet: a piece of an object; `total` -1: we have no copy.

    Copies of one `edition` are equal byte by byte (0: nobody knows).  `attempt` as requested.
    """

    oid: bytes
    start: int
    total: int
    data: bytes
    edition: int = 0
    attempt: int = 0


# -- the data plane: agreed here, under CURVE; the bytes go over sockets of their own -------------
class AskChannels(Message):
    """Raylet to raylet: `count` channels for bytes from you to me; a `ChannelOffer` for each."""

    node: int
    count: int


class ChannelOffer(Message):
    """Raylet to raylet: dial one of `endpoints` and show `ticket`, once and soon.

    `up` and `down` are the keys (AES-128) of the two directions of this one connection.  No
    endpoints: there is no data plane here, and `text` says why.
    """

    node: int
    channel: int = 0
    endpoints: list[tuple[str, int]] = []
    ticket: bytes = b""
    up: bytes = b""
    down: bytes = b""
    text: str = ""

    def __repr__(self) -> str:
        # It may come into a log: no keys.
        return f"ChannelOffer({self.node}, {self.channel}, {self.endpoints}, {self.text!r})"


class ReadSpan(Message):
    """Raylet to raylet: send me `length` bytes from `start` over that channel, marked `token`.

    `size` and `attempt` are what the object should have.  Answered over the channel, or by
    `SpanRefused`.
    """

    oid: bytes
    size: int
    start: int
    length: int
    node: int
    channel: int
    token: int
    attempt: int = 0


class ChannelClosed(Message):
    """Raylet to raylet: we have closed that channel from you to us."""

    node: int
    channel: int


class SpanRefused(Message):
    """Raylet to raylet: not over this channel, since (`why`) NO_COPY, NOT_IN_MEMORY, NO_CHANNEL."""

    node: int
    channel: int
    token: int
    why: int
