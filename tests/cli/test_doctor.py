"""`rayhpc doctor`: each fact with its source, and the warnings."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from rayhpc.cli.doctor import doctor, examine

STEP = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_ID": "0",
    "SLURM_CPUS_ON_NODE": "1",
    "SLURM_JOB_CPUS_PER_NODE": "8",
    "SLURM_JOB_NODELIST": "n1",
    "SLURMD_NODENAME": "n1",
}


def shown(environ: dict[str, str], *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(doctor, words, env=environ)
    return done.exit_code, done.output


def test_how_long_last_words_may_take(tmp_path: Path) -> None:
    path = tmp_path / "slurm.conf"
    path.write_text("KillWait=8\n")
    environ = {**STEP, "SLURM_CONF": str(path)}
    _, text = shown(environ, "--json")
    facts = json.loads(text)["allocation"]
    assert facts["KillWait"]["value"] == 8
    assert facts["KillWait"]["source"] == f"KillWait in {path}"
    assert facts["time after SIGTERM"]["value"] == pytest.approx(4.8)
    assert facts["time after SIGTERM"]["source"] == "KillWait"
    _, text = shown(environ)
    assert "8 s" in text
    assert "4.8 s" in text


def test_every_fact_has_a_source(home: Path) -> None:
    code, text = shown({}, "--json")
    assert code == 0
    document = json.loads(text)
    document.pop("warnings")
    facts = [(section, name) for section, found in document.items() for name in found]
    assert all(document[section][name]["source"] for section, name in facts)
    assert document["node"]["CPUs"]["value"] <= len(os.sched_getaffinity(0))
    assert document["software"]["CURVE"]["value"] is True
    assert document["network"]


def test_the_page_names_who_decided(home: Path) -> None:
    code, text = shown({**STEP, "COLUMNS": "160"})
    assert code == 0
    assert "SLURM_CPUS_ON_NODE" in text
    assert "object store memory" in text


def test_a_variable_that_cannot_be_read_is_named(home: Path) -> None:
    code, text = shown({**STEP, "SLURM_PROCID": "x"})
    assert code != 0
    assert "SLURM_PROCID" in text


def test_looking_makes_no_directory(home: Path) -> None:
    examine(dict(os.environ))
    assert list(home.iterdir()) == []


def test_a_step_smaller_than_its_allocation_is_warned_about(home: Path) -> None:
    report = examine({**os.environ, **STEP})
    assert any("SRUN_CPUS_PER_TASK=8" in sentence for sentence in report.warnings)
    assert not any("SRUN_CPUS_PER_TASK" in each for each in examine(dict(os.environ)).warnings)


@pytest.mark.parametrize("cpus", ["2", "1"])
def test_the_scheduler_bounds_the_node(home: Path, cpus: str) -> None:
    (row, *_) = examine({**os.environ, **STEP, "SLURM_CPUS_ON_NODE": cpus}).rows
    assert row.fact.value == min(int(cpus), len(os.sched_getaffinity(0)))
