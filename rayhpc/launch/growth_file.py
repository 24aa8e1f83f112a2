"""What `rayhpc up` tells the head of a cluster that grows, and what the head tells later commands.

Written and read in the cluster's own folder, which the head, the commands and (on a place with a
shared file system) the workers' machines see.  `up` writes the growth file before it starts the
head; the head writes its note when it serves.  Neither has a secret in it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from rayhpc.elastic.types import NodeType
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.machine import whole_file

GROWTH, HEAD, KEY = "growth.json", "head.json", "key"


class GrowthFile(msgspec.Struct, frozen=True, kw_only=True):
    """How a cluster grows.

    Attributes:
        cluster: its name.
        provider: the name of the kind of place that its machines come from.
        options: what its YAML says about that place.
        types: its workers' types.
        most: how many workers of all types together there may be.
        work_dir: where programs run.
        head: how the head is started, so that a change is noticed.
    """

    cluster: str
    provider: str
    options: dict[str, Any]
    types: list[NodeType]
    most: int
    work_dir: str
    head: list[str] = []


class HeadNote(msgspec.Struct, frozen=True, kw_only=True):
    """Where a head serves: its address, machine, session, and the batch job, if any."""

    address: str
    node_ip: str
    hostname: str
    session_dir: str
    job: str = ""


def provider_name(cluster: str) -> str:
    """What a cluster's machines are called at their place: unique among its user's."""
    return f"rayhpc-{cluster}"


def write_growth(folder: Path, growth: GrowthFile) -> Path:
    """Write the growth file; returns its path.  Raises OSError."""
    path = folder / GROWTH
    whole_file.write(path, msgspec.json.format(msgspec.json.encode(growth)))
    return path


def read_growth(path: Path) -> GrowthFile:
    """Read it.

    Raises:
        LaunchError: it is not there, or is none.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=GrowthFile)
    except OSError as error:
        raise LaunchError(f"{path}: {error.strerror}", ExitCode.CONFIGURATION) from None
    except msgspec.DecodeError as error:
        text = f"{path} does not say how a cluster grows: {error}"
        raise LaunchError(text, ExitCode.CONFIGURATION) from None


def growth_in(folder: Path) -> GrowthFile | None:
    """The growth file of a cluster's folder; None: there is none that can be read."""
    try:
        return read_growth(folder / GROWTH)
    except LaunchError:
        return None


def write_note(folder: Path, note: HeadNote) -> None:
    """Say where the head is.  Raises OSError."""
    whole_file.write(folder / HEAD, msgspec.json.encode(note))


def read_note(folder: Path) -> HeadNote | None:
    """Where the head is; None: it has not said so.

    The folder is listed first: NFS caches that a name was missing.
    """
    try:
        if HEAD not in os.listdir(folder):
            return None
        return msgspec.json.decode((folder / HEAD).read_bytes(), type=HeadNote)
    except (OSError, msgspec.DecodeError):
        return None
