"""How soon SLURM kills what it has told to end: KillWait, from its configuration file.

Read by `launch.drain` and `doctor`.  Never runs a SLURM command, which would be a request to the
controller: nodes and login nodes have the file, or slurmd's copy of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from rayhpc.allocation.fact import Fact

# slurm.conf(5): without a configuration server, with one (slurmd's copy), and Debian's old path.
PLACES = ("etc/slurm/slurm.conf", "run/slurm/conf/slurm.conf", "etc/slurm-llnl/slurm.conf")
DEFAULT_S = 30.0
_DEPTH = 3
_BYTES = 4 << 20
_KILL_WAIT = re.compile(r"(?:^|\s)KillWait\s*=\s*(\d+)", re.IGNORECASE)
_INCLUDE = re.compile(r"\s*include\s+(\S+)", re.IGNORECASE)


def kill_wait(environ: Mapping[str, str], root: Path = Path("/")) -> Fact[float | None]:
    """Seconds between SIGTERM and SIGKILL; None if there is no readable configuration."""
    for path in _candidates(environ, root):
        try:
            lines = list(_lines(path, _DEPTH))
        except OSError:
            continue
        found = [match[1] for line in lines for match in _KILL_WAIT.finditer(line)]
        if found:
            return Fact(float(found[-1]), f"KillWait in {path}")
        return Fact(DEFAULT_S, f"SLURM's default: no KillWait in {path}")
    return Fact(None, "there is no readable slurm.conf here")


def _candidates(environ: Mapping[str, str], root: Path) -> Iterator[Path]:
    if environ.get("SLURM_CONF"):
        yield Path(environ["SLURM_CONF"])
    for place in PLACES:
        yield root / place


def _lines(path: Path, depth: int) -> Iterator[str]:
    """Its lines without comments, with included files inserted in place."""
    with path.open(errors="replace") as file:
        text = file.read(_BYTES)
    for line in re.sub(r"#.*", "", text).splitlines():
        included = _INCLUDE.match(line)
        if included is None:
            yield line
        elif depth:
            try:
                yield from _lines(path.parent / included[1], depth - 1)
            except OSError:
                continue  # a file that not all can read is seldom about this
