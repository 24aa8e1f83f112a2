"""Application and container ids, as YARN writes them.

    application_1795374369437_0001
    container_e17_1795374369437_0001_01_000002

The epoch (e17) counts the ResourceManager's restarts and is left out while it is 0.
"""

from __future__ import annotations

import re

from rayhpc.hadoop.messages.records import (
    ApplicationAttemptIdProto,
    ApplicationIdProto,
    ContainerIdProto,
)

_APPLICATION = re.compile(r"application_(\d+)_(\d+)")
_CONTAINER = re.compile(r"container_(?:e(\d+)_)?(\d+)_(\d+)_(\d+)_(\d+)")
_EPOCH_BITS = 40


def application_name(message: ApplicationIdProto) -> str:
    """An application's id as text."""
    return f"application_{message.cluster_timestamp}_{message.id:04}"


def parse_application(text: str) -> ApplicationIdProto:
    """An application's id from text.  Raises ValueError for any other text."""
    match = _APPLICATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not the id of a YARN application (application_…_…)")
    return ApplicationIdProto(cluster_timestamp=int(match[1]), id=int(match[2]))


def container_name(message: ContainerIdProto) -> str:
    """A container's id as text."""
    attempt = message.app_attempt_id or ApplicationAttemptIdProto()
    application = attempt.application_id or ApplicationIdProto()
    epoch = message.id >> _EPOCH_BITS
    number = message.id & ((1 << _EPOCH_BITS) - 1)
    return (
        f"container_{f'e{epoch:02}_' if epoch else ''}{application.cluster_timestamp}_"
        f"{application.id:04}_{attempt.attemptId:02}_{number:06}"
    )


def parse_container(text: str) -> ContainerIdProto:
    """A container's id from text.  Raises ValueError for any other text."""
    match = _CONTAINER.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not the id of a YARN container (container_…)")
    application = ApplicationIdProto(cluster_timestamp=int(match[2]), id=int(match[3]))
    return ContainerIdProto(
        app_id=application,
        app_attempt_id=ApplicationAttemptIdProto(
            application_id=application, attemptId=int(match[4])
        ),
        id=int(match[1] or 0) << _EPOCH_BITS | int(match[5]),
    )
