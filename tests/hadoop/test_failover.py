"""Services on several servers, of which one is active."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rayhpc.hadoop.errors import RemoteError
from rayhpc.hadoop.failover import Service, ServiceLostError
from rayhpc.hadoop.master import Master
from rayhpc.hadoop.messages.records import (
    ContainerProto,
    FinalApplicationStatusProto,
    NMTokenProto,
    NodeIdProto,
    PriorityProto,
    ResourceRequestProto,
    StringStringMapProto,
)
from rayhpc.hadoop.messages.scheduling import (
    AllocateRequestProto,
    AllocateResponseProto,
    FinishApplicationMasterResponseProto,
    RegisterApplicationMasterResponseProto,
)
from rayhpc.hadoop.messages.security import TokenProto
from rayhpc.hadoop.protobuf import Message
from rayhpc.hadoop.tokens import Token
from tests.hadoop.rpc_server import Caller, Method, RpcServer

STANDBY = "org.apache.hadoop.ipc.StandbyException"
NOT_REGISTERED = "org.apache.hadoop.yarn.exceptions.ApplicationMasterNotRegisteredException"


def answering(value: str) -> Method:
    return lambda caller, body: StringStringMapProto(value=value)


def standby(caller: Caller, body: bytes) -> Message:
    raise RemoteError(STANDBY, "not me")


def service(*servers: RpcServer, **options: object) -> Service:
    addresses = [each.address for each in servers]
    return Service("ResourceManager", addresses, "p.P", user="u", **options)  # type: ignore[arg-type]


def say(found: Service) -> str:
    return found.call("m", StringStringMapProto(), StringStringMapProto).value


def test_a_standby_is_passed_over_at_once() -> None:
    outages: list[str] = []
    pauses: list[float] = []
    one, two = RpcServer({"m": standby}), RpcServer({"m": answering("two")})
    found = service(one, two, on_outage=outages.append, pause=pauses.append)
    assert say(found) == "two"
    assert say(found) == "two"
    assert pauses == [0.0]
    assert len(outages) == 1
    assert "StandbyException: not me" in outages[0]


def test_a_server_that_dies_is_replaced_by_the_other() -> None:
    one, two = RpcServer({"m": answering("one")}), RpcServer({"m": answering("two")})
    found = service(one, two, pause=lambda seconds: None)
    assert say(found) == "one"
    one.close()
    assert say(found) == "two"


def test_a_server_that_comes_back_is_found_again() -> None:
    one = RpcServer({"m": answering("one")})
    found = service(one, pause=lambda seconds: back())
    again: list[RpcServer] = []

    def back() -> None:
        if not again:
            again.append(RpcServer({"m": answering("again")}, port=one.address[1]))

    assert say(found) == "one"
    one.close()
    assert say(found) == "again"
    again[0].close()


def test_patience_ends_with_the_address() -> None:
    gone = RpcServer({})
    gone.close()
    with pytest.raises(ServiceLostError, match=rf"last 127.0.0.1:{gone.address[1]}: .*is it up"):
        say(service(gone, patience_s=0.0))


def test_other_exceptions_are_passed_on() -> None:
    def odd(caller: Caller, body: bytes) -> Message:
        raise RemoteError("a.OddException", "odd")

    with pytest.raises(RemoteError, match="OddException: odd"):
        say(service(RpcServer({"m": odd})))


def test_a_forgotten_token_is_replaced_by_another_once() -> None:
    tokens = [Token(b"new", b"password", "K"), Token(b"forgotten", b"password", "K")]
    known = {b"new": b"password"}
    server = RpcServer({"m": answering("served")}, known.get)

    def renew() -> bool:
        return bool(tokens.pop())

    found = service(server, token=lambda: tokens[-1], renew=renew)
    assert say(found) == "served"
    assert [each.identifier for each in tokens] == [b"new"]
    known.clear()
    server.cut()
    tokens.append(Token(b"forgotten too", b"password", "K"))
    with pytest.raises(RemoteError, match=r"^InvalidToken: "):
        say(found)


def test_pauses_grow_with_every_round() -> None:
    class Enough(Exception):
        pass

    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 16:
            raise Enough

    with pytest.raises(Enough):
        say(service(RpcServer({"m": standby}), RpcServer({"m": standby}), pause=pause))
    assert pauses[::2] == [0.0] * 8
    rounds = pauses[1::2]
    assert 0.05 <= rounds[0] <= 0.1
    assert 1.0 <= rounds[-1] <= 2.0


class ResourceManager:
    """What an ApplicationMaster says to it, and answers prepared."""

    def __init__(self) -> None:
        self.registered = 0
        self.requests: list[AllocateRequestProto] = []
        self.answers: list[AllocateResponseProto | Callable[[], None]] = []
        self.passwords = {b"id": b"old"}
        methods: dict[str, Method] = {
            "registerApplicationMaster": self.register,
            "allocate": self.allocate,
            "finishApplicationMaster": self.finish,
        }
        self.finishes = [False, True]
        self.server = RpcServer(methods, lambda identifier: self.passwords.get(identifier))

    def register(self, caller: Caller, body: bytes) -> Message:
        self.registered += 1
        return RegisterApplicationMasterResponseProto(queue="q")

    def allocate(self, caller: Caller, body: bytes) -> Message:
        request = AllocateRequestProto.decode(body)
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else AllocateResponseProto()
        if not isinstance(answer, AllocateResponseProto):
            answer()
            answer = AllocateResponseProto()
        answer.response_id = request.response_id + 1
        return answer

    def finish(self, caller: Caller, body: bytes) -> Message:
        return FinishApplicationMasterResponseProto(isUnregistered=self.finishes.pop(0))


@pytest.fixture
def manager() -> ResourceManager:
    return ResourceManager()


def master_of(manager: ResourceManager) -> Master:
    token = Token(b"id", b"old", "YARN_AM_RM_TOKEN")
    return Master([manager.server.address], token, pause=lambda seconds: None)


def ask(number: int, count: int) -> ResourceRequestProto:
    return ResourceRequestProto(
        priority=PriorityProto(priority=1),
        resource_name="*",
        num_containers=count,
        allocation_request_id=number,
    )


def forget() -> None:
    raise RemoteError(NOT_REGISTERED, "who?")


def test_a_manager_that_restarts_is_told_everything_again(manager: ResourceManager) -> None:
    master = master_of(manager)
    master.register("host", 0)
    master.ask(ask(1, 3))
    master.ask(ask(2, 1))
    master.avoid("bad")
    manager.answers = [AllocateResponseProto(allocated_containers=[container(1), container(2)])]
    master.allocate(0.5)
    assert [(a.allocation_request_id, a.num_containers) for a in manager.requests[0].ask] == [
        (1, 3),
        (2, 1),
    ]
    manager.answers = [forget]
    master.allocate(0.5)
    assert manager.registered == 2
    last = manager.requests[-1]
    assert last.response_id == 0
    # One of three is met, and all of the second ask.
    assert [(a.allocation_request_id, a.num_containers) for a in last.ask] == [(1, 2)]
    assert last.blacklist_request is not None
    assert last.blacklist_request.blacklist_additions == ["bad"]
    master.allocate(0.5)
    assert manager.requests[-1].ask == []
    assert manager.requests[-1].response_id == 1


def container(number: int) -> ContainerProto:
    return ContainerProto(allocation_request_id=number)


def test_a_cancelled_ask_is_sent_as_nothing(manager: ResourceManager) -> None:
    master = master_of(manager)
    master.register("host", 0)
    master.ask(ask(1, 3))
    master.allocate(0.5)
    master.cancel(1)
    master.cancel(1)
    master.allocate(0.5)
    assert [each.num_containers for each in manager.requests[-1].ask] == [0]


def test_the_blacklist_changes_by_differences(manager: ResourceManager) -> None:
    master = master_of(manager)
    master.register("host", 0)
    for host in ("a", "b", "a"):
        master.avoid(host)
    master.readmit("b")
    master.allocate(0.5)
    master.readmit("a")
    master.readmit("never")
    master.allocate(0.5)
    changes = [each.blacklist_request for each in manager.requests]
    assert [c.blacklist_additions for c in changes if c] == [["a"], []]
    assert [c.blacklist_removals for c in changes if c] == [[], ["a"]]


def test_a_new_token_is_used_from_then_on(manager: ResourceManager) -> None:
    master = master_of(manager)
    master.register("host", 0)
    rolled = TokenProto(identifier=b"id", password=b"new", kind="YARN_AM_RM_TOKEN", service="")
    manager.answers = [AllocateResponseProto(am_rm_token=rolled)]
    master.allocate(0.5)
    manager.passwords = {b"id": b"new"}
    manager.server.cut()
    master.allocate(0.5)
    assert len(manager.requests) == 2


def test_tokens_of_nodes_are_kept(manager: ResourceManager) -> None:
    master = master_of(manager)
    master.register("host", 0)
    token = TokenProto(identifier=b"n", password=b"p", kind="NMToken", service="")
    node = NodeIdProto(host="h", port=4)
    manager.answers = [AllocateResponseProto(nm_tokens=[NMTokenProto(nodeId=node, token=token)])]
    master.allocate(0.5)
    assert master.nm_tokens == {("h", 4): Token(b"n", b"p", "NMToken")}


def test_finish_asks_until_it_is_done(manager: ResourceManager) -> None:
    master = master_of(manager)
    master.register("host", 0)
    master.finish(FinalApplicationStatusProto.APP_SUCCEEDED, "well")
    assert manager.finishes == []
