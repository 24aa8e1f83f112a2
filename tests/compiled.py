"""Bytecode of rayhpc and of what it depends on, for users of labs, who cannot write it there.

Used by the labs, which run programs as users of their own: without it each process of these
compiles all that it imports.  `tests/run` has pip compile nothing, as most of it is never imported.
"""

from __future__ import annotations

import compileall
import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def compile_for_all() -> None:
    """Compile what is not compiled yet."""
    compileall.compile_dir(ROOT / "rayhpc", quiet=2)
    for path in _files_of_dependencies():
        compileall.compile_file(path, quiet=2)


def _files_of_dependencies() -> Iterator[Path]:
    for requirement in importlib.metadata.requires("rayhpc") or ():
        named = re.match(r"[\w.-]+", requirement)
        if named is None or "extra ==" in requirement:
            continue
        try:
            distribution = importlib.metadata.distribution(named[0])
        except importlib.metadata.PackageNotFoundError:
            continue  # for another version of Python, or another processor
        for file in distribution.files or ():
            if file.suffix == ".py" and "tests" not in file.parts:
                yield Path(str(file.locate()))
