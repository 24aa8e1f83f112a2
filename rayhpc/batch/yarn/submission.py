"""The application as submitted to YARN: from an `Application` and what the queue is told.

Used by `jobs`, which prints it for `--dry-run`, and by `unmanaged`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rayhpc.batch.yarn import launching
from rayhpc.batch.yarn.application import Application, Resource
from rayhpc.hadoop.messages.applications import (
    ApplicationSubmissionContextProto,
    ApplicationTimeoutMapProto,
    ApplicationTimeoutTypeProto,
)
from rayhpc.hadoop.messages.launch import (
    ApplicationAccessTypeProto,
    ApplicationACLMapProto,
    ContainerLaunchContextProto,
    LogAggregationContextProto,
)
from rayhpc.hadoop.messages.records import (
    ApplicationIdProto,
    PriorityProto,
    ResourceRequestProto,
)
from rayhpc.hadoop.resources import Size
from rayhpc.hadoop.tokens import Credentials

TYPE = "RAYHPC"
# YARN does not count an attempt that failed longer ago than this, in milliseconds.
_VALIDITY_MS = 3_600_000


@dataclass(frozen=True)
class Terms:
    """What the queue is told: `lifetime_s` 0 and `priority` None leave it to the queue."""

    queue: str = "default"
    priority: int | None = None
    tags: tuple[str, ...] = ()
    view_acl: str = ""
    modify_acl: str = ""
    lifetime_s: int = 0
    attempts: int = 2


def submission_context(
    number: ApplicationIdProto,
    application: Application,
    resources: Sequence[Resource],
    terms: Terms,
    credentials: Credentials,
    *,
    unmanaged: bool = False,
) -> ApplicationSubmissionContextProto:
    """The whole submission."""
    size = Size(application.memory_mib, application.vcores, application.gpus).to_message()
    label = application.node_label or None
    context = ApplicationSubmissionContextProto(
        application_id=number,
        application_name=application.name,
        applicationType=TYPE,
        queue=terms.queue,
        maxAppAttempts=1 if unmanaged else terms.attempts,
        attempt_failures_validity_interval=_VALIDITY_MS,
        unmanaged_am=unmanaged,
        keep_containers_across_application_attempts=not unmanaged,
        am_container_spec=_master_context(application, resources, terms, credentials),
        resource=size,
        applicationTags=list(terms.tags),
        node_label_expression=label,
        # While it runs, stdout and stderr are read from the nodes; at the end everything is
        # collected.
        log_aggregation_context=LogAggregationContextProto(include_pattern=".*"),
    )
    if not unmanaged:
        # The only way to get GPUs for the ApplicationMaster's container, where rank 0 runs.
        context.am_container_resource_request = [
            ResourceRequestProto(
                priority=PriorityProto(priority=0),
                resource_name="*",
                capability=size,
                num_containers=1,
                node_label_expression=label,
            )
        ]
    if terms.priority is not None:
        context.priority = PriorityProto(priority=terms.priority)
    if terms.lifetime_s:
        context.application_timeouts = [
            ApplicationTimeoutMapProto(
                application_timeout_type=ApplicationTimeoutTypeProto.APP_TIMEOUT_LIFETIME,
                timeout=terms.lifetime_s,
            )
        ]
    return context


def _master_context(
    application: Application,
    resources: Sequence[Resource],
    terms: Terms,
    credentials: Credentials,
) -> ContainerLaunchContextProto:
    acls = [
        ApplicationACLMapProto(accessType=kind, acl=who)
        for kind, who in (
            (ApplicationAccessTypeProto.APPACCESS_VIEW_APP, terms.view_acl),
            (ApplicationAccessTypeProto.APPACCESS_MODIFY_APP, terms.modify_acl),
        )
        if who
    ]
    environment = launching.container_environment(application, 0, application.memory_mib)
    return launching.launch_context(
        application, launching.MASTER, resources, environment, credentials, acls
    )
