"""Keys: secret in every way they are shown, kept for their owner alone, refused when in doubt."""

from __future__ import annotations

import io
import os
import sys
import traceback
from pathlib import Path

import pytest

from rayhpc.wire import keys
from rayhpc.wire.keys import ClusterKey, KeyFileError, KeyPair


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config"


def make_key(port: int = 7000) -> ClusterKey:
    return ClusterKey(
        keys.new_cluster_id(),
        keys.new_key_pair(),
        keys.new_key_pair().public,
        [("10.0.0.1", port), ("fe80::1", port)],
    )


def test_a_saved_key_is_found_and_removed(home: Path) -> None:
    key = make_key()
    path = keys.save(key)
    assert path == home / "rayhpc" / "keys" / key.cluster_id
    assert keys.load(str(path)) == key
    assert keys.find("10.0.0.1:7000") == keys.find("[fe80::1]:7000") == key
    assert keys.find("10.0.0.1:7001") is None
    keys.remove(key.cluster_id)
    keys.remove(key.cluster_id)
    assert not path.exists()
    assert keys.find("10.0.0.1:7000") is None


def test_nothing_is_found_where_nothing_was_saved(home: Path) -> None:
    assert keys.find("10.0.0.1:7000") is None
    assert not home.exists()


def test_the_file_is_its_owners_alone(home: Path) -> None:
    before = os.umask(0)
    try:
        path = keys.save(make_key())
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    for folder in (path.parent, path.parent.parent):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_key_is_not_written_over_or_through_a_link(home: Path, tmp_path: Path) -> None:
    key = make_key()
    path = keys.save(key)
    with pytest.raises(KeyFileError, match="already exists"):
        keys.save(key)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileError):
        keys.save(key)
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_others_can_enter_is_refused(home: Path) -> None:
    (home / "rayhpc" / "keys").mkdir(parents=True)
    (home / "rayhpc" / "keys").chmod(0o755)
    with pytest.raises(KeyFileError, match="chmod 700"):
        keys.save(make_key())


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_can_read_is_refused(home: Path, mode: int) -> None:
    path = keys.save(make_key())
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        keys.load(str(path))
    assert keys.find("10.0.0.1:7000") is None


def test_links_fifos_and_absent_files_are_refused(home: Path, tmp_path: Path) -> None:
    path = keys.save(make_key())
    (tmp_path / "link").symlink_to(path)
    os.mkfifo(tmp_path / "fifo", 0o600)
    for name in ("link", "fifo", "none"):
        with pytest.raises(KeyFileError):
            keys.load(str(tmp_path / name))


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    key = make_key()

    class Input:
        buffer = io.BytesIO(keys.encode(key) + b"more, for somebody else\n")

    monkeypatch.setattr(sys, "stdin", Input)
    assert keys.load("-") == key
    assert Input.buffer.read() == b"more, for somebody else\n"


def test_no_secret_is_ever_shown(home: Path) -> None:
    key = make_key()
    secret = key.node.secret.decode()
    for text in (repr(key), str(key), repr(key.node), f"{key}", repr([key])):
        assert secret not in text
        assert key.node.public.decode() in text
    path = keys.save(key)
    path.write_bytes(path.read_bytes().replace(b'"version":1', b'"version":"1"'))
    with pytest.raises(KeyFileError) as caught:
        keys.load(str(path))
    assert secret not in "".join(traceback.format_exception(caught.value))


def test_damaged_and_foreign_keys_are_refused() -> None:
    key = make_key()
    other = keys.new_key_pair()
    bad = [
        ClusterKey("../../etc/passwd", key.node, key.head_public, []),
        ClusterKey(key.cluster_id, KeyPair(other.public, key.node.secret), key.head_public, []),
        ClusterKey(key.cluster_id, KeyPair(b"short", b"short"), key.head_public, []),
        ClusterKey(key.cluster_id, key.node, b"short", []),
        ClusterKey(key.cluster_id, key.node, key.head_public, [], version=99),
    ]
    for one in bad:
        with pytest.raises(KeyFileError):
            keys.decode(keys.encode(one), "test")
    for data in (b"", b"{}", b"\xff", b"null\n"):
        with pytest.raises(KeyFileError, match="no rayhpc cluster key"):
            keys.decode(data, "test")


def test_removing_touches_nothing_else(home: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.touch()
    keys.save(make_key())
    keys.remove("../../../victim")
    assert victim.exists()
