"""An environment with the newest real Ray, made once and kept in a cache outside the repository.

    python3 -m tests.engines.environment

makes it and prints its interpreter; `.ci/run` does so.  Used by the tests of `--engine ray`, which
say why they skip where it has not been made.  Those that take a minute or more beyond that ask
`why_not_all`: they run where RAYHPC_TEST_REAL_RAY=1.  The tests of `rayhpc up` take the files for
clusters that Ray comes with.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.cached_environment import CachedEnvironment, NotThereError

_ALL = "RAYHPC_TEST_REAL_RAY"


def environment() -> CachedEnvironment:
    """The one for this interpreter's version."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(cache, "rayhpc", f"real-ray-{sys.version_info[0]}.{sys.version_info[1]}")
    command = "python3 -m tests.engines.environment"
    return CachedEnvironment("real Ray", "ray[data,tune]", folder, command)


def interpreter() -> Path:
    """The interpreter that has Ray.  Raises NotThereError: it has not been made."""
    return environment().interpreter()


def autoscaler() -> Path:
    """The folder with Ray's own files for clusters, each PROVIDER/defaults.yaml, and their schema.

    Raises NotThereError: it has not been made.
    """
    (found,) = interpreter().parents[1].glob("lib/python*/site-packages/ray/autoscaler")
    return found


def why_not_all() -> str:
    """Why the longest tests of `--engine ray` do not run; empty: they do."""
    if os.environ.get(_ALL) != "1":
        return f"starts the real Ray for long: set {_ALL}=1 to run it"
    try:
        interpreter()
    except NotThereError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    environment().main()
