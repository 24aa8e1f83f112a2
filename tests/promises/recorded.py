"""Environments recorded inside a real SLURM 22.05, by the title of their section.

Read by the promises about what an allocation is; `slurm_environment.txt` tells how it was made.
"""

from __future__ import annotations

from pathlib import Path

_FILE = Path(__file__).with_name("slurm_environment.txt")

BATCH = "BATCH SCRIPT ENV"
STEP = "SRUN (inherits"
ONE_NODE = "SRUN on one node"
EXACT = "SRUN worker nodes"
TWO_A_NODE = "SRUN 2 tasks per node"
LOGIN = "srun straight"
SALLOC = "salloc shell"


def recorded(section: str, task: int | None = None) -> dict[str, str]:
    """The variables of a section; of one task where each line names its task."""
    found: dict[str, str] = {}
    inside = False
    for line in _FILE.read_text().splitlines():
        if line.startswith("====="):
            inside = line.startswith(f"===== {section}")
            continue
        prefix = "" if task is None else f"{task}: "
        name, equals, value = line.removeprefix(prefix).partition("=")
        if inside and line.startswith(prefix) and equals and name.replace("_", "").isalnum():
            found[name] = value
    assert found, section
    return found
