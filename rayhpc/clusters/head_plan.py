"""What the head must know to add and end a cluster's workers itself, as a file on its machine.

Written by `rayhpc _machine adopt` with what `rayhpc up` sends, read by `cli.keeping`.  It holds no
credentials and no private key: the head's are its machine's role, and a key pair of its own.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from rayhpc.clusters.read import ClusterFile, read
from rayhpc.clusters.schema import Auth, ClusterConfig
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.machine import whole_file
from rayhpc.providers.machines import MachineKind

_NAME = "growing.json"


class HeadPlan(msgspec.Struct, frozen=True):
    """The cluster's file as it holds on the head, and the public key of whoever has it."""

    config: ClusterConfig
    users_key: str


def encode(config: ClusterConfig, kind: MachineKind, users_key: str) -> bytes:
    """The plan as one line.

    Files that are copied to machines are taken from where they were copied to on the head.

    Args:
        config: what the file says here, with its options of `up`.
        kind: the place.
        users_key: the public key that machines let in.
    """
    there = msgspec.structs.replace(
        config,
        provider=kind.options_there(config.provider),
        auth=Auth(ssh_user=config.auth.ssh_user),
        file_mounts={theirs: theirs for theirs in config.file_mounts},
    )
    return msgspec.json.encode(HeadPlan(there, users_key))


def write(folder: Path, plan: bytes) -> None:
    """Keep a plan in the cluster's folder, for its user alone.  Raises LaunchError, OSError."""
    _decoded(plan)
    whole_file.write(folder / _NAME, plan)


def load(folder: Path) -> tuple[ClusterFile, str]:
    """The cluster's file and the user's public key.

    Raises:
        LaunchError: there is none that can be read.
    """
    path = folder / _NAME
    try:
        plan = _decoded(path.read_bytes())
    except OSError as error:
        raise LaunchError(
            f"{path} cannot be read ({error.strerror}): `rayhpc up` writes it",
            ExitCode.CONFIGURATION,
        ) from None
    return read(msgspec.json.encode(plan.config).decode(), str(path)), plan.users_key


def _decoded(plan: bytes) -> HeadPlan:
    try:
        return msgspec.json.decode(plan, type=HeadPlan)
    except msgspec.DecodeError as error:
        raise LaunchError(
            f"this is no plan for a head ({error}): bring the cluster up with the rayhpc that its "
            "machines have",
            ExitCode.CONFIGURATION,
        ) from None
