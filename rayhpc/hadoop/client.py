"""A user's side of the ResourceManager: submit, report, kill, and query the cluster.

Used by whatever submits or queries.  Makes no decisions; `failover` handles fail-over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType

from rayhpc.hadoop.failover import Service
from rayhpc.hadoop.messages.applications import (
    ApplicationReportProto,
    ApplicationSubmissionContextProto,
    GetApplicationReportRequestProto,
    GetApplicationReportResponseProto,
    GetClusterNodeLabelsRequestProto,
    GetClusterNodeLabelsResponseProto,
    GetClusterNodesRequestProto,
    GetClusterNodesResponseProto,
    GetNewApplicationRequestProto,
    GetNewApplicationResponseProto,
    GetQueueInfoRequestProto,
    GetQueueInfoResponseProto,
    KillApplicationRequestProto,
    KillApplicationResponseProto,
    QueueInfoProto,
    SubmitApplicationRequestProto,
    SubmitApplicationResponseProto,
    YarnApplicationStateProto,
)
from rayhpc.hadoop.messages.records import ApplicationIdProto, NodeReportProto
from rayhpc.hadoop.tokens import Token

PROTOCOL = "org.apache.hadoop.yarn.api.ApplicationClientProtocolPB"
ENDED = (
    YarnApplicationStateProto.FINISHED,
    YarnApplicationStateProto.FAILED,
    YarnApplicationStateProto.KILLED,
)


class Client:
    """The ResourceManager, as its users can call it.

    Every method raises RemoteError for the server's exceptions and ServiceLostError if no server
    answers in time.

    Args:
        addresses: those of the ResourceManagers.
        user: on whose behalf we call, if the cluster does not check.
        token: gives a delegation token, if it does.
        patience_s: how long to wait for a ResourceManager, in seconds.
        on_outage: called once per outage, with what went wrong.
        renew: called when the cluster no longer knows the token; whether `token` gives another one
            now.
    """

    def __init__(
        self,
        addresses: Sequence[tuple[str, int]],
        *,
        user: str | None = None,
        token: Callable[[], Token | None] = lambda: None,
        patience_s: float = 120.0,
        on_outage: Callable[[str], None] = lambda _: None,
        renew: Callable[[], bool] = lambda: False,
    ) -> None:
        self._service = Service(
            "ResourceManager",
            addresses,
            PROTOCOL,
            token=token,
            user=user,
            patience_s=patience_s,
            on_outage=on_outage,
            renew=renew,
        )

    def new_application(self) -> GetNewApplicationResponseProto:
        """A new id, and the largest size of a container."""
        request = GetNewApplicationRequestProto()
        return self._service.call("getNewApplication", request, GetNewApplicationResponseProto)

    def submit(self, context: ApplicationSubmissionContextProto) -> None:
        """Submit an application."""
        request = SubmitApplicationRequestProto(application_submission_context=context)
        self._service.call("submitApplication", request, SubmitApplicationResponseProto)

    def report(self, application: ApplicationIdProto) -> ApplicationReportProto:
        """The state of an application."""
        request = GetApplicationReportRequestProto(application_id=application)
        answer = self._service.call(
            "getApplicationReport", request, GetApplicationReportResponseProto
        )
        return answer.application_report or ApplicationReportProto(applicationId=application)

    def kill(self, application: ApplicationIdProto, reason: str = "") -> bool:
        """Ask for an application's end; returns whether it has already ended (else ask again)."""
        request = KillApplicationRequestProto(application_id=application, diagnostics=reason)
        answer = self._service.call("forceKillApplication", request, KillApplicationResponseProto)
        return answer.is_kill_completed

    def nodes(self) -> list[NodeReportProto]:
        """All nodes, including lost ones."""
        request = GetClusterNodesRequestProto()
        answer = self._service.call("getClusterNodes", request, GetClusterNodesResponseProto)
        return answer.nodeReports

    def queue(self, name: str) -> QueueInfoProto | None:
        """A queue; None if there is none with that name."""
        request = GetQueueInfoRequestProto(queueName=name)
        answer = self._service.call("getQueueInfo", request, GetQueueInfoResponseProto)
        found = answer.queueInfo
        return found if found is not None and found.queueName else None

    def node_labels(self) -> list[str]:
        """The node labels of this cluster."""
        request = GetClusterNodeLabelsRequestProto()
        answer = self._service.call(
            "getClusterNodeLabels", request, GetClusterNodeLabelsResponseProto
        )
        return [each.name for each in answer.nodeLabels] or answer.deprecatedNodeLabels

    def close(self) -> None:
        """Close the connection."""
        self._service.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
