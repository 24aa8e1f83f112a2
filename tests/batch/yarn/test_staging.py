"""Staging through a shared directory and through an `hdfs` command; WebHDFS has the real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayhpc.batch.errors import OptionError, SchedulerError
from rayhpc.batch.yarn.staging import HdfsCommand, SharedDirectory
from rayhpc.hadoop.configuration import Configuration

# `hdfs dfs` on a directory of this machine, with a line of log as some sites have it.
HDFS = """#!/bin/bash
shift
verb=$1; shift
for last; do :; done
case $last in /*) ;; *) last=/user/u/$last ;; esac
file=$HDFS_ROOT$last
echo "INFO something about nothing"
case $verb in
-mkdir) mkdir -p "$file" ;;
-chmod) chmod "$1" "$file" ;;
-put) if [ "$2" = - ]; then cat > "$file"; else cp "$2" "$file"; fi ;;
-stat) stat -c "$(sed 's/%u/u/; s/%b/%s/; s/%Y/%Y000/' <<< "$1")" "$file" ;;
-rm) rm -r "$file" ;;
esac
"""


@pytest.fixture
def hdfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of what stands for HDFS."""
    (tmp_path / "hdfs").write_text(HDFS)
    (tmp_path / "hdfs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.setenv("HDFS_ROOT", str(root))
    return root


def test_the_hdfs_command(hdfs: Path, tmp_path: Path) -> None:
    place = HdfsCommand(Configuration({"fs.defaultFS": "hdfs://nn:9"}), ".rayhpc/app")
    found = place.put("a.json", b"12345")
    assert (found.scheme, found.host, found.port) == ("hdfs", "nn", 9)
    assert found.path == "/user/u/.rayhpc/app/a.json"
    assert found.size == 5
    assert found.timestamp % 1000 == 0
    (tmp_path / "lib.zip").write_bytes(b"xyz")
    unpacked = place.put_file("lib", tmp_path / "lib.zip", True)
    assert (unpacked.name, unpacked.archive) == ("lib", True)
    assert unpacked.path.endswith("/app/lib.zip")
    folder = hdfs / "user/u/.rayhpc/app"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in folder.iterdir()) == ["a.json", "lib.zip"]
    place.remove()
    assert not folder.exists()
    elsewhere = {"fs.defaultFS": "hdfs://nn:9", "dfs.user.home.dir.prefix": "/home"}
    found = HdfsCommand(Configuration(elsewhere), ".rayhpc/app").put("a.json", b"")
    assert found.path == "/home/u/.rayhpc/app/a.json"


def test_a_wheel_gets_a_name_by_which_yarn_unpacks_it(tmp_path: Path) -> None:
    (tmp_path / "some-1.whl").write_bytes(b"xyz")
    place = SharedDirectory(tmp_path / "staged")
    found = place.put_file("wheel", tmp_path / "some-1.whl", True)
    assert (found.name, found.path) == ("wheel", str(tmp_path / "staged" / "wheel.zip"))
    place.remove()
    assert (tmp_path / "some-1.whl").exists()


def test_the_hdfs_commands_own_words_are_passed_on(hdfs: Path) -> None:
    hdfs.chmod(0o700)
    (hdfs / "user").write_text("in the way")
    place = HdfsCommand(Configuration({"fs.defaultFS": "hdfs://nn:9"}), "/user/u/app")
    with pytest.raises(SchedulerError, match=r"hdfs dfs -mkdir: mkdir: cannot create directory"):
        place.put("a", b"")


def test_without_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OptionError, match="needs the `hdfs` command on PATH"):
        HdfsCommand(Configuration({}), "x")


def test_a_shared_directory(tmp_path: Path) -> None:
    place = SharedDirectory(tmp_path / "staged")
    found = place.put("a", b"123")
    assert found.path == str(tmp_path / "staged" / "a")
    assert Path(found.path).stat().st_mode & 0o777 == 0o600
    own = tmp_path / "own.txt"
    own.write_text("x")
    assert place.put_file("b", own, False).path == str(own)
    place.remove()
    assert own.exists()
    assert not (tmp_path / "staged").exists()
