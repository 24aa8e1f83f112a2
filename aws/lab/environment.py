"""An environment with moto, made once and kept in a cache outside the repository (about 300 MB).

    python3 -m aws.lab.environment

makes it and prints its interpreter; `.ci/run` does so.  Used by `lab`.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.cached_environment import CachedEnvironment


def environment() -> CachedEnvironment:
    """It is in $EC2LAB_HOME, or ~/.cache/rayhpc/ec2-lab."""
    told = os.environ.get("EC2LAB_HOME")
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(told) if told else Path(cache, "rayhpc", "ec2-lab")
    return CachedEnvironment(
        "moto", "moto[server,ec2]==5.2.5", folder, "python3 -m aws.lab.environment"
    )


def interpreter() -> Path:
    """The interpreter that has moto.  Raises NotThereError: it has not been made."""
    return environment().interpreter()


if __name__ == "__main__":
    environment().main()
