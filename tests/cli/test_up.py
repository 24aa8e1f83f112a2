"""The commands for launched clusters, as far as no machine is needed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from rayhpc.cli import on_head
from rayhpc.cli.main import cli as commands
from rayhpc.clusters.errors import NotServedError
from rayhpc.exit_codes import ExitCode
from tests.cli.shell import Shell
from tests.clusters import files


@pytest.fixture
def state(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    return home / "state"


def test_a_dry_run_shows_what_a_cloud_would_be_asked_for(
    shell: Shell, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It cannot be asked itself: no credentials, and nobody here who gives any.
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(shell.home))
    file = shell.home / "c.yaml"
    file.write_text(files.AWS_FULL)
    done = shell("up", "--dry-run", str(file))
    assert done.returncode == 0, done.stderr
    head, worker = done.stdout.splitlines()[1:]
    assert head.split(None, 3) == [
        *("ray.head.default", "head", "start", "would ask for a machine m6i.large")
    ]
    assert worker.split(None, 4)[:4] == ["ray.worker.default", "1", "worker", "start"]
    assert "docker (line 5) has no effect" in done.stderr
    assert not state.exists()


@pytest.mark.parametrize("words", [["up", "-y"], ["up", "--dry-run"], ["down", "-y"]])
@pytest.mark.parametrize("provider", ["vsphere", "pbs"])
def test_a_provider_that_is_not_served_is_named_with_what_is(
    home: Path, state: Path, words: list[str], provider: str
) -> None:
    file = home / "c.yaml"
    file.write_text(f"cluster_name: x\nprovider: {{type: {provider}}}\n")
    done = CliRunner().invoke(commands, [*words, str(file)])
    assert isinstance(done.exception, NotServedError)
    said = str(done.exception)
    begin = f"{file}, line 2: rayhpc brings up no machines of provider '{provider}' yet; it serves "
    assert said.startswith(f"{begin}local and ssh, a list of machines that you can log in to, and ")
    assert "did you mean" not in said
    assert " pbs" not in said
    assert done.output == ""


def test_a_provider_that_is_misspelt(shell: Shell, state: Path) -> None:
    file = shell.home / "c.yaml"
    file.write_text("cluster_name: x\nprovider: {type: kuberntes}\n")
    done = shell("up", "-y", str(file))
    assert done.returncode == ExitCode.CONFIGURATION
    assert "'kuberntes' (did you mean 'kubernetes'?)" in done.stderr


def test_a_name_that_was_never_brought_up(shell: Shell, state: Path) -> None:
    done = shell("down", "-y", "nowhere")
    assert done.returncode == ExitCode.CONFIGURATION
    assert "no cluster 'nowhere' was brought up from here: name its YAML file" in done.stderr


def test_without_a_terminal_nothing_is_done_unasked(shell: Shell, state: Path) -> None:
    file = shell.home / "c.yaml"
    file.write_text(files.LOCAL_MINIMAL)
    done = shell("down", str(file), stdin=-3)
    assert done.returncode == ExitCode.CONFIGURATION
    assert "add -y to go ahead" in done.stderr


def test_more_workers_than_machines(shell: Shell, state: Path) -> None:
    file = shell.home / "c.yaml"
    file.write_text(files.LOCAL_MINIMAL + "min_workers: 3\n")
    done = shell("up", "-y", str(file))
    assert done.returncode == ExitCode.CONFIGURATION
    assert "line 8: min_workers is 3, and the list has 2 machines" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["exec", "--tmux", "last", "--", "true"],
        ["attach", "--screen", "last"],
        ["submit", "--stop", "x.py"],
    ],
)
def test_options_for_launched_clusters_are_for_these(
    shell: Shell, state: Path, words: list[str]
) -> None:
    done = shell(*words)
    assert done.returncode == ExitCode.CONFIGURATION
    assert "clusters that `rayhpc up` has made" in done.stderr


def test_options_behind_the_command_are_ours_unless_it_says_where_it_begins() -> None:
    switches: set[str] = set()
    words = on_head.without_switches(["python x.py", "--stop", "--tmux"], switches)
    assert (words, switches) == (["python x.py"], {"--stop", "--tmux"})
    words = on_head.without_switches(["--start", "python x.py", "--stop"], switches)
    assert (words, switches) == (["python x.py"], {"--start", "--stop", "--tmux"})
    switches.clear()
    words = on_head.without_switches(["--", "sh", "x", "--stop"], switches)
    assert (words, switches) == (["sh", "x", "--stop"], set())


def test_the_hidden_command_is_in_no_help(shell: Shell) -> None:
    assert "_machine" not in shell("--help").stdout
    done = shell("_machine", "stop")
    assert done.returncode == ExitCode.CONFIGURATION
    assert "RAYHPC_UP is missing" in done.stderr
    assert sys.executable not in done.stderr


BATCH = """\
cluster_name: demo
provider: {{type: slurm, head: {head}}}
head_node_type: head
available_node_types: {{head: {{}}, worker: {{}}}}
"""


@pytest.mark.parametrize(
    ("head", "program", "said", "code"),
    [
        ("here", "squeue", "Unable to contact slurm controller", ExitCode.SCHEDULER),
        ("{login: nowhere}", "ssh", "Could not resolve hostname nowhere", ExitCode.HEAD_LOST),
    ],
)
def test_where_nothing_can_be_started_nothing_is_left(
    shell: Shell, state: Path, monkeypatch: pytest.MonkeyPatch,
    head: str, program: str, said: str, code: ExitCode,
) -> None:  # fmt: skip
    programs = shell.home / "bin"
    programs.mkdir()
    for name in ("squeue", "scontrol", "sbatch", "scancel", program):
        failing = f"echo '{said}' >&2; exit {255 if name == 'ssh' else 1}"
        (programs / name).write_text(f"#!/bin/sh\n{failing if name == program else ''}\n")
        (programs / name).chmod(0o700)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    file = shell.home / "c.yaml"
    file.write_text(BATCH.format(head=head))
    done = shell("up", "-y", str(file))
    assert said in done.stderr
    assert done.returncode == code
    left = [x.name for x in (state / "rayhpc/clusters/demo").iterdir()]
    assert not {"cluster.json", "growth"} & {*left}, left
