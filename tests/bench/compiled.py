"""Compiles the package before a start is measured, as pip does when it installs a wheel.

Used by the benchmarks of starts.  Without bytecode (PYTHONDONTWRITEBYTECODE, a checkout that nobody
may write to) every process compiles the modules it loads, which doubles what a start costs.
"""

from __future__ import annotations

import compileall
from pathlib import Path

import rayhpc


def compile_package() -> None:
    """Write the bytecode of all modules; those that are up to date stay.

    Raises:
        SystemExit: it cannot be written.
    """
    if not compileall.compile_dir(Path(rayhpc.__file__).parent, quiet=1):
        raise SystemExit("rayhpc cannot be compiled where it is: starts would take twice as long")
