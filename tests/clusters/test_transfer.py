"""Which files travel, what makes them count as changed, and what a machine may send us."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from rayhpc.clusters.patterns import Patterns, files_of
from rayhpc.clusters.transfer import Mount, digest, pack, unpack

NONE = Patterns()


def tree(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


def names(root: Path, patterns: Patterns) -> list[str]:
    return [str(each.relative_to(root)) for each in files_of(root, patterns) if each.is_file()]


def test_rays_usual_patterns(tmp_path: Path) -> None:
    tree(tmp_path, ".git/a", "sub/.git/b", "sub/c", ".gitignore", "sub/d.o", "build/e")
    (tmp_path / ".gitignore").write_text("# objects\n*.o\nbuild/\n")
    patterns = Patterns(("**/.git", "**/.git/**"), (".gitignore",))
    assert names(tmp_path, patterns) == [".gitignore", "sub/c"]


def test_ignore_files_hold_where_they_lie_and_may_take_back(tmp_path: Path) -> None:
    tree(tmp_path, "a.log", "sub/a.log", "sub/keep.log", "sub/deep/x.log", "other/sub/y")
    (tmp_path / "sub/.gitignore").write_text("*.log\n!keep.log\n")
    (tmp_path / ".gitignore").write_text("/other/sub\n")
    patterns = Patterns((), (".gitignore",))
    kept = [each for each in names(tmp_path, patterns) if ".gitignore" not in each]
    assert kept == ["a.log", "sub/keep.log"]


def test_touching_changes_nothing_and_writing_does(tmp_path: Path) -> None:
    tree(tmp_path, "a/b")
    mount = Mount("/there", str(tmp_path))
    before = digest(mount, NONE)
    os.utime(tmp_path / "a/b", (1, 1))
    assert digest(mount, NONE) == before
    (tmp_path / "a/b").write_text("other")
    assert digest(mount, NONE) != before


def sent(path: Path, patterns: Patterns = NONE) -> io.BytesIO:
    stream = io.BytesIO()
    pack(path, patterns, stream)
    stream.seek(0)
    return stream


def test_a_folder_arrives_with_its_links_and_modes(tmp_path: Path) -> None:
    here, there = tree(tmp_path / "here", "a/b"), tmp_path / "there"
    (here / "a/b").chmod(0o755)
    (here / "link").symlink_to("a/b")
    there.mkdir()
    unpack(sent(here), there, None, NONE)
    assert (there / "link").readlink() == Path("a/b")
    assert (there / "link").read_text() == "a/b"
    assert os.access(there / "a/b", os.X_OK)


def test_a_single_file_gets_the_receivers_name(tmp_path: Path) -> None:
    unpack(sent(tree(tmp_path, "a") / "a"), tmp_path, "b", NONE)
    assert (tmp_path / "b").read_text() == "a"


@pytest.mark.parametrize("name", ["../out", "/tmp/out"])
def test_nothing_is_written_outside_the_destination(tmp_path: Path, name: str) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    stream.seek(0)
    with pytest.raises(OSError, match="not below"):
        unpack(stream, tmp_path, None, NONE)


def test_what_is_excluded_is_not_taken_back_either(tmp_path: Path) -> None:
    here, there = tree(tmp_path / "here", ".git/x", "y"), tmp_path / "there"
    there.mkdir()
    unpack(sent(here), there, None, Patterns(("**/.git",)))
    assert sorted(each.name for each in there.iterdir()) == ["y"]
