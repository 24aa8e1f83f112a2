"""Runs the programs and reads what they print.  Used by `test_conformance` and `record`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
EXPECTED = HERE / "expected"
HEADER = "== "
LINE = "| "


def names() -> list[str]:
    """The programs there are."""
    return sorted(x.stem for x in PROGRAMS.glob("*.py") if x.stem != "observing")


def run(python: str, name: str, environ: Mapping[str, str], cwd: Path, *cases: str) -> str:
    """What a program prints; what it says beside that goes to our standard error."""
    done = subprocess.run(
        [python, str(PROGRAMS / f"{name}.py"), *cases],
        env={**os.environ, **environ},
        cwd=cwd,
        stdout=subprocess.PIPE,
        text=True,
        timeout=1500,
        check=False,
    )
    end = "" if done.returncode == 0 else f"{LINE}program ended with {done.returncode}\n"
    # Beside observations Ray's daemons and workers print what they like.
    kept = [x for x in done.stdout.splitlines(True) if x.startswith((HEADER, LINE))]
    return "".join(kept) + end


def by_case(output: str) -> dict[str, list[str]]:
    """Case → its lines; what precedes the first case stands under the empty name."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in output.splitlines():
        if line.startswith(HEADER):
            name = line[len(HEADER) :]
            found[name] = []
        else:
            found.setdefault(name, []).append(line[len(LINE) :])
    return found


def expected(name: str) -> dict[str, list[str]]:
    """What the real Ray makes of a program."""
    return by_case((EXPECTED / f"{name}.txt").read_text())
