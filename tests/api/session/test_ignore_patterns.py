"""Patterns that leave files out mean what they mean in `.gitignore`."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayhpc.api.session.ignore_patterns import Patterns, patterns_in


@pytest.mark.parametrize(
    ("pattern", "left_out", "kept"),
    [
        ("data", ["data", "a/data"], ["data.txt", "mydata"]),
        ("/data", ["data"], ["a/data"]),
        ("a/data", ["a/data"], ["b/a/data", "data"]),
        ("*.bin", ["x.bin", "a/x.bin"], ["x.bin2"]),
        ("a/*.bin", ["a/x.bin"], ["a/b/x.bin", "x.bin"]),
        ("**/logs", ["logs", "a/b/logs"], ["logs2"]),
        ("a/**/z", ["a/z", "a/b/c/z"], ["z", "b/z"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "ab"]),
        ("test_[12]", ["test_1", "x/test_2"], ["test_3"]),
        ("test_[!12]", ["test_3"], ["test_1"]),
        ("x?", ["xy"], ["x", "x/y"]),
        (r"\#notes", ["#notes"], ["notes"]),
        ("[z-a]", ["[z-a]"], ["b"]),
        ("# a comment", [], ["# a comment", "a comment"]),
        ("   ", [], ["   "]),
        ("*", ["a", "a/b"], []),
    ],
)
def test_what_a_pattern_matches(pattern: str, left_out: list[str], kept: list[str]) -> None:
    patterns = Patterns([pattern])
    assert [x for x in left_out + kept if patterns.leaves_out(x, False)] == left_out


def test_a_slash_at_the_end_means_folders_alone() -> None:
    patterns = Patterns(["cache/"])
    assert patterns.leaves_out("a/cache", True)
    assert not patterns.leaves_out("a/cache", False)


def test_the_last_pattern_that_matches_decides() -> None:
    patterns = Patterns(["*.txt", "!keep.txt", "/first/keep.txt"])
    assert patterns.leaves_out("a.txt", False)
    assert not patterns.leaves_out("a/keep.txt", False)
    assert patterns.leaves_out("first/keep.txt", False)


def test_files_with_patterns_count_for_their_folder(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("/here\nanywhere\n")
    (tmp_path / ".rayignore").write_text("large\n")

    def left_out(environ: dict[str, str]) -> list[str]:
        names = ["sub/here", "here", "sub/a/anywhere", "sub/large", "anywhere"]
        found = patterns_in(str(tmp_path), "sub/", environ)
        return [x for x in names if any(p.leaves_out(x, False) for p in found)]

    assert left_out({}) == ["sub/here", "sub/a/anywhere", "sub/large"]
    assert left_out({"RAY_RUNTIME_ENV_IGNORE_GITIGNORE": "1"}) == ["sub/large"]
