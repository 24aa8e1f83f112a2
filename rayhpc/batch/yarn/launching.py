"""The launch context of a container: its files, environment, command and credentials.

Used by `submission` for the ApplicationMaster's container, by the ApplicationMaster for all others.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from rayhpc.batch.yarn.application import (
    LABELS,
    OPTIONS,
    Application,
    Resource,
    encode_options,
)
from rayhpc.batch.yarn.talk import AddRank
from rayhpc.hadoop.messages.launch import (
    ApplicationACLMapProto,
    ContainerLaunchContextProto,
    LocalResourceProto,
    LocalResourceTypeProto,
    LocalResourceVisibilityProto,
    StringLocalResourceMapProto,
    URLProto,
)
from rayhpc.hadoop.messages.records import StringStringMapProto
from rayhpc.hadoop.tokens import Credentials
from rayhpc.wire.feasibility import END_VARIABLE

MASTER = "rayhpc.batch.yarn.master"
CONTAINER = "rayhpc.batch.yarn.container"


def launch_context(
    application: Application,
    module: str,
    resources: Sequence[Resource],
    environment: Mapping[str, str],
    credentials: Credentials,
    acls: Sequence[ApplicationACLMapProto] = (),
) -> ContainerLaunchContextProto:
    """What a NodeManager needs to start `module` in a container."""
    # YARN puts it inside `exec /bin/bash -c "…"`: no double quotes, no $.
    command = f"exec {shlex.quote(application.python)} -m {module}"
    return ContainerLaunchContextProto(
        localResources=[_local(each) for each in resources],
        environment=[
            StringStringMapProto(key=name, value=value) for name, value in environment.items()
        ],
        # Append: a container may be taken over by another attempt.
        command=[f"{command} 1>><LOG_DIR>/stdout 2>><LOG_DIR>/stderr"],
        # Empty bytes would be an error (EOFException).
        tokens=credentials.encode(),
        application_ACLs=list(acls),
    )


#: YARN tells ApplicationMasters alone; an application's lifetime counts from then.
SUBMITTED_MS = "APP_SUBMIT_TIME_ENV"


def container_environment(
    application: Application,
    rank: int,
    memory_mib: int,
    added: AddRank | None = None,
    environ: Mapping[str, str] = {},
) -> dict[str, str]:
    """What YARN does not tell: which rank a container is, what it has, and its node's labels.

    Args:
        application: whose container it is.
        rank: its number.
        memory_mib: its memory.
        added: what was said about it when it was added, if it was.
        environ: the ApplicationMaster's environment, if it is that which asks.
    """
    return {
        **({} if added is None else _of_added(added)),
        **_end(application, environ),
        "RAYHPC_RANK": str(rank),
        # A job that has grown has ranks beyond its initial size.
        "RAYHPC_SIZE": str(max(application.nodes, rank + 1)),
        "RAYHPC_MEMORY_MB": str(memory_mib),
        # From the request: a scheduler that only counts memory answers with 1 vcore.
        "RAYHPC_NUM_CPUS": str(application.vcores),
        "RAYHPC_NUM_GPUS": str(application.gpus),
        "RAYHPC_COUNTS_SHARED": str(int(application.counts_shared)),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        # The container's folder, where archives of modules are unpacked: for -m above.
        "PYTHONPATH": "{{PWD}}<CPS>{{PWD}}/rayhpc-wheel",
    }


def _end(application: Application, environ: Mapping[str, str]) -> dict[str, str]:
    submitted = environ.get(SUBMITTED_MS, "")
    if not application.lifetime_s or not submitted.isdecimal():
        return {}
    return {END_VARIABLE: str(int(submitted) // 1000 + application.lifetime_s)}


def _of_added(added: AddRank) -> dict[str, str]:
    found = {LABELS: ",".join(f"{name}={value}" for name, value in added.labels.items())}
    if added.options is not None:
        found[OPTIONS] = encode_options(added.options)
    return found


def _local(resource: Resource) -> StringLocalResourceMapProto:
    kind = LocalResourceTypeProto.ARCHIVE if resource.archive else LocalResourceTypeProto.FILE
    url = URLProto(
        scheme=resource.scheme,
        host=resource.host or None,
        port=resource.port or None,
        file=resource.path,
    )
    found = LocalResourceProto(
        resource=url,
        size=resource.size,
        timestamp=resource.timestamp,
        type=kind,
        visibility=LocalResourceVisibilityProto.APPLICATION,
    )
    return StringLocalResourceMapProto(key=resource.name, value=found)
