"""Another interpreter like this one: its options, and that it finds the same rayhpc.

Used by what starts processes: `spawn`, `head_keeper`, `report_process`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def make_importable(environment: dict[str, str]) -> None:
    """Let the new interpreter find the same rayhpc that this one runs, wherever it is."""
    parent = str(Path(__file__).resolve().parents[2])
    installed = parent.endswith(("site-packages", "dist-packages"))
    if installed and parent.startswith((sys.prefix, sys.base_prefix)):
        return  # found anyway; in PYTHONPATH it would come before Python's own modules
    before = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = f"{parent}{os.pathsep}{before}" if before else parent


def interpreter_options() -> list[str]:
    """The options of this interpreter that its workers should have as well."""
    import subprocess  # 2 ms of a node's start, which asks for no interpreter

    # The standard library's own function for this (multiprocessing, test.support).
    options: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return options
