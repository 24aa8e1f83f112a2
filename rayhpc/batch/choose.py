"""Which batch system serves this machine.

Called by `rayhpc submit`; the verbs for existing jobs take the one that the job was given to.
Looks at PATH and files; asks SLURM itself only where it is installed in an unusual place.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rayhpc.batch.base import Scheduler
from rayhpc.batch.errors import OptionError, SchedulerError
from rayhpc.batch.slurm.commands import attempt

NAMES = ("slurm", "yarn", "local")
_SLURM_CONF = ("/etc/slurm", "/etc/slurm-llnl", "/run/slurm/conf")
_YARN_DIRS = ("YARN_CONF_DIR", "HADOOP_CONF_DIR")
_PING_S = 5.0


@dataclass(frozen=True)
class Choice:
    """A batch system and why it is the one."""

    name: str
    why: str


def choose(
    environ: Mapping[str, str],
    told: str | None = None,
    *,
    which: Callable[[str], str | None] = shutil.which,
) -> Choice:
    """The one that was `told`, else SLURM or YARN where they are, else this machine."""
    if told is not None:
        return Choice(told, "--scheduler")
    sbatch = which("sbatch")
    if sbatch is not None and _is_configured(environ, sbatch):
        return Choice("slurm", f"{sbatch} is there")
    yarn = _yarn_site(environ)
    if yarn is not None:
        return Choice("yarn", f"{yarn} is there")
    if sbatch is not None:
        return Choice("local", f"{sbatch} is there, but SLURM is not configured on this machine")
    return Choice("local", "there is neither sbatch nor a YARN configuration")


def scheduler(name: str) -> Scheduler:
    """The batch system of that name.

    Raises OptionError for one that does not exist or is not served.
    """
    if name == "slurm":
        from rayhpc.batch.slurm.system import Slurm

        return Slurm()
    if name == "local":
        from rayhpc.batch.local.system import Local

        return Local()
    if name == "yarn":
        raise OptionError(
            "this version of rayhpc does not submit to YARN: inside a YARN container start "
            "`rayhpc run` yourself, or use --scheduler local for a cluster on this machine"
        )
    raise OptionError(f"--scheduler takes one of {', '.join(NAMES)}, not {name!r}")


def _is_configured(environ: Mapping[str, str], sbatch: str) -> bool:
    """Whether SLURM's programs know a controller: a configuration file, or their own word."""
    if environ.get("SLURM_CONF"):
        return True
    prefix = Path(os.path.realpath(sbatch)).parent.parent
    places = (*_SLURM_CONF, str(prefix / "etc"), str(prefix / "etc" / "slurm"))
    if any((Path(place) / "slurm.conf").is_file() for place in places):
        return True
    try:
        return attempt(["scontrol", "ping"], seconds=_PING_S).returncode == 0
    except SchedulerError:
        return False


def _yarn_site(environ: Mapping[str, str]) -> Path | None:
    for name in _YARN_DIRS:
        path = Path(environ.get(name) or "/nonexistent") / "yarn-site.xml"
        if path.is_file():
            return path
    return None
