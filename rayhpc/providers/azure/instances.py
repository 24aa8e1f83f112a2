"""From Azure's descriptions of a virtual machine to a machine.  Used by `provider`.  Pure.

What Azure says of one is in several lists: the machine itself, how it fares, its interface with the
address inside, and the address outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rayhpc.elastic.types import MachineState
from rayhpc.providers.cloud_names import CLUSTER, LEASE, MACHINE, MADE_OF, OWNER, TYPE
from rayhpc.providers.machines import Rented, Watched, is_internal

_POWER, _MAKING = "PowerState/", "ProvisioningState/"
_ON = ("starting", "running")
_DELETING, _FAILED = "deleting", "failed"


@dataclass(frozen=True)
class Instance:
    """A virtual machine, with what the other lists say of it; empty: nothing.

    Attributes:
        machine: itself.
        statuses: how it fares.
        inside, outside: its addresses.
        is_outside: whether it has, or will have, an address outside.
    """

    machine: Mapping[str, Any]
    statuses: Sequence[Mapping[str, Any]] = ()
    inside: str = ""
    outside: str = ""
    is_outside: bool = False

    @property
    def path(self) -> str:
        """Below the subscription."""
        return str(self.machine["id"]).split("/", 3)[3]

    @property
    def tags(self) -> Mapping[str, str]:
        """All of them."""
        return self.machine.get("tags") or {}

    @property
    def name(self) -> str:
        """The machine's name in its cluster."""
        return self.tags.get(MACHINE, str(self.machine["name"]))

    @property
    def identity(self) -> str:
        """Azure's id of it; another one of the same name has another."""
        return str(self.machine["properties"].get("vmId", ""))

    @property
    def made(self) -> str:
        """How its making goes, in small letters."""
        return str(self.machine["properties"].get("provisioningState", "")).lower()

    @property
    def power(self) -> str:
        """Whether it is on, in Azure's word; empty: not known yet."""
        found = [_code(x, _POWER) for x in self.statuses]
        return next((each for each in found if each), "")

    @property
    def is_going(self) -> bool:
        """Whether it is being deleted."""
        return self.made == _DELETING


def joined(
    machines: Iterable[Mapping[str, Any]],
    views: Iterable[Mapping[str, Any]],
    interfaces: Iterable[Mapping[str, Any]],
    addresses: Iterable[Mapping[str, Any]],
) -> list[Instance]:
    """Machines, with what Azure's other lists say of them, by ids whose capitals differ there.

    Args:
        machines: virtual machines.
        views: the same, as the list with `statusOnly` has them.
        interfaces, addresses: network interfaces and public addresses.
    """
    statuses = {
        _key(x["id"]): ((x.get("properties") or {}).get("instanceView") or {}).get("statuses") or ()
        for x in views
    }
    outside = {_key(x["id"]): str(x["properties"].get("ipAddress") or "") for x in addresses}
    of_machine: dict[str, tuple[str, str, bool]] = {}
    for each in interfaces:
        properties = each["properties"]
        owner = properties.get("virtualMachine")
        if not owner or not properties.get("ipConfigurations"):
            continue
        first = properties["ipConfigurations"][0]["properties"]
        public = _key((first.get("publicIPAddress") or {}).get("id", ""))
        inside = str(first.get("privateIPAddress") or "")
        of_machine[_key(owner["id"])] = (inside, outside.get(public, ""), bool(public))
    return [
        Instance(x, statuses.get(_key(x["id"]), ()), *of_machine.get(_key(x["id"]), ()))
        for x in machines
    ]


def state(each: Instance) -> MachineState:
    """One that is stopped has ended: what is left of it is to be deleted."""
    if each.made in (_DELETING, _FAILED):
        return MachineState.ENDED
    if not each.power:
        return MachineState.PENDING
    if each.power not in _ON:
        return MachineState.ENDED
    is_on = each.power == "running" and each.made != "creating"
    return MachineState.RUNNING if is_on else MachineState.PENDING


def machine(each: Instance, options: Mapping[str, object]) -> Rented:
    """A machine; `options` (`provider` of its file) say by which address it is logged in to."""
    now = state(each)
    internal = is_internal(options, each.name)
    inside = each.inside or None
    return Rented(
        each.name,
        each.tags.get(TYPE, ""),
        now,
        inside,
        reason=reason(each) if now is MachineState.ENDED else None,
        login=(each.outside or None) if each.is_outside and not internal else inside,
        identity=each.identity,
        made_of=each.tags.get(MADE_OF, ""),
    )


def reason(each: Instance) -> str:
    """How it fares, and why, in Azure's words."""
    told = [x for x in each.statuses if x.get("level") == "Error" or x.get("message")]
    words = "; ".join(f"{_kind(x)}: {x.get('message') or x.get('displayStatus', '')}" for x in told)
    now = each.made if each.made != "succeeded" else each.power or "being made"
    if not words and each.made == "succeeded" and state(each) is MachineState.ENDED:
        words = "it has switched itself off, or Azure has taken it back"
    return f"{now}: {words}" if words else now


def failure(each: Instance) -> str:
    """Azure's code for why a machine could not be made, such as AllocationFailed; empty: none."""
    if each.made != _FAILED:
        return ""
    found = [_code(x, f"{_MAKING}failed/") for x in each.statuses]
    return next((code for code in found if code), "")


def watched(each: Instance) -> Watched:
    """For a list of all machines; one that is stopped, or was not made, is on the bill."""
    lease = each.tags.get(LEASE, "")
    return Watched(
        each.tags.get(CLUSTER, ""),
        each.name,
        each.identity,
        each.tags.get(OWNER, "somebody"),
        float(lease) if lease.isdecimal() else None,
        has_ended=state(each) is MachineState.ENDED and not each.is_going,
    )


def _code(status: Mapping[str, Any], prefix: str) -> str:
    code = str(status.get("code", ""))
    return code[len(prefix) :] if code.lower().startswith(prefix.lower()) else ""


def _kind(status: Mapping[str, Any]) -> str:
    return str(status.get("code", "")).rpartition("/")[2]


def _key(identity: str) -> str:
    return identity.lower()
