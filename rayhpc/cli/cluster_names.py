"""Whether a word names a launched cluster, where it may name a job as well.

Used by `submit`, `exec`, `attach` and `status`; light, as most calls of these are about jobs.
"""

from __future__ import annotations

import os
from pathlib import Path

_ENDINGS = (".yaml", ".yml")


def is_cluster(word: str) -> bool:
    """Whether it is a cluster's file, or the name of one that was brought up from here."""
    if looks_like_a_file(word):
        return True
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    folder = Path(state, "rayhpc", "clusters")
    return "/" not in word and bool(word) and (folder / word / "cluster.json").is_file()


def looks_like_a_file(word: str) -> bool:
    """Whether a word is a cluster's file, there or not."""
    return word.endswith(_ENDINGS)
