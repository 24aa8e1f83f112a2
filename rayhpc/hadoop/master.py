"""An ApplicationMaster's side of the ResourceManager, across its restarts and fail-overs.

Used by an ApplicationMaster's loop.  Keeps what a restarted ResourceManager has forgotten (open
asks, the blacklist) and sends it again; decides nothing.

Every ask has its own allocation_request_id and is never changed, only met or cancelled: so its
absolute count cannot race with allocations in flight.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from rayhpc.hadoop.errors import RemoteError
from rayhpc.hadoop.failover import Service
from rayhpc.hadoop.messages.records import (
    ContainerIdProto,
    FinalApplicationStatusProto,
    NMTokenProto,
    ResourceRequestProto,
)
from rayhpc.hadoop.messages.scheduling import (
    AllocateRequestProto,
    AllocateResponseProto,
    FinishApplicationMasterRequestProto,
    FinishApplicationMasterResponseProto,
    RegisterApplicationMasterRequestProto,
    RegisterApplicationMasterResponseProto,
    ResourceBlacklistRequestProto,
)
from rayhpc.hadoop.protobuf import Message
from rayhpc.hadoop.tokens import Token

M = TypeVar("M", bound=Message)

PROTOCOL = "org.apache.hadoop.yarn.api.ApplicationMasterProtocolPB"
ANY_HOST = "*"
_FINISH_PAUSE_S = 0.1


class Master:
    """One ApplicationMaster's communication with the ResourceManager.

    Every method that makes a call raises RemoteError for the server's exceptions and
    ServiceLostError if no server answers in time.

    Args:
        addresses: those of the ResourceManagers.
        token: the AM's own.
        patience_s: how long to continue without a ResourceManager, in seconds.
        pause: waits for this many seconds; may raise to give up; may be set later.
        say: called with messages about outages and re-registrations.
    """

    def __init__(
        self,
        addresses: Sequence[tuple[str, int]],
        token: Token,
        *,
        patience_s: float = 600.0,
        pause: Callable[[float], None] = time.sleep,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._token, self.pause, self._say = token, pause, say
        self.nm_tokens: dict[tuple[str, int], Token] = {}
        self._service = Service(
            "ResourceManager",
            addresses,
            PROTOCOL,
            token=lambda: self._token,
            patience_s=patience_s,
            pause=self._pause_now,
            on_outage=say,
        )
        self._registration = RegisterApplicationMasterRequestProto()
        self._response_id = 0
        self._asks: dict[int, ResourceRequestProto] = {}
        self._blacklist: set[str] = set()
        self._unsent = _empty_request()

    def register(
        self, host: str, port: int, tracking_url: str = ""
    ) -> RegisterApplicationMasterResponseProto:
        """Register as alive; the answer has what earlier attempts have left."""
        self._registration = RegisterApplicationMasterRequestProto(
            host=host, rpc_port=port, tracking_url=tracking_url
        )
        return self._register()

    def ask(self, request: ResourceRequestProto) -> None:
        """Ask for containers; `allocation_request_id` must be new."""
        self._asks[request.allocation_request_id] = request
        self._unsent.ask.append(request)

    def cancel(self, ask_id: int) -> None:
        """Take back the open part of an ask."""
        ask = self._asks.pop(ask_id, None)
        if ask is not None:
            ask.num_containers = 0
            self._unsent.ask.append(ask)

    def release(self, container: ContainerIdProto) -> None:
        """Release a container; what runs in it is ended."""
        self._unsent.release.append(container)

    def avoid(self, host: str) -> None:
        """Accept no more containers on a host."""
        if host not in self._blacklist:
            self._blacklist.add(host)
            self._change_blacklist(additions=[host])

    def readmit(self, host: str) -> None:
        """Accept containers there again."""
        if host in self._blacklist:
            self._blacklist.remove(host)
            self._change_blacklist(removals=[host])

    def allocate(self, progress: float) -> AllocateResponseProto:
        """The heartbeat: sends what has changed, and returns what the ResourceManager reports.

        Nothing in its answer is repeated: containers and ends in it must not be dropped.
        """
        request = self._unsent
        request.response_id, request.progress = self._response_id, progress
        answer = self._call("allocate", request, AllocateResponseProto)
        self._unsent = _empty_request()
        self._response_id = answer.response_id
        self._take_nm_tokens(answer.nm_tokens)
        if answer.am_rm_token is not None:
            # In every answer from the key roll on, until the new key is in effect.
            self._token = Token.of(answer.am_rm_token)
        for container in answer.allocated_containers:
            self._count(container.allocation_request_id)
        return answer

    def finish(
        self, status: FinalApplicationStatusProto, diagnostics: str, tracking_url: str = ""
    ) -> None:
        """Unregister.  The NodeManager may end us at once: finish writing files before."""
        request = FinishApplicationMasterRequestProto(
            diagnostics=diagnostics, final_application_status=status, tracking_url=tracking_url
        )
        while True:
            answer = self._call(
                "finishApplicationMaster", request, FinishApplicationMasterResponseProto
            )
            if answer.isUnregistered:
                break
            self.pause(_FINISH_PAUSE_S)
        self._service.close()

    @property
    def protection(self) -> str | None:
        """How the connection is protected."""
        return self._service.protection

    def _pause_now(self, seconds: float) -> None:
        self.pause(seconds)

    def _count(self, ask_id: int) -> None:
        ask = self._asks.get(ask_id)
        if ask is not None:
            ask.num_containers -= 1
            if ask.num_containers <= 0:
                del self._asks[ask_id]

    def _change_blacklist(
        self, additions: Sequence[str] = (), removals: Sequence[str] = ()
    ) -> None:
        change = self._unsent.blacklist_request
        assert change is not None
        for listed, opposite, hosts in (
            (change.blacklist_additions, change.blacklist_removals, additions),
            (change.blacklist_removals, change.blacklist_additions, removals),
        ):
            for host in hosts:
                if host in opposite:
                    opposite.remove(host)
                else:
                    listed.append(host)

    def _take_nm_tokens(self, tokens: Sequence[NMTokenProto]) -> None:
        for each in tokens:
            if each.nodeId is not None and each.token is not None:
                self.nm_tokens[each.nodeId.host, each.nodeId.port] = Token.of(each.token)

    def _register(self) -> RegisterApplicationMasterResponseProto:
        self._response_id = 0
        answer = self._call(
            "registerApplicationMaster", self._registration, RegisterApplicationMasterResponseProto
        )
        self._take_nm_tokens(answer.nm_tokens_from_previous_attempts)
        return answer

    def _call(self, method: str, request: Message, answer: type[M]) -> M:
        """Call; register again with a ResourceManager that does not know us."""
        while True:
            try:
                return self._service.call(method, request, answer)
            except RemoteError as error:
                if (
                    error.name == "InvalidApplicationMasterRequestException"
                    and method == "registerApplicationMaster"
                ):
                    return answer()  # the answer to our first attempt was lost: we are registered
                if error.name != "ApplicationMasterNotRegisteredException":
                    raise
            self._say("the ResourceManager has restarted: registering again")
            self._register()
            if isinstance(request, AllocateRequestProto):
                self._tell_again(request)

    def _tell_again(self, request: AllocateRequestProto) -> None:
        """Resend everything that a restarted ResourceManager must know."""
        request.response_id = 0
        request.ask = list(self._asks.values())
        request.blacklist_request = ResourceBlacklistRequestProto(
            blacklist_additions=sorted(self._blacklist)
        )


def _empty_request() -> AllocateRequestProto:
    return AllocateRequestProto(blacklist_request=ResourceBlacklistRequestProto())
