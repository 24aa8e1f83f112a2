"""Names and tags of a cluster's machines at a place that makes them.  Used by the clouds.  Pure."""

from __future__ import annotations

import hashlib
import re

# Tags (labels, at Google) that a machine is found again by.
CLUSTER, MACHINE, TYPE = "rayhpc-cluster", "rayhpc-machine", "rayhpc-node-type"
MADE_OF, OWNER, LEASE = "rayhpc-made-of", "rayhpc-owner", "rayhpc-lease"


def name_at(cluster: str, machine: str) -> str:
    """The name of a machine at its place: the same one for the same machine, so there is only one.

    Small letters, digits and `-`, at most 63.
    """
    words = re.sub(r"[^a-z0-9]+", "-", f"rayhpc-{cluster}-{machine}".lower())
    return f"{words[:54].rstrip('-')}-{short_hash(f'{cluster}/{machine}')}"


def short_hash(text: str) -> str:
    """Tells apart names that look alike once they are shortened: eight digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]
