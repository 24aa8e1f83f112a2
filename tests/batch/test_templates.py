"""Templates: quoted by themselves, and never filled in by half."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayhpc.batch import templates
from rayhpc.batch.errors import OptionError


def test_every_value_is_quoted_unless_it_asks_not_to_be(tmp_path: Path) -> None:
    own = tmp_path / "own.j2"
    own.write_text("{{ one }} {{ several }} {{ one | verbatim }} {{ 3 }}\n")
    made = templates.render(own, {"one": "a'b;c", "several": ["x y", "z"]})
    assert made == "'a'\"'\"'b;c' 'x y' z a'b;c 3\n"


def test_an_unknown_name_is_named_with_its_line(tmp_path: Path) -> None:
    own = tmp_path / "own.j2"
    own.write_text("fine\n{{ nodse }}\n")
    with pytest.raises(OptionError, match=r"own\.j2:2: 'nodse' is undefined; known are nodes"):
        templates.render(own, {"nodes": 3})


def test_an_unknown_attribute_is_an_error_too(tmp_path: Path) -> None:
    own = tmp_path / "own.j2"
    own.write_text("{{ job.partitoin }}")
    with pytest.raises(OptionError, match="partitoin"):
        templates.render(own, {"job": object()})


def test_broken_syntax_is_named_with_its_line(tmp_path: Path) -> None:
    own = tmp_path / "own.j2"
    own.write_text("fine\n{% if %}\n")
    with pytest.raises(OptionError, match=r"own\.j2:2"):
        templates.render(own, {})


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_template_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    own = tmp_path / "own.j2"
    if content is not None:
        own.write_bytes(content)
    with pytest.raises(OptionError, match="--template"):
        templates.render(own, {})


def test_own_templates_may_use_the_shipped_parts(tmp_path: Path) -> None:
    own = tmp_path / "own.j2"
    own.write_text("{% include 'common/launch.sh.j2' %}")
    made = templates.render(own, {"container": None, "launcher": ["rayhpc"]})
    assert made.strip() == "rayhpc run"


def test_what_is_shipped() -> None:
    assert "slurm/job.sh.j2" in templates.names()
    assert "local/job.sh.j2" in templates.names()
    assert templates.source("slurm/job.sh.j2").startswith("#!/bin/bash")
    with pytest.raises(OptionError, match=r"slurm/job\.sh\.j2"):
        templates.source("slurm/jop.sh.j2")
    assert (templates.shipped("profiles") / "generic.toml").is_file()
