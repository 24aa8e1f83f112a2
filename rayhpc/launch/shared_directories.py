"""Where the nodes of a job may find each other's files.

Used by `run` for the ranks' rendezvous, and by `elastic` for nodes that are added.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from rayhpc.allocation.allocation import Allocation
from rayhpc.launch.rendezvous import FOLDER
from rayhpc.launch.run_context import JOB_FOLDER


def shared_directories(allocation: Allocation, environ: Mapping[str, str]) -> list[Path]:
    """Directories that the nodes of a job usually share; whether they do is found out by trying."""
    if environ.get(JOB_FOLDER):
        return [Path(environ[JOB_FOLDER], "rendezvous").absolute()]
    if environ.get("RAYHPC_SHARED_DIR"):
        return [Path(environ["RAYHPC_SHARED_DIR"]).absolute() / FOLDER]
    named = [allocation.shared_dir.value, environ.get("HOME")]
    return [Path(each) / FOLDER for each in named if each and os.path.isdir(each)]
