"""`ray.autoscaler.sdk`: requests to an autoscaler; most allocations have a fixed size."""

from __future__ import annotations

import logging
from typing import Any

from rayhpc.api.session.size import want_resources

logger = logging.getLogger("rayhpc")

_warned = False


def request_resources(
    num_cpus: int | None = None,
    bundles: list[dict[str, Any]] | None = None,
    bundle_label_selectors: list[dict[str, str]] | None = None,
) -> None:
    """Resize the cluster to fit; where its size is fixed, warn once per program.

    Jobs on YARN and those of `rayhpc submit --nodes MIN:MAX` grow and shrink; what runs on a node
    that leaves may finish first.

    Args:
        num_cpus: CPUs that the program would like.
        bundles: resources that it would like at the same time.
        bundle_label_selectors: labels for their nodes.
    """
    global _warned
    if want_resources(float(num_cpus or 0), bundles or []):
        return
    if not _warned:
        _warned = True
        logger.warning(
            "request_resources() has no effect: this cluster has a fixed size, the one it was "
            "started with; ask the batch system for more nodes (rayhpc submit --nodes)."
        )


__all__ = ["request_resources"]
