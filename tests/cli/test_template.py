"""`rayhpc template`: what there is to copy, by name."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from rayhpc.batch import job_scripts
from rayhpc.cli.main import main
from rayhpc.exit_codes import ExitCode

SCRIPTS = Path(__file__).parents[2] / "slurm"


def _shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["template", *words])
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_the_list_says_what_each_script_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    lines = _shown(capsys, "list").splitlines()
    (job,) = [line for line in lines if line.startswith("  ray_job ")]
    assert job.endswith("Eight nodes, one program")
    assert "  slurm/job.sh.j2" in lines
    assert "ray_gpu" in json.loads(_shown(capsys, "list", "--json"))


@pytest.mark.parametrize("name", job_scripts.names())
def test_a_script_is_shown_as_it_is_and_takes_a_program(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = _shown(capsys, "show", name)
    assert text == (SCRIPTS / f"{name}.sh").read_text()
    assert _shown(capsys, "show", f"{name}.sh") == text
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    assert '"$@"' in text
    # Nothing in it depends on the directory it is started in.
    assert "docs/" not in text
    assert "slurm/" not in text


def test_a_name_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["template", "show", "ray_jobs"])
    assert caught.value.code == ExitCode.CONFIGURATION
    assert "ray_job, " in capsys.readouterr().err


def test_without_a_name_the_template_of_slurm_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    assert "#SBATCH" in _shown(capsys, "show")
