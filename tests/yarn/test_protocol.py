"""The library of Hadoop's RPC against Hadoop's own servers: every version, every protection."""

from __future__ import annotations

import getpass
import time

import pytest

from rayhpc.hadoop.client import ENDED, Client
from rayhpc.hadoop.configuration import Configuration
from rayhpc.hadoop.errors import RemoteError
from rayhpc.hadoop.ids import container_name
from rayhpc.hadoop.master import Master
from rayhpc.hadoop.messages.applications import (
    ApplicationReportProto,
    ApplicationSubmissionContextProto,
)
from rayhpc.hadoop.messages.launch import ContainerLaunchContextProto
from rayhpc.hadoop.messages.records import (
    ApplicationIdProto,
    FinalApplicationStatusProto,
    PriorityProto,
    ResourceRequestProto,
    StringStringMapProto,
)
from rayhpc.hadoop.messages.scheduling import AllocateResponseProto
from rayhpc.hadoop.node_manager import NodeManager
from rayhpc.hadoop.resource_managers import CLIENTS, MASTERS, addresses
from rayhpc.hadoop.resources import Size
from rayhpc.hadoop.tokens import Token
from tests.yarn.labs import PROTECTION, within
from yarn.lab.lab import Lab

pytestmark = within(120)
QOP = {"authentication": "auth", "integrity": "auth-int", "privacy": "auth-conf"}


@pytest.fixture
def configuration(lab: Lab) -> Configuration:
    return Configuration.of_environment(lab.client_environment())


@pytest.fixture
def client(configuration: Configuration) -> Client:
    return Client(addresses(configuration, CLIENTS), user=getpass.getuser())


def test_a_user_sees_the_cluster(lab: Lab, client: Client) -> None:
    assert Size.of(client.new_application().maximumCapability) == Size(8192, 8, 2)
    hosts = {each.nodeId.host for each in client.nodes() if each.nodeId}
    assert hosts == {lab.layout.address(name) for name in lab.layout.node_managers}
    queue = client.queue("default")
    assert queue is not None
    assert queue.queueName == "default"
    assert client.queue("nosuch") is None
    assert client.node_labels() == []
    missing = ApplicationIdProto(id=999, cluster_timestamp=1)
    with pytest.raises(RemoteError, match="ApplicationNotFoundException"):
        client.report(missing)


def test_an_application_lives_and_ends(
    lab: Lab, client: Client, configuration: Configuration
) -> None:
    application = client.new_application().application_id
    assert application is not None
    client.submit(
        ApplicationSubmissionContextProto(
            application_id=application,
            application_name="protocol",
            unmanaged_am=True,
            maxAppAttempts=1,
            am_container_spec=ContainerLaunchContextProto(),
            resource=Size(128).to_message(),
        )
    )
    report = wait_for_token(client, application)
    assert report.am_rm_token is not None
    master = Master(addresses(configuration, MASTERS), Token.of(report.am_rm_token))
    answer = master.register("", 0)
    assert Size.of(answer.maximumCapability) == Size(8192, 8, 2)
    assert master.protection == QOP[PROTECTION[lab.layout.options.hadoop]]
    ended = run_one_container(master)
    assert ended == 7
    master.finish(FinalApplicationStatusProto.APP_SUCCEEDED, "all well")
    report = wait_for_end(client, application)
    assert report.final_application_status == FinalApplicationStatusProto.APP_SUCCEEDED
    assert report.diagnostics == "all well"


def run_one_container(master: Master) -> int:
    """Ask, start, see it end; its exit code.

    A large environment makes a frame that has to be split where messages are protected.
    """
    master.ask(
        ResourceRequestProto(
            priority=PriorityProto(priority=1),
            resource_name="*",
            capability=Size(300, 2, 1).to_message(),
            num_containers=1,
            allocation_request_id=1,
        )
    )
    container = heartbeat_until(master, lambda answer: answer.allocated_containers)[0]
    assert container.allocation_request_id == 1
    assert container.nodeId is not None
    assert container.id is not None
    assert container_name(container.id).startswith("container_")
    assert Size.of(container.resource) == Size(384, 2, 1)
    address = container.nodeId.host, container.nodeId.port
    node = NodeManager(address, master.nm_tokens[address])
    context = ContainerLaunchContextProto(
        command=["exit $CODE"],
        environment=[
            StringStringMapProto(key="CODE", value="7"),
            StringStringMapProto(key="LARGE", value="x" * 100_000),
        ],
    )
    node.start(container, context)
    assert len(node.statuses([container.id])) == 1
    status = heartbeat_until(master, lambda answer: answer.completed_container_statuses)[0]
    node.stop([container.id])
    assert status.container_id == container.id
    return status.exit_status


def heartbeat_until(master: Master, found):  # type: ignore[no-untyped-def]
    """What the first answer that has it says."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        answer: AllocateResponseProto = master.allocate(0.5)
        if found(answer):
            return found(answer)
        time.sleep(0.05)
    raise AssertionError("nothing within 30 s")


def wait_for_token(client: Client, application: ApplicationIdProto) -> ApplicationReportProto:
    return wait_for(client, application, lambda report: report.am_rm_token is not None)


def wait_for_end(client: Client, application: ApplicationIdProto) -> ApplicationReportProto:
    return wait_for(client, application, lambda report: report.yarn_application_state in ENDED)


def wait_for(client: Client, application: ApplicationIdProto, condition):  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        report = client.report(application)
        if condition(report):
            return report
        time.sleep(0.05)
    raise AssertionError(f"it is {report!r} after 30 s")
