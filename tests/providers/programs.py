"""A batch system's programs as scripts that note their words and say what they are told to."""

from __future__ import annotations

from pathlib import Path


class Controller:
    """The programs of one batch system, in a folder that is on PATH."""

    def __init__(self, folder: Path, *names: str) -> None:
        self._folder = folder
        self._log = folder / "log"
        for name in names:
            script = folder / name
            script.write_text(
                f'#!/bin/bash\nprintf "%s" {name} >>{self._log}; printf " %s" "$@" >>{self._log}\n'
                f"echo >>{self._log}\n"
                f"[ -e {folder}/{name}.out ] && cat {folder}/{name}.out\n"
                f"[ -e {folder}/{name}.err ] && cat {folder}/{name}.err >&2 && exit 1\nexit 0\n"
            )
            script.chmod(0o755)

    def says(self, program: str, text: str) -> None:
        (self._folder / f"{program}.out").write_text(text + "\n")

    def fails(self, program: str, text: str) -> None:
        (self._folder / f"{program}.err").write_text(text + "\n")

    def heard(self) -> list[str]:
        """What was run since the last time."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        self._log.write_text("")
        return lines
