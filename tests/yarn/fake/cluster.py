"""A YARN in this process: one ResourceManager and its nodes, for tests that must run everywhere.

It speaks the same protocol as the real one (`yarn/lab`), gives containers at once and starts them
for real, and can be made to fail in ways a real one cannot be made to.
"""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rayhpc.hadoop.errors import RemoteError
from rayhpc.hadoop.ids import application_name, container_name
from rayhpc.hadoop.messages.applications import (
    ApplicationReportProto,
    ApplicationResourceUsageReportProto,
    ApplicationSubmissionContextProto,
    GetApplicationReportRequestProto,
    GetApplicationReportResponseProto,
    GetClusterNodeLabelsResponseProto,
    GetClusterNodesResponseProto,
    GetNewApplicationResponseProto,
    GetQueueInfoRequestProto,
    GetQueueInfoResponseProto,
    KillApplicationRequestProto,
    KillApplicationResponseProto,
    NodeLabelProto,
    QueueInfoProto,
    SubmitApplicationRequestProto,
    SubmitApplicationResponseProto,
    YarnApplicationStateProto,
)
from rayhpc.hadoop.messages.records import (
    ApplicationAttemptIdProto,
    ApplicationIdProto,
    ContainerIdProto,
    ContainerProto,
    ContainerStatusProto,
    FinalApplicationStatusProto,
    NodeReportProto,
    NodeStateProto,
    StringStringMapProto,
)
from rayhpc.hadoop.messages.scheduling import (
    AllocateRequestProto,
    AllocateResponseProto,
    FinishApplicationMasterRequestProto,
    FinishApplicationMasterResponseProto,
    RegisterApplicationMasterResponseProto,
)
from rayhpc.hadoop.protobuf import Message
from rayhpc.hadoop.resources import Size
from rayhpc.hadoop.tokens import Credentials, Token
from tests.hadoop.rpc_server import Caller, RpcServer
from tests.yarn.fake import records
from tests.yarn.fake.node import FakeNode
from tests.yarn.fake.records import MOST
from tests.yarn.fake.web import WebServer

_NOT_REGISTERED = "org.apache.hadoop.yarn.exceptions.ApplicationMasterNotRegisteredException"
_NO_ATTEMPT = "org.apache.hadoop.yarn.exceptions.ApplicationAttemptNotFoundException"
_NOT_FOUND = "org.apache.hadoop.yarn.exceptions.ApplicationNotFoundException"
_State = YarnApplicationStateProto


@dataclass
class _Application:
    id: ApplicationIdProto
    context: ApplicationSubmissionContextProto
    state: YarnApplicationStateProto = _State.ACCEPTED
    final: FinalApplicationStatusProto = FinalApplicationStatusProto.APP_UNDEFINED
    diagnostics: str = ""
    attempt: int = 0
    registered: bool = False
    master_node: FakeNode | None = None
    master_id: ContainerIdProto | None = None
    containers: dict[str, tuple[ContainerIdProto, FakeNode]] = field(default_factory=dict)
    blacklist: set[str] = field(default_factory=set)
    asks: dict[int, tuple[int, Size]] = field(default_factory=dict)
    ended: list[ContainerStatusProto] = field(default_factory=list)
    news: list[NodeReportProto] = field(default_factory=list)
    response: int = 0
    started: float = field(default_factory=time.time)
    finished: float = 0.0
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))


class FakeYarn:
    """One cluster.

    Args:
        folder: where its nodes write, and its configuration lies.
        nodes: how many; a list: of what kinds.
        protection: of the ApplicationMaster's connection: `auth`, `auth-int`, `auth-conf`.
    """

    def __init__(
        self, folder: Path, nodes: int | Sequence[type[FakeNode]] = 3, protection: str = "auth"
    ) -> None:
        kinds = [FakeNode] * nodes if isinstance(nodes, int) else nodes
        net = f"127.{random.randrange(1, 250)}.{random.randrange(1, 250)}"
        self._lock = threading.RLock()
        self._applications: dict[str, _Application] = {}
        self._count = itertools.count(1)
        self._stamp = int(time.time() * 1000)
        self._passwords: dict[bytes, bytes] = {}
        self.labels: list[str] = []
        self.may_start_masters = threading.Event()
        self.may_start_masters.set()
        self.nodes = [
            kind(_address(net, 10 + index), folder / f"nm{index}", self._on_end)
            for index, kind in enumerate(kinds, 1)
        ]
        self._clients = RpcServer(self._client_methods(), host=f"{net}.10")
        self._protection = protection
        self._masters = self._master_server(f"{net}.10", 0)
        self.web = WebServer(f"{net}.10", self._page)
        self.configuration = folder / "conf"
        self._write_configuration()

    def close(self) -> None:
        """End everything that runs."""
        self._clients.close()
        self._masters.close()
        for node in self.nodes:
            node.close()
        self.web.close()

    # -- what a test may do to it
    def restart_manager(self, outage_s: float = 0.0) -> None:
        """It comes back without knowing any ApplicationMaster."""
        address = self._masters.address
        self._masters.close()
        time.sleep(outage_s)  # how long it is away is what is tested
        with self._lock:
            for application in self._applications.values():
                application.registered = False
                application.asks.clear()
                application.blacklist.clear()
                application.response = 0
        self._masters = self._master_server(*address)

    def lose_manager(self) -> None:
        """No ApplicationMaster hears from it any more."""
        self._masters.close()

    def lose_node(self, node: FakeNode) -> None:
        """The power goes, and the ResourceManager has noticed."""
        node.close()
        with self._lock:
            self.nodes.remove(node)
            for application in self._applications.values():
                report = records.report(node, NodeStateProto.NS_LOST)
                application.news.append(report)

    def forget_applications(self) -> None:
        """It was restarted without its state, and ends what it does not know."""
        with self._lock:
            self._applications.clear()
        for node in self.nodes:
            for name in node.running():
                node.kill(name)

    def node_of(self, host: str) -> FakeNode:
        """The node at an address."""
        return next(node for node in self.nodes if node.host == host)

    def running(self) -> list[str]:
        """All containers that run."""
        return [name for node in self.nodes for name in node.running()]

    # -- the users' protocol
    def _client_methods(self):  # type: ignore[no-untyped-def]
        return {
            "getNewApplication": self._new_application,
            "submitApplication": self._submit,
            "getApplicationReport": self._get_report,
            "forceKillApplication": self._kill,
            "getClusterNodes": self._get_nodes,
            "getQueueInfo": self._get_queue,
            "getClusterNodeLabels": self._get_labels,
        }

    def _new_application(self, caller: Caller, body: bytes) -> Message:
        number = ApplicationIdProto(id=next(self._count), cluster_timestamp=self._stamp)
        return GetNewApplicationResponseProto(
            application_id=number, maximumCapability=MOST.to_message()
        )

    def _submit(self, caller: Caller, body: bytes) -> Message:
        context = SubmitApplicationRequestProto.decode(body).application_submission_context
        assert context is not None
        assert context.application_id is not None
        application = _Application(context.application_id, context)
        with self._lock:
            self._applications[application_name(application.id)] = application
            self._passwords[application.id.encode()] = b"am-password"
            if not context.unmanaged_am:
                self._start_attempt(application)
        return SubmitApplicationResponseProto()

    def _get_report(self, caller: Caller, body: bytes) -> Message:
        number = GetApplicationReportRequestProto.decode(body).application_id
        assert number is not None
        with self._lock:
            application = self._applications.get(application_name(number))
            if application is None:
                text = f"Application with id '{application_name(number)}' doesn't exist in RM."
                raise RemoteError(_NOT_FOUND, text)
            return GetApplicationReportResponseProto(application_report=self._report(application))

    def _report(self, application: _Application) -> ApplicationReportProto:
        usage = ApplicationResourceUsageReportProto(num_used_containers=len(application.containers))
        token = None
        if application.context.unmanaged_am:
            token = records.am_token(application.id)
        return ApplicationReportProto(
            applicationId=application.id,
            user="tester",
            queue=application.context.queue,
            name=application.context.application_name,
            yarn_application_state=application.state,
            final_application_status=application.final,
            diagnostics=application.diagnostics,
            trackingUrl="N/A",
            startTime=int(application.started * 1000),
            finishTime=int(application.finished * 1000),
            am_rm_token=token,
            app_resource_Usage=usage,
            currentApplicationAttemptId=ApplicationAttemptIdProto(
                application_id=application.id, attemptId=application.attempt
            ),
        )

    def _kill(self, caller: Caller, body: bytes) -> Message:
        number = KillApplicationRequestProto.decode(body).application_id
        assert number is not None
        with self._lock:
            application = self._applications[application_name(number)]
            if application.state not in (_State.FINISHED, _State.FAILED, _State.KILLED):
                self._end(application, _State.KILLED, "Application killed by user.")
        return KillApplicationResponseProto(is_kill_completed=True)

    def _get_nodes(self, caller: Caller, body: bytes) -> Message:
        return GetClusterNodesResponseProto(
            nodeReports=[records.report(node, NodeStateProto.NS_RUNNING) for node in self.nodes]
        )

    def _get_queue(self, caller: Caller, body: bytes) -> Message:
        name = GetQueueInfoRequestProto.decode(body).queueName
        info = QueueInfoProto(queueName=name) if name == "default" else None
        return GetQueueInfoResponseProto(queueInfo=info)

    def _get_labels(self, caller: Caller, body: bytes) -> Message:
        """The nodes themselves have none here."""
        return GetClusterNodeLabelsResponseProto(
            nodeLabels=[NodeLabelProto(name=each) for each in self.labels]
        )

    # -- ApplicationMasters' protocol
    def _master_server(self, host: str, port: int) -> RpcServer:
        methods = {
            "registerApplicationMaster": self._register,
            "allocate": self._allocate,
            "finishApplicationMaster": self._finish,
        }
        return RpcServer(
            methods, self._passwords.get, protection=self._protection, host=host, port=port
        )

    def _of(self, caller: Caller) -> _Application:
        application = self._applications[
            application_name(ApplicationIdProto.decode(caller.identifier))
        ]
        if application.state not in (_State.ACCEPTED, _State.RUNNING):
            raise RemoteError(_NO_ATTEMPT, "it has ended")
        return application

    def _register(self, caller: Caller, body: bytes) -> Message:
        with self._lock:
            application = self._of(caller)
            application.registered, application.response = True, 0
            application.state = _State.RUNNING
            kept = [
                records.container(number, node, 0, Size.of(application.context.resource))
                for number, node in application.containers.values()
                if number.app_attempt_id.attemptId < application.attempt
            ]
        return RegisterApplicationMasterResponseProto(
            maximumCapability=MOST.to_message(),
            queue=application.context.queue,
            containers_from_previous_attempts=kept,
            nm_tokens_from_previous_attempts=[records.nm_token(node) for node in self.nodes],
        )

    def _allocate(self, caller: Caller, body: bytes) -> Message:
        request = AllocateRequestProto.decode(body)
        with self._lock:
            application = self._of(caller)
            if not application.registered:
                raise RemoteError(_NOT_REGISTERED, "AM is not registered")
            assert request.response_id == application.response, "a wrong response_id"
            application.response += 1
            self._take(application, request)
            answer = AllocateResponseProto(
                response_id=application.response,
                completed_container_statuses=application.ended,
                updated_nodes=application.news,
                num_cluster_nodes=len(self.nodes),
                allocated_containers=self._schedule(application),
            )
            application.ended, application.news = [], []
            given = {each.nodeId.host for each in answer.allocated_containers if each.nodeId}
            answer.nm_tokens = [records.nm_token(node) for node in self.nodes if node.host in given]
            return answer

    def _take(self, application: _Application, request: AllocateRequestProto) -> None:
        for ask in request.ask:
            application.asks[ask.allocation_request_id] = (
                ask.num_containers,
                Size.of(ask.capability),
            )
        if request.blacklist_request is not None:
            application.blacklist |= set(request.blacklist_request.blacklist_additions)
            application.blacklist -= set(request.blacklist_request.blacklist_removals)
        for number in request.release:
            known = application.containers.get(container_name(number))
            if known is not None:
                known[1].kill(container_name(number))
                if container_name(number) not in known[1].running():
                    self._on_end(number, -100)

    def _schedule(self, application: _Application) -> list[ContainerProto]:
        """At most one container on a node in one answer."""
        given = []
        free = [node for node in self.nodes if node.host not in application.blacklist]
        for ask, (count, size) in list(application.asks.items()):
            chosen, free = free[:count], free[count:]
            for node in chosen:
                number = self._new_container(application)
                application.containers[container_name(number)] = number, node
                given.append(records.container(number, node, ask, size))
            application.asks[ask] = count - len(chosen), size
            if count == len(chosen):
                del application.asks[ask]
        return given

    def _finish(self, caller: Caller, body: bytes) -> Message:
        request = FinishApplicationMasterRequestProto.decode(body)
        with self._lock:
            application = self._of(caller)
            application.final = request.final_application_status
            self._end(application, _State.FINISHED, request.diagnostics)
        return FinishApplicationMasterResponseProto(isUnregistered=True)

    # -- what follows
    def _new_container(self, application: _Application) -> ContainerIdProto:
        attempt = ApplicationAttemptIdProto(
            application_id=application.id, attemptId=application.attempt
        )
        return ContainerIdProto(
            app_id=application.id, app_attempt_id=attempt, id=next(application.numbers)
        )

    def _start_next(self, application: _Application) -> None:
        self.may_start_masters.wait()
        with self._lock:
            if application.state in (_State.ACCEPTED, _State.RUNNING):
                self._start_attempt(application)

    def _start_attempt(self, application: _Application) -> None:
        application.attempt += 1
        application.registered = False
        application.numbers = itertools.count(1)
        application.asks.clear()
        application.blacklist.clear()
        number, node = self._new_container(application), self.nodes[0]
        application.master_node, application.master_id = node, number
        context = application.context.am_container_spec
        assert context is not None
        credentials = Credentials.decode(context.tokens)
        credentials.tokens["am"] = Token.of(records.am_token(application.id))
        context.tokens = credentials.encode()
        submitted = f"{application.started * 1000:.0f}"
        told = StringStringMapProto(key="APP_SUBMIT_TIME_ENV", value=submitted)
        context.environment.append(told)
        node.run(number, context)

    def _on_end(self, number: ContainerIdProto, status: int) -> None:
        with self._lock:
            assert number.app_id is not None
            application = self._applications.get(application_name(number.app_id))
            if application is None:
                return
            name = container_name(number)
            if application.master_id is not None and number == application.master_id:
                self._on_master_end(application, status)
            elif application.containers.pop(name, None) is not None:
                application.ended.append(
                    ContainerStatusProto(container_id=number, exit_status=status)
                )

    def _on_master_end(self, application: _Application, status: int) -> None:
        if application.state in (_State.FINISHED, _State.FAILED, _State.KILLED):
            return
        if not application.context.keep_containers_across_application_attempts:
            for name, (_, node) in list(application.containers.items()):
                node.kill(name)
            application.containers.clear()
        if application.attempt < (application.context.maxAppAttempts or 2):
            threading.Thread(target=self._start_next, args=(application,), daemon=True).start()
        else:
            text = f"AM Container exited with exitCode: {status}"
            application.final = FinalApplicationStatusProto.APP_FAILED
            self._end(application, _State.FAILED, text)

    def _end(
        self, application: _Application, state: YarnApplicationStateProto, diagnostics: str
    ) -> None:
        application.state, application.diagnostics = state, diagnostics
        application.finished = time.time()
        if state == _State.KILLED:
            application.final = FinalApplicationStatusProto.APP_KILLED
        for name, (_, node) in list(application.containers.items()):
            node.kill(name)
        node, number = application.master_node, application.master_id
        if node is not None and number is not None and state == _State.KILLED:
            node.kill(container_name(number))

    def _page(self, path: str, query: dict[str, str]) -> str | None:
        parts = path.strip("/").split("/")
        if parts[:4] != ["ws", "v1", "cluster", "apps"] or parts[5:] != ["appattempts"]:
            return None
        application = self._applications.get(parts[4])
        if application is None or application.master_id is None:
            return None
        node = application.master_node
        assert node is not None
        attempt = {
            "id": application.attempt,
            "containerId": container_name(application.master_id),
            "nodeHttpAddress": f"{node.host}:{node.web.port}",
            "nodeId": f"{node.host}:{node.port}",
        }
        return json.dumps({"appAttempts": {"appAttempt": [attempt]}})

    def _write_configuration(self) -> None:
        self.configuration.mkdir(parents=True)
        prefix = "yarn.resourcemanager"
        properties = {
            f"{prefix}.address": "{}:{}".format(*self._clients.address),
            f"{prefix}.scheduler.address": "{}:{}".format(*self._masters.address),
            f"{prefix}.webapp.address": f"{self.web.host}:{self.web.port}",
        }
        body = "".join(
            f"<property><name>{name}</name><value>{value}</value></property>"
            for name, value in properties.items()
        )
        (self.configuration / "yarn-site.xml").write_text(f"<configuration>{body}</configuration>")


def _address(net: str, number: int) -> str:
    """More than a net's 255 go on in the nets behind it."""
    first, second, third = (int(part) for part in net.split("."))
    third += number // 250
    return f"{first}.{second + third // 250}.{third % 250}.{number % 250}"
