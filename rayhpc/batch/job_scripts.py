"""The ready-made job scripts: complete ones, for people who write their own `sbatch` lines.

Used by `rayhpc template`.  In a checkout they are `slurm/*.sh`; the wheel contains them.
"""

from __future__ import annotations

import re
from pathlib import Path

from rayhpc.batch.templates import shipped

_ENDING = ".sh"


def names() -> list[str]:
    """Their names, such as `ray_job`."""
    return sorted(path.stem for path in _folder().glob(f"*{_ENDING}"))


def text_of(name: str) -> str | None:
    """A script by name, with or without its suffix; None if there is none with that name."""
    stem = name.removesuffix(_ENDING)
    return (_folder() / f"{stem}{_ENDING}").read_text() if stem in names() else None


def purpose_of(name: str) -> str:
    """What a script is for: the start of its first comment."""
    lines = (text_of(name) or "").splitlines()[1:]
    comment = " ".join(line.lstrip("# ") for line in lines[:3])
    return re.split(r"[:;]|\. ", comment)[0].rstrip(".")


def _folder() -> Path:
    return shipped("job_scripts")
