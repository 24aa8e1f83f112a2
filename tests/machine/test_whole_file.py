"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rayhpc.machine import whole_file


def test_a_file_takes_the_place_of_another(tmp_path: Path) -> None:
    place = tmp_path / "report"
    for data in (b"first", b"second"):
        whole_file.write(place, data)
        assert place.read_bytes() == data
    assert place.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["report"]


def test_what_cannot_be_written_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    nowhere = tmp_path / "missing" / "report"
    with pytest.raises(FileNotFoundError) as caught:
        whole_file.write(nowhere, b"data")
    assert caught.value.filename == str(nowhere)
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(IsADirectoryError) as taken:
        whole_file.write(folder, b"data")
    assert taken.value.filename == str(folder)
    assert os.listdir(tmp_path) == ["folder"]
    with pytest.raises(NotADirectoryError) as under_a_file:
        whole_file.write(Path(__file__) / "report", b"data")
    assert under_a_file.value.filename == f"{__file__}/report"
