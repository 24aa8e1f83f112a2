"""The file that the head's tables are kept in: an SQLite database in the session's directory.

Used by `main` through `ledger`, which decides what is written.  A transaction that has been
committed is in the kernel's hands: it survives every death of the head's process, though not one of
the machine (with which the head's node, and so the cluster, ends anyway).  That is why nothing
waits for the disk here (`synchronous=OFF`): a slow disk would make the head look dead.

Only one process at a time can have it open, and only the same version of rayhpc reads it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterable

FILE = "head.sqlite"
LOCK = "head.lock"
# Changes with the tables and the rows in them.
FORMAT = 1
_APPLICATION = 0x52484350  # "RHCP"

# Key, value; without a value the row is dropped.
Change = tuple[bytes, bytes | None]


class DatabaseError(Exception):
    """The database cannot be used; the text says why and what to do."""


class Database:
    """All tables of one head, open in this process alone.

    Args:
        folder: the session's directory.
        tables: their names; each has a key and a value per row.
        cluster_id: whose cluster it is.
        version: rayhpc's.
        resume: it exists already (False: it must not).

    Raises:
        DatabaseError: another head has it open, or it is missing, damaged, of another version or of
            another cluster.
    """

    def __init__(
        self, folder: str, tables: Iterable[str], cluster_id: str, version: str, *, resume: bool
    ) -> None:
        self.path = os.path.join(folder, FILE)
        self._tables = tuple(tables)
        self._lock = _lock(os.path.join(folder, LOCK), cluster_id)
        try:
            self._find(resume)
            self._connection = sqlite3.connect(self.path, isolation_level=None)
        except BaseException:
            os.close(self._lock)
            raise
        try:
            self._take()
            if resume:
                self._check(cluster_id, version)
            else:
                self._lay_out(cluster_id, version)
        except sqlite3.Error as error:
            self.close()
            raise DatabaseError(
                f"The head's database {self.path} cannot be used ({error}): the cluster cannot be "
                "resumed. Start a new one."
            ) from None
        except BaseException:
            self.close()
            raise

    def rows(self, table: str) -> list[tuple[bytes, bytes]]:
        """A table's rows, in the order in which their keys came."""
        return self._connection.execute(f"SELECT key, value FROM {table} ORDER BY rowid").fetchall()

    def write(self, changes: dict[str, list[Change]]) -> None:
        """Write these changes, all or none.

        Raises:
            DatabaseError: they cannot be written; none of them is.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for table, rows in changes.items():
                self._write(table, rows)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise DatabaseError(f"{self.path} cannot be written: {error}") from None

    def close(self) -> None:
        """Let another head open it."""
        self._connection.close()
        os.close(self._lock)

    def remove(self) -> None:
        """Close it and leave no file that a head could be resumed from."""
        self._connection.close()
        for ending in ("", "-wal", "-journal"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path + ending)
        os.close(self._lock)

    def _find(self, resume: bool) -> None:
        # SQLite gives its other files the mode of this one.
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            os.close(os.open(self.path, flags if resume else flags | os.O_CREAT | os.O_EXCL, 0o600))
        except FileNotFoundError:
            raise DatabaseError(
                f"There is no {self.path}: the cluster cannot be resumed. Start a new one."
            ) from None
        except OSError as error:
            raise DatabaseError(
                f"The head's database {self.path} cannot be "
                f"{'opened' if resume else 'made'}: {error.strerror}."
            ) from None

    def _take(self) -> None:
        # Alone from the first look on: so SQLite needs no memory shared with other processes.
        self._connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=OFF")

    def _lay_out(self, cluster_id: str, version: str) -> None:
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        for table in self._tables:
            run(f"CREATE TABLE {table} (key BLOB PRIMARY KEY, value BLOB NOT NULL)")
        run("CREATE TABLE identity (cluster_id TEXT, version TEXT)")
        run("INSERT INTO identity VALUES (?, ?)", (cluster_id, version))
        run(f"PRAGMA application_id={_APPLICATION}")
        run(f"PRAGMA user_version={FORMAT}")
        run("COMMIT")

    def _check(self, cluster_id: str, version: str) -> None:
        """Read nothing from it before all of it is known to be sound, and ours."""
        if self._number("application_id") != _APPLICATION:
            raise DatabaseError(
                f"{self.path} is not the database of a head: the cluster cannot be resumed. Start "
                "a new one."
            )
        found = self._number("user_version")
        if found != FORMAT:
            raise DatabaseError(
                f"The head's database {self.path} has format {found}, this rayhpc reads {FORMAT}: "
                "resume the cluster with the version of rayhpc that started it."
            )
        problem = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise DatabaseError(
                f"The head's database {self.path} is damaged ({problem}): the cluster cannot be "
                "resumed. Start a new one."
            )
        there = {name for (name,) in self._connection.execute("SELECT name FROM sqlite_master")}
        if not there.issuperset((*self._tables, "identity")):
            raise DatabaseError(
                f"The head's database {self.path} is incomplete: the cluster cannot be resumed. "
                "Start a new one."
            )
        its_cluster, its_version = self._connection.execute("SELECT * FROM identity").fetchone()
        if its_version != version:
            raise DatabaseError(
                f"The head's database {self.path} was written by rayhpc {its_version}, this is "
                f"rayhpc {version}: resume the cluster with the version that started it."
            )
        if its_cluster != cluster_id:
            raise DatabaseError(
                f"The head's database {self.path} is that of cluster {its_cluster[:8]}, not of "
                f"{cluster_id[:8]}."
            )

    def _number(self, pragma: str) -> int:
        return int(self._connection.execute(f"PRAGMA {pragma}").fetchone()[0])

    def _write(self, table: str, rows: list[Change]) -> None:
        kept = [row for row in rows if row[1] is not None]
        dropped = [(key,) for key, value in rows if value is None]
        if kept:
            # An upsert, not a replacement: the row keeps its place in the order.
            self._connection.executemany(
                f"INSERT INTO {table} VALUES (?, ?) "
                "ON CONFLICT(key) DO UPDATE SET value=excluded.value",
                kept,
            )
        if dropped:
            self._connection.executemany(f"DELETE FROM {table} WHERE key=?", dropped)


def _lock(path: str, cluster_id: str) -> int:
    """The descriptor that holds the lock for as long as this process lives.

    Raises:
        DatabaseError: another process has it.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise DatabaseError(f"{path} cannot be opened: {error.strerror}.") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(descriptor, 20).decode(errors="replace") or "unknown"
        os.close(descriptor)
        raise DatabaseError(
            f"The head of cluster {cluster_id[:8]} is running (process {holder}): a cluster has "
            "one head."
        ) from None
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor
