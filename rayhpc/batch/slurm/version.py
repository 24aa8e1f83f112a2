"""The installed SLURM's version, and what its srun supports.

Used before a step is started and by the submit side.  `srun --version` answers without a call to
the controller.  Changes are documented in SLURM's RELEASE_NOTES of the version named.
"""

from __future__ import annotations

import functools
import re
import subprocess
from typing import NamedTuple

_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
_SECONDS = 10.0


class SlurmVersion(NamedTuple):
    """SLURM's year, month and patch level."""

    year: int
    month: int
    patch: int = 0

    @property
    def steps_exclude_each_other(self) -> bool:
        """From 20.11 a step has exclusive use of its resources unless it says --overlap."""
        return self >= (20, 11)

    @property
    def ignores_cpus_of_sbatch(self) -> bool:
        """From 22.05 srun takes --cpus-per-task only from its own options and SRUN_*."""
        return self >= (22, 5)

    @property
    def says_het(self) -> bool:
        """From 20.02 the option is --het-group; before that it was --pack-group."""
        return self >= (20, 2)

    def __str__(self) -> str:
        return f"{self.year}.{self.month:02d}.{self.patch}"


def parse_version(text: str) -> SlurmVersion:
    """The version in `slurm 22.05.8` or `slurm-wlm 22.05.8`.

    Raises ValueError, naming the text, if there is none.
    """
    match = _VERSION.search(text)
    if match is None:
        raise ValueError(f"{text.strip()[:80]!r} does not name a version of SLURM")
    return SlurmVersion(int(match[1]), int(match[2]), int(match[3] or 0))


@functools.cache
def installed_version(program: str = "srun") -> SlurmVersion:
    """The version of the `program` on PATH, queried once.

    Raises FileNotFoundError if it is missing, ValueError if it does not say.
    """
    done = subprocess.run(
        [program, "--version"], capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    return parse_version(done.stdout or done.stderr)
