"""Who is chosen on which machine, and what is said about it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from rayhpc.batch.choose import choose
from rayhpc.batch.errors import OptionError


def no_program(name: str) -> None:
    return None


def only(*there: str) -> object:
    return lambda name: f"/opt/bin/{name}" if name in there else None


@pytest.fixture
def hadoop(tmp_path: Path) -> dict[str, str]:
    """A machine with YARN's configuration."""
    (tmp_path / "yarn-site.xml").write_text("<configuration/>")
    return {"HADOOP_CONF_DIR": str(tmp_path)}


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """A machine whose SLURM is configured."""
    (tmp_path / "slurm.conf").write_text("ClusterName=x\nSlurmctldHost=ctl\n")
    return {"SLURM_CONF": str(tmp_path / "slurm.conf")}


def test_a_plain_machine_serves_itself() -> None:
    choice = choose({}, which=no_program)
    assert choice.system.name == "local"
    assert choice.why == "no batch system takes jobs from this machine"


def test_slurm_where_it_is_configured(slurm: dict[str, str]) -> None:
    choice = choose(slurm, which=only("sbatch"))
    assert (choice.system.name, choice.why) == ("slurm", "/opt/bin/sbatch is there")
    choice = choose(slurm, which=no_program)
    assert choice.system.name == "local"


@pytest.mark.parametrize("text", [None, "", "ClusterName=x\n", "#SlurmctldHost=old\n", "\0\xff"])
def test_a_configuration_that_names_no_controller_lies_about(
    tmp_path: Path, text: str | None
) -> None:
    """SLURM's programs would try for a minute to make sense of it."""
    path = tmp_path / "slurm.conf"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    choice = choose({"SLURM_CONF": str(path)}, which=only("sbatch"))
    assert choice.system.name == "local"
    assert "SLURM is not configured on this machine" in choice.why


def test_what_a_configuration_includes_may_name_the_controller(tmp_path: Path) -> None:
    path = tmp_path / "slurm.conf"
    path.write_text("include /etc/slurm/common.conf\n")
    assert choose({"SLURM_CONF": str(path)}, which=only("sbatch")).system.name == "slurm"


def test_programs_without_a_configuration_are_told() -> None:
    choice = choose({}, which=only("sbatch"))
    assert choice.system.name == "local"
    assert "SLURM is not configured on this machine" in choice.why


def test_the_user_has_the_last_word(slurm: dict[str, str]) -> None:
    choice = choose(slurm, "local", which=only("sbatch"))
    assert (choice.system.name, choice.why) == ("local", "--scheduler")
    with pytest.raises(OptionError, match=r"takes one of slurm, .*local, not 'condor'"):
        choose({}, "condor")


def test_a_scheduler_goes_before_the_configuration_of_yarn(
    slurm: dict[str, str], hadoop: dict[str, str]
) -> None:
    choice = choose({**slurm, **hadoop}, which=only("sbatch"))
    assert choice.system.name == "slurm"
    assert choice.why.startswith("/opt/bin/sbatch is there; ")
    assert f"{hadoop['HADOOP_CONF_DIR']}/yarn-site.xml is there" in choice.why


def test_a_folder_without_a_configuration_is_told(tmp_path: Path) -> None:
    choice = choose({"HADOOP_CONF_DIR": str(tmp_path)}, which=only())
    assert choice.system.name == "local"
    assert f"HADOOP_CONF_DIR={tmp_path} has no yarn-site.xml" in choice.why


def test_a_plain_submit_runs_beside_a_configuration_of_yarn(
    hadoop: dict[str, str], tmp_path: Path
) -> None:
    """On a laptop that has one for whatever reason."""
    environ = {**os.environ, **hadoop, "RAYHPC_JOBS": str(tmp_path / "jobs"), "PATH": "/usr/bin"}
    for name in ("SLURM_CONF", "SGE_ROOT", "PBS_CONF_FILE"):
        environ.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-m", "rayhpc.cli.main", "submit", "--", "echo", "it runs"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "it runs\n"
    assert "yarn-site.xml is there" in done.stderr


def test_a_resource_manager_that_answers_is_taken(hadoop: dict[str, str], tmp_path: Path) -> None:
    """One that does not, of a configuration that was left behind, is told."""
    assert choose(hadoop, which=only()).system.name == "local"
    with socket.create_server(("127.0.0.1", 0)) as master:
        port = master.getsockname()[1]
        (tmp_path / "yarn-site.xml").write_text(
            "<configuration><property><name>yarn.resourcemanager.address</name>"
            f"<value>127.0.0.1:{port}</value></property></configuration>"
        )
        choice = choose(hadoop, which=only())
    assert choice.system.name == "yarn"
    assert choice.why.startswith(f"{tmp_path}/yarn-site.xml is there")
    choice = choose(hadoop, which=only())
    assert choice.system.name == "local"
    assert f"no ResourceManager answers at 127.0.0.1:{port}: --scheduler yarn" in choice.why
