"""The command line itself: help, unknown words, wrong values, and the exit codes they end with."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from rayhpc.cli.main import COMMANDS, cli, main
from rayhpc.exit_codes import ExitCode

ROOT = Path(__file__).parents[2]


def ends(args: list[str]) -> int:
    with pytest.raises(SystemExit) as caught:
        main(args)
    code = caught.value.code
    assert isinstance(code, int)
    return code


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)


@pytest.mark.parametrize("name", ["run", "start", "stop", "status", "list", "memory", "doctor"])
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends([name, "--help"]) == 0
    assert "Usage: rayhpc" in capsys.readouterr().out


def test_errors_name_options_that_exist() -> None:
    """Where no other program's options are spoken of, `--x` in a text is an option of ours."""
    ours = {
        word
        for name in COMMANDS
        for option in _command(name).params
        for word in (*option.opts, *option.secondary_opts)
    }
    named = {
        f"{path.name}: {word}"
        for part in ("api", "head", "machine", "raylet", "runtime", "store", "wire")
        for path in (ROOT / "rayhpc" / part).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for word in re.findall(r"(?<![\w-])--[a-z][a-z-]+", node.value)
    }
    pip = {"--disable-pip-version-check", "--no-input", "--python", "--target"}  # and uv
    theirs = {"--overlap", *pip}  # of srun, and of these
    assert named
    assert {each for each in named if each.partition(": ")[2] not in ours | theirs} == set()


def _command(name: str) -> click.Command:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return command


def test_help_imports_no_command() -> None:
    script = (
        "import sys\nfrom rayhpc.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted(m for m in sys.modules if m.startswith('rayhpc.cli.')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "['rayhpc.cli.main']"


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (["statsu"], "did you mean 'status'?"),
        (["xyzzy"], "rayhpc --help"),
        (["start", "--hea"], "--head"),
        (["start"], "--head"),
        (["start", "--head", "--address", "1.2.3.4:5"], "either --head"),
        (["start", "--address", "1.2.3.4:5", "--port", "7"], "--port"),
        (["start", "--address", "nonsense"], "ip:port"),
        (["start", "--head", "--key-file", "-"], "--key-file"),
        (["start", "--head", "--port", "99999"], "--port"),
        (["start", "--head", "--memory", "much"], "--memory"),
        (["start", "--head", "--resources", "disk"], "--resources"),
        (["start", "--head", "--resources", "[1]"], "--resources"),
        (["start", "--head", "--resources", '{"CPU": 1}'], "--num-cpus"),
        (["start", "--head", "--labels", "zone"], "zone=a"),
        (["start", "--head", "--num-cpus", "-1"], "--num-cpus"),
        (["start", "--head", "--port-range", "7"], "20000-20100"),
        (["start", "--head", "--port-range", "20000-20000"], "at least 2"),
        (["start", "--head", "--interface", "none0"], "--interface"),
        (["start", "--head", "--node-ip-address", "203.0.113.9"], "--node-ip-address"),
        (["run", "--rank", "0", "--", "true"], "--rank and --size go together"),
        (["run", "--rank", "3", "--size", "2", "--", "true"], "--rank 3"),
        (["run", "--rank", "0", "--size", "2", "--", "true"], "--rendezvous"),
        (["run", "--nodes", "4", "--", "true"], "rayhpc submit --nodes 4"),
        (["run", "--min-nodes", "2", "--", "true"], "--min-nodes"),
        (["status"], "rayhpc start --head"),
        (["status", "--address", "1.2.3.4:5"], "rayhpc start --address=1.2.3.4:5"),
        (["stop", "--address", "1.2.3.4:5"], "not a node of the cluster"),
        (["stop", "--session", "nobody"], "nobody"),
        (["list", "cats"], "placement-groups"),
    ],
)
def test_wrong_words_are_explained(
    home: Path, args: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends(args) == ExitCode.CONFIGURATION
    assert hint in capsys.readouterr().err


def test_a_cluster_whose_key_is_not_here(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(["start", "--address", "192.0.2.1:6379"]) == ExitCode.PERMISSION
    shown = capsys.readouterr().err
    assert "--key-file -" in shown
    assert "--address=192.0.2.1:6379" in shown


def test_a_session_directory_that_is_unfit(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["start", "--head", "--session-dir", "/proc"]
    assert ends(args) == ExitCode.PERMISSION
    assert "--session-dir" in capsys.readouterr().err


def test_nothing_to_stop(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(["stop"]) == 0
    assert "You have no session running" in capsys.readouterr().out


def test_a_reader_that_has_ended_is_no_error() -> None:
    command = f"{sys.executable} -m rayhpc.cli.main --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "rayhpc:" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("value", ["nan", "-1", "1e300", "inf", "9" * 5000, "soon"])
def test_what_is_no_time_is_named(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["run", "--start-timeout"], ["run", "--drain"], ["stop", "--grace"]):
        assert ends([*words, value]) == ExitCode.CONFIGURATION
        assert words[-1] in capsys.readouterr().err
