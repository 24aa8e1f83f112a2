"""What a cluster's YAML says that a node has, as options of `rayhpc start` and `rayhpc run`.

Used on machines that `up` has set up, and for heads that are batch jobs.  Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

# Resources that have options of their own.
_OPTIONS = {
    "CPU": "--num-cpus",
    "GPU": "--num-gpus",
    "memory": "--memory",
    "object_store_memory": "--object-store-memory",
}


def node_words(resources: Mapping[str, float], labels: Mapping[str, str]) -> dict[str, str]:
    """The options, and the value of each."""
    others = dict(resources)
    words = {}
    for name, option in _OPTIONS.items():
        amount = others.pop(name, None)
        if amount is not None:
            words[option] = f"{amount:.0f}"
    if others:
        words["--resources"] = json.dumps(others)
    if labels:
        words["--labels"] = json.dumps(dict(labels))
    return words
