"""The head's database: who may open it, what is refused by name, what survives."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from rayhpc.head.database import FILE, Database, DatabaseError
from rayhpc.head.ledger import TABLES, Ledger

CLUSTER = "c" * 32


def opened(folder: Path, *, resume: bool, cluster: str = CLUSTER, version: str = "1") -> Database:
    return Database(str(folder), TABLES, cluster, version, resume=resume)


def written(folder: Path) -> None:
    database = opened(folder, resume=False)
    database.write({"kv": [(bytes([i]), b"v" * 1000) for i in range(200)]})
    database.close()


def test_rows_keep_their_order_and_changes_their_place(tmp_path: Path) -> None:
    database = opened(tmp_path, resume=False)
    database.write({"kv": [(b"b", b"1"), (b"a", b"2"), (b"c", b"3")]})
    database.write({"kv": [(b"b", b"4"), (b"a", None)]})
    assert database.rows("kv") == [(b"b", b"4"), (b"c", b"3")]
    database.close()
    again = opened(tmp_path, resume=True)
    assert again.rows("kv") == [(b"b", b"4"), (b"c", b"3")]
    again.close()


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        database = opened(tmp_path, resume=False)
        database.write({"kv": [(b"a", b"1")]})
        files = list(tmp_path.iterdir())
        assert len(files) > 1
        assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}
        database.close()
    finally:
        os.umask(before)


def test_a_second_one_is_refused_while_the_first_is_open(tmp_path: Path) -> None:
    database = opened(tmp_path, resume=False)
    with pytest.raises(DatabaseError, match=rf"is running \(process {os.getpid()}\)"):
        opened(tmp_path, resume=True)
    database.close()
    opened(tmp_path, resume=True).close()


def test_a_new_cluster_takes_no_database_that_is_there(tmp_path: Path) -> None:
    written(tmp_path)
    with pytest.raises(DatabaseError, match="cannot be made"):
        opened(tmp_path, resume=False)


def _missing(path: Path) -> None:
    path.unlink()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _other(path: Path) -> None:
    path.write_bytes(b"something else entirely" * 500)


def _short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _torn(path: Path) -> None:
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4096] = os.urandom(4096)
    path.write_bytes(data)


def _newer(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=77")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_missing, "There is no"),
        (_empty, "not the database of a head"),
        (_other, "cannot be used"),
        (_short, "damaged|cannot be used"),
        (_torn, "damaged|cannot be used"),
        (_newer, "format 77"),
    ],
)
def test_what_cannot_be_used_is_named_and_nothing_is_read(
    tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    written(tmp_path)
    damage(tmp_path / FILE)
    with pytest.raises(DatabaseError, match=words):
        opened(tmp_path, resume=True)


def test_another_cluster_or_version_is_named(tmp_path: Path) -> None:
    written(tmp_path)
    with pytest.raises(DatabaseError, match="written by rayhpc 1, this is rayhpc 2"):
        opened(tmp_path, resume=True, version="2")
    with pytest.raises(DatabaseError, match="is that of cluster cccccccc"):
        opened(tmp_path, resume=True, cluster="d" * 32)


def test_a_turn_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    database = opened(tmp_path, resume=False)
    with pytest.raises(DatabaseError):
        database.write({"kv": [(b"a", b"1")], "nodes": [(b"n", 0.5j)]})  # type: ignore[list-item]
    assert database.rows("kv") == []
    database.close()


def test_what_cannot_be_written_costs_the_return_and_not_the_cluster(tmp_path: Path) -> None:
    database = opened(tmp_path, resume=False)
    ledger = Ledger(database)
    ledger.commit()
    database._connection.execute("PRAGMA max_page_count=1")
    ledger.put("kv", b"k", b"v" * 10_000_000)
    ledger.commit()
    assert "cannot come back" in ledger.lost
    ledger.put("kv", b"l", b"w")
    ledger.commit()
    with pytest.raises(DatabaseError, match="There is no"):
        opened(tmp_path, resume=True)


def test_a_ledger_writes_the_last_state_of_a_turn_and_counts_lives(tmp_path: Path) -> None:
    ledger = Ledger(opened(tmp_path, resume=False))
    state = [b"first"]
    ledger.touch("actors", b"a", lambda: state[0])
    ledger.put("kv", b"gone", b"1")
    ledger.drop("kv", b"gone")
    state[0] = b"last"
    ledger.commit()
    ledger.put("kv", b"never written", b"1")
    ledger.close()
    again = Ledger(opened(tmp_path, resume=True))
    assert (again.life, again.is_resumed) == (2, True)
    assert again.rows("actors") == [(b"a", b"last")]
    assert again.rows("kv") == []
    again.close()
