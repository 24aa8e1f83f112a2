"""The engine that the user names with `--engine`.

Used by the ranks (`head_rank`, `node_rank`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rayhpc.launch.engines.engine import REAL_RAY, Engine

if TYPE_CHECKING:
    from rayhpc.launch.run_context import RunContext


def engine_of(run: RunContext) -> Engine:
    """The engine for this rank; its process is already starting.

    Raises:
        LaunchError: the real Ray is wanted, and none is installed.
    """
    if run.options.engine == REAL_RAY:
        from rayhpc.launch.engines.real_ray import RealRay

        return RealRay(run)
    from rayhpc.launch.engines.own import OwnEngine

    return OwnEngine(run)
