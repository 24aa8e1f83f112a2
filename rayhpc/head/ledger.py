"""What the head has changed since it last wrote, and the writing: once a turn, all or nothing.

Used by every table of the head (to note changes and to read itself back) and by `main`, which
commits after each turn and only then sends what the turn has to say: whatever anybody was told is
in the database.  Without a database it forgets what it is told.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from rayhpc.head.database import Change, Database, DatabaseError

logger = logging.getLogger("rayhpc.head")

TABLES = (
    "meta",
    "nodes",
    "orders",
    "lines",
    "outbox",
    "jobs",
    "job_raylets",
    "kv",
    "kv_waiters",
    "groups",
    "group_watchers",
    "specs",
    "actors",
    "actor_watchers",
    "forgotten_actors",
    "killed_early",
    "ended_processes",
)

NUMBER_BYTES = 9
encode = msgspec.msgpack.Encoder().encode
_Row = Callable[[], bytes]


class Ledger:
    """The changes of one turn.

    Args:
        database: where they go.

    Attributes:
        life: which life of the head this is, from 1.
        lost: why the database is no longer written (empty: it is).
    """

    def __init__(self, database: Database | None = None) -> None:
        self._database = database
        self._changes: dict[str, dict[bytes, bytes | _Row | None]] = {}
        self.lost = ""
        before = dict(self.rows("meta")).get(b"life")
        self.life = 1 if before is None else msgspec.msgpack.decode(before, type=int) + 1
        self.put("meta", b"life", encode(self.life))

    @property
    def is_resumed(self) -> bool:
        """Whether there was a head before this one."""
        return self.life > 1

    def rows(self, table: str) -> list[tuple[bytes, bytes]]:
        """A table's rows as they were written, in the order in which their keys came."""
        return [] if self._database is None else self._database.rows(table)

    def put(self, table: str, key: bytes, value: bytes) -> None:
        """A row is new, or another."""
        if self._database is not None:
            self._changes.setdefault(table, {})[key] = value

    def touch(self, table: str, key: bytes, row: _Row) -> None:
        """The same; `row` gives the value when it is written, after all changes of the turn."""
        if self._database is not None:
            self._changes.setdefault(table, {})[key] = row

    def drop(self, table: str, key: bytes) -> None:
        """A row is gone."""
        if self._database is not None:
            self._changes.setdefault(table, {})[key] = None

    def commit(self) -> None:
        """Write what has changed.

        If that fails the cluster goes on, but its head cannot be resumed any more.
        """
        if not self._changes or self._database is None:
            return
        changes, self._changes = self._changes, {}
        written = {t: [_change(*row) for row in rows.items()] for t, rows in changes.items()}
        try:
            self._database.write(written)
        except DatabaseError as error:
            self.lost = f"{error}; should the head end now, it cannot come back"
            logger.error("%s", self.lost)
            self._database.remove()
            self._database = None

    def close(self) -> None:
        """Close the database."""
        if self._database is not None:
            self._database.close()
            self._database = None


def number_key(number: int) -> bytes:
    """The key for an address, or for the number of a node or job; whatever somebody calls that."""
    return number.to_bytes(NUMBER_BYTES, "big", signed=True)


def number_of(key: bytes) -> int:
    """The number in such a key."""
    return int.from_bytes(key, "big", signed=True)


def _change(key: bytes, value: bytes | _Row | None) -> Change:
    return key, value() if callable(value) else value
