"""Which virtual machines there are at Azure, and how they fare; and the end of one.

Used by `provider`.  It knows no cluster: whose a machine is, is in its tags.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from rayhpc.providers.azure import answers, instances
from rayhpc.providers.azure.api import COMPUTE, NETWORK, Arm
from rayhpc.providers.azure.instances import Instance
from rayhpc.providers.rest import ApiError
from rayhpc.providers.side_by_side import side_by_side

VMS = "Microsoft.Compute/virtualMachines"


def listed(api: Arm, within: str = "") -> list[Instance]:
    """All machines of the subscription, or of a group (its path), without how they fare.

    Raises:
        ApiError: refused, or no answer.
    """
    path = f"{within}/providers/{VMS}" if within else f"providers/{VMS}"
    try:
        return [Instance(each) for each in api.items(f"{VMS}/read", path, COMPUTE)]
    except ApiError as error:
        if answers.is_gone(error):
            return []  # there is no such group (any more)
        raise


def described(api: Arm, within: str = "") -> list[Instance]:
    """Likewise, with all that Azure's lists say of them.  Raises ApiError."""
    found = listed(api, within)
    if not found:
        return []
    network = f"{within}/providers/Microsoft.Network" if within else "providers/Microsoft.Network"
    interfaces = api.items(
        "Microsoft.Network/networkInterfaces/read", f"{network}/networkInterfaces", NETWORK
    )
    addresses = api.items(
        "Microsoft.Network/publicIPAddresses/read", f"{network}/publicIPAddresses", NETWORK
    )
    views = _views(api, found)
    return instances.joined([x.machine for x in found], views, interfaces, addresses)


def delete(api: Arm, each: Instance) -> None:
    """Have it deleted, with its disk, interface and address; one that has gone is no error.

    Raises:
        ApiError: refused.
    """
    if each.is_going:
        return
    try:
        api.call(f"{VMS}/delete", "DELETE", each.path, COMPUTE)
    except ApiError as error:
        if not answers.is_gone(error):
            raise


def _views(api: Arm, machines: Sequence[Instance]) -> list[dict[str, Any]]:
    """How they fare: in one list, which Azure has for the whole subscription only.

    Whoever may see a resource group alone is refused it, and asks for each machine.
    """
    try:
        words = {"statusOnly": "true"}
        found = list(api.items(f"{VMS}/read", f"providers/{VMS}", COMPUTE, words))
    except ApiError as error:
        if not answers.is_no_right(error):
            raise
        found = []
    shown = {str(each["id"]).lower() for each in found}
    rest = [each for each in machines if str(each.machine["id"]).lower() not in shown]
    return [*found, *side_by_side(partial(_view, api), rest)]


def _view(api: Arm, each: Instance) -> dict[str, Any]:
    """One machine's, as that list has it."""
    view: dict[str, Any] = {}
    try:
        doing = f"{VMS}/instanceView/read"
        view = api.call(doing, "GET", f"{each.path}/instanceView", COMPUTE).body
    except ApiError as error:
        if not answers.is_gone(error):
            raise
    return {"id": each.machine["id"], "properties": {"instanceView": view}}
