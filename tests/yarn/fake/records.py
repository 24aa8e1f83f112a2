"""What the fake YARN tells of its nodes and containers, and the tokens that it gives for them."""

from __future__ import annotations

from rayhpc.hadoop.messages.records import (
    ApplicationIdProto,
    ContainerIdProto,
    ContainerProto,
    NMTokenProto,
    NodeIdProto,
    NodeReportProto,
    NodeStateProto,
)
from rayhpc.hadoop.messages.security import TokenProto
from rayhpc.hadoop.resources import Size
from rayhpc.hadoop.tokens import AMRM_KIND
from tests.yarn.fake.node import TOKEN, FakeNode

MOST = Size(8192, 8, 2)


def am_token(application: ApplicationIdProto) -> TokenProto:
    return TokenProto(
        identifier=application.encode(), password=b"am-password", kind=AMRM_KIND, service=""
    )


def nm_token(node: FakeNode) -> NMTokenProto:
    token = TokenProto(identifier=TOKEN, password=b"nm-password", kind="NMToken", service="")
    return NMTokenProto(nodeId=NodeIdProto(host=node.host, port=node.port), token=token)


def container(number: ContainerIdProto, node: FakeNode, ask: int, size: Size) -> ContainerProto:
    token = TokenProto(identifier=number.encode(), password=b"", kind="ContainerToken", service="")
    return ContainerProto(
        id=number,
        nodeId=NodeIdProto(host=node.host, port=node.port),
        node_http_address=f"{node.host}:{node.web.port}",
        resource=size.to_message(),
        container_token=token,
        allocation_request_id=ask,
    )


def report(node: FakeNode, state: NodeStateProto) -> NodeReportProto:
    return NodeReportProto(
        nodeId=NodeIdProto(host=node.host, port=node.port),
        httpAddress=f"{node.host}:{node.web.port}",
        capability=MOST.to_message(),
        node_state=state,
    )
