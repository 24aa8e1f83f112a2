"""How long a program may go on: KillWait as SLURM's configuration has it, and what follows."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from rayhpc.batch.registry import system
from rayhpc.batch.slurm.kill_wait import DEFAULT_S, PLACES, kill_wait
from rayhpc.launch.drain import USUAL_S, decide


def conf(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("ClusterName=x\nKillWait=8\n", 8.0),
        ("MessageTimeout=10  killwait = 12 # KillWait=99\n", 12.0),
        ("KillWait=8\nKillWait=9\n", 9.0),
        ("#KillWait=8\nUnkillableStepTimeout=60\n", DEFAULT_S),
        ("", DEFAULT_S),
    ],
)
def test_it_is_read_as_slurm_reads_it(tmp_path: Path, text: str, seconds: float) -> None:
    path = conf(tmp_path / "slurm.conf", text)
    found = kill_wait({"SLURM_CONF": str(path)}, tmp_path)
    assert found.value == seconds
    assert str(path) in found.source


@pytest.mark.parametrize("place", PLACES)
def test_where_it_is_looked_for(tmp_path: Path, place: str) -> None:
    path = conf(tmp_path / place, "KillWait=7\n")
    found = kill_wait({"SLURM_CONF": "/no/such/slurm.conf"}, tmp_path)
    assert (found.value, found.source) == (7.0, f"KillWait in {path}")


def test_included_files_count(tmp_path: Path) -> None:
    path = conf(tmp_path / "slurm.conf", "Include more/times.conf\ninclude /no/such/file\n")
    conf(tmp_path / "more" / "times.conf", "KillWait=6\nInclude times.conf\n")
    assert kill_wait({"SLURM_CONF": str(path)}, tmp_path).value == 6.0
    conf(path, f"Include {path}\n")
    assert kill_wait({"SLURM_CONF": str(path)}, tmp_path).value == DEFAULT_S


def test_without_a_file_nobody_says(tmp_path: Path) -> None:
    assert kill_wait({}, tmp_path).value is None


@pytest.mark.parametrize(
    ("wait", "seconds"), [(300, 25.0), (30, 25.0), (20, 15.0), (8, 4.8), (5, 3.0), (0, 0.0)]
)
def test_the_program_has_less_where_slurm_kills_sooner(
    tmp_path: Path, wait: int, seconds: float
) -> None:
    environ = {"SLURM_CONF": str(conf(tmp_path / "slurm.conf", f"KillWait={wait}\n"))}
    drain = decide(None, system("slurm"), environ)
    assert drain.after(signal.SIGTERM) == pytest.approx(seconds)
    # The ranks without the program are gone by then, too.
    assert drain.after(signal.SIGTERM) + drain.later <= wait
    # No SIGKILL follows a warning.
    assert drain.after(signal.SIGUSR1) == USUAL_S
    assert drain.advice == []
    assert decide(None, system("local"), environ).after(signal.SIGTERM) == USUAL_S


def test_what_the_user_says_holds_and_too_much_is_told(tmp_path: Path) -> None:
    environ = {"SLURM_CONF": str(conf(tmp_path / "slurm.conf", "KillWait=8\n"))}
    drain = decide(60.0, system("slurm"), environ)
    assert (drain.after(signal.SIGTERM), drain.after(signal.SIGUSR1)) == (60.0, 60.0)
    (sentence,) = drain.advice
    assert "--drain is 60 s, but SLURM kills 8 s after" in sentence
    assert decide(3.0, system("slurm"), environ).advice == []
    assert decide(60.0, system("local"), environ).advice == []
