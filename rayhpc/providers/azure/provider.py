"""Microsoft Azure as a provider.

Found by `providers.registry`.  One PUT for each machine, with its disk, interface and address,
under a name that is made of the cluster's and its own and only if there is none of that name, so
that there can be only one; everything is found again by tags.  Nothing is kept here but which zone
had no room lately.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rayhpc.batch.errors import OptionError
from rayhpc.elastic.types import MachineState, NodeType
from rayhpc.providers.azure import answers, instances, request
from rayhpc.providers.azure.api import COMPUTE, RESOURCES, Arm
from rayhpc.providers.azure.credentials import AzureCredentials
from rayhpc.providers.azure.instances import Instance
from rayhpc.providers.azure.listing import VMS, delete, described, listed
from rayhpc.providers.azure.network import Network
from rayhpc.providers.azure.request import Surroundings, Try
from rayhpc.providers.cloud_names import CLUSTER, LEASE, name_at
from rayhpc.providers.machines import (
    MachineKind,
    MachineProvider,
    Rented,
    Watched,
    is_internal,
    owner,
)
from rayhpc.providers.options import refuse_unknown
from rayhpc.providers.rest import ApiError
from rayhpc.providers.side_by_side import side_by_side
from rayhpc.providers.zones import Cold, make_somewhere, zones_of

# `provider` of a cluster's file: what Ray has and what of it means something here.
_USED = (
    *("type", "location", "resource_group", "subscription_id", "availability_zone"),
    *("use_internal_ips", "use_external_head_ip", "msi_name", "msi_resource_group", "tags"),
)
_UNUSED = ("cache_stopped_nodes", "unique_id", "subnet_mask")
# Ray's own default.
_GROUP = "ray-cluster"
_ENDPOINT = "AZURE_RESOURCE_MANAGER_ENDPOINT"
# No room is known some seconds after a machine was accepted; one that fails later is seen by
# `list`.  A failed one keeps its name until it has been deleted.
_REFUSED_S, _DELETED_S = 20.0, 300.0
_WRITE = f"{VMS}/write"
_MSI = "Microsoft.ManagedIdentity/userAssignedIdentities"


class AzureProvider:
    """Implements `machines.MachineProvider` for one cluster.

    Args:
        cluster: its name.
        options: `provider` of its file.
        api: Azure.
        now: seconds, of any clock.
    """

    def __init__(
        self,
        cluster: str,
        options: Mapping[str, object],
        api: Arm,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._options = options
        self._api = api
        self._location = str(options["location"])
        group = str(options.get("resource_group") or _GROUP)
        self._group = f"resourceGroups/{group}"
        self._identity = ""
        if options.get("msi_name"):
            of_identity = options.get("msi_resource_group") or group
            self._identity = f"resourceGroups/{of_identity}/providers/{_MSI}/{options['msi_name']}"
        tags = options.get("tags")
        users: Mapping[str, str] = tags if isinstance(tags, Mapping) else {}
        self._network = Network(api, cluster, group, self._location, users)
        self._places: tuple[str, str] | None = None
        self._zones = zones_of(options)
        self._cold: Cold[Try] = Cold(now)
        self._public_key = self._user = ""
        self._public_keys: Sequence[str] = ()

    # -- MachineProvider -------------------------------------------------------------------------
    def prepare(self, public_key: str, user: str) -> None:
        """The resource group now; the network when a type first needs it."""
        self._public_key, self._user = public_key, user
        with answers.in_our_words():
            self._network.make_group()

    def let_in(self, public_keys: Sequence[str]) -> None:
        """With their own key."""
        self._public_keys = public_keys

    def ask(self, node_type: NodeType, names: Sequence[str]) -> None:
        """Those that Azure shows under these names are there, or were.

        The others are asked for side by side: each takes seconds to be accepted.
        """
        known = {each.name for each in self._listed()}
        fresh = [name for name in names if name not in known]
        if fresh:
            with answers.in_our_words():
                around = self._surroundings(node_type)
            side_by_side(lambda name: self._make(node_type, name, around), fresh)

    def cancel(self, names: Sequence[str]) -> None:
        """What is pending at Azure is so for a minute or two."""
        found = self._described()
        self._end(
            x for x in found if x.name in names and instances.state(x) is MachineState.PENDING
        )

    def list(self) -> Sequence[Rented]:
        """Four lists of Azure's, whatever the number of machines, for who may see them all."""
        found = self._described()
        for each in found:
            if instances.failure(each) in answers.NO_ROOM:
                self._cold.note(_try_of(each))
        return [instances.machine(x, self._options) for x in found]

    def release(self, names: Sequence[str]) -> None:
        """Delete."""
        wanted = set(names)
        self._end(x for x in self._listed() if x.name in wanted)

    def explain(self, name: str) -> str:
        """Azure's words."""
        found = [each for each in self._described() if each.name == name]
        if not found:
            return f"Azure knows no virtual machine for {name} (any more)"
        return f"{found[0].machine['name']} is {instances.reason(found[0])}"

    def dissolve(self) -> Sequence[str]:
        """Machines that have switched themselves off are still there, and on the bill."""
        left = self._listed()
        self._end(left)
        if left:
            return [f"virtual machine {each.machine['name']} ({each.made})" for each in left]
        with answers.in_our_words():
            return self._network.remove()

    def renew(self, until: float | None) -> None:
        """A tag; what has ended is not kept on the bill."""
        found = self._described()
        ended = [x for x in found if instances.state(x) is MachineState.ENDED]
        self._end(ended)
        for each in found:
            if each not in ended:
                self._set_lease(each, until)

    # -- asking ----------------------------------------------------------------------------------
    def _make(self, kind: NodeType, name: str, around: Surroundings) -> None:
        """At each place in turn, those that had no room lately last."""

        def make(at: Try) -> None:
            try:
                self._put(kind, name, at, around)
            except ApiError as error:
                raise answers.why_not_there(error) from None

        make_somewhere("Azure", request.tries(kind, self._zones), self._cold, make)

    def _put(self, kind: NodeType, name: str, at: Try, around: Surroundings) -> None:
        """Only if there is none of that name: another `up` may have asked for it meanwhile.

        Raises:
            ApiError: refused at once, or after it was accepted; then nothing of it is left.
        """
        mine = replace(around, internal=is_internal(self._options, name))
        body = request.body(self._cluster, kind, name, at, mine)
        path = f"{self._group}/providers/{VMS}/{name_at(self._cluster, name)}"
        try:
            only_new = {"If-None-Match": "*"}
            began = self._api.call(_WRITE, "PUT", path, COMPUTE, body, headers=only_new)
        except ApiError as error:
            if answers.is_taken(error):
                return
            raise
        try:
            self._api.end_of(began, _WRITE, _REFUSED_S)
        except ApiError as error:
            if answers.is_elsewhere(error):
                self._remove_failed(path)
            raise

    def _remove_failed(self, path: str) -> None:
        """What there was no room for is in Azure's list, and has its name, until it is deleted."""
        doing = f"{VMS}/delete"
        began = self._api.call(doing, "DELETE", path, COMPUTE)
        if not self._api.end_of(began, doing, _DELETED_S):
            raise ApiError("", f"{path} is not deleted after {_DELETED_S:g} s", doing)

    def _surroundings(self, kind: NodeType) -> Surroundings:
        subnet = rules = ""
        if "subnet" not in request.words_of(kind):
            if self._places is None:
                self._places = self._network.make()
            subnet, rules = self._places
        return Surroundings(
            self._location,
            subnet,
            rules,
            self._public_key,
            self._user,
            owner(),
            True,
            self._api.identity(self._identity) if self._identity else "",
            self._api.endpoint,
            self._public_keys,
        )

    # -- what is there ---------------------------------------------------------------------------
    def _listed(self) -> Sequence[Instance]:
        """The cluster's machines, without how they fare."""
        with answers.in_our_words():
            return [x for x in listed(self._api, self._group) if self._is_mine(x)]

    def _described(self) -> Sequence[Instance]:
        """The cluster's machines, with all that Azure's lists say of them."""
        with answers.in_our_words():
            found = described(self._api, self._group)
        return [each for each in found if self._is_mine(each)]

    def _is_mine(self, each: Instance) -> bool:
        return each.tags.get(CLUSTER) == self._cluster

    def _end(self, found: Iterable[Instance]) -> None:
        with answers.in_our_words():
            for each in found:
                delete(self._api, each)

    def _set_lease(self, each: Instance, until: float | None) -> None:
        """One tag; the others stay as they are."""
        how = "Delete" if until is None else "Merge"
        value = each.tags.get(LEASE) if until is None else f"{until:.0f}"
        if value is None:
            return
        body = {"operation": how, "properties": {"tags": {LEASE: value}}}
        doing = "Microsoft.Resources/tags/write"
        path = f"{each.path}/providers/Microsoft.Resources/tags/default"
        with answers.in_our_words():
            try:
                self._api.call(doing, "PATCH", path, RESOURCES, body)
            except ApiError as error:
                if not answers.is_gone(error):
                    raise


def _try_of(each: Instance) -> Try:
    zones: Any = each.machine.get("zones") or [""]
    return Try(str(each.machine["properties"]["hardwareProfile"]["vmSize"]), str(zones[0]))


class AzureKind(MachineKind):
    """The provider `azure`."""

    name = "azure"
    title = "Microsoft Azure"
    user = "ubuntu"
    look_seconds = 10.0

    def rent(
        self, cluster: str, options: Mapping[str, object], types: Sequence[NodeType]
    ) -> MachineProvider:
        """For one cluster."""
        refuse_unknown(self.name, options, _USED, _UNUSED)
        if not options.get("location"):
            raise OptionError("provider azure needs a location, such as westus2")
        for kind in types:
            request.check(kind)
        return AzureProvider(cluster, options, _api(options))

    def watched(self, options: Mapping[str, object]) -> Sequence[Watched]:
        """By the tag that all of them have; stopped ones too, since they cost on."""
        return [instances.watched(each) for each in _all(_api(options), options)]

    def end(self, options: Mapping[str, object], identities: Sequence[str]) -> None:
        """Delete."""
        api = _api(options)
        for each in _all(api, options):
            if each.identity in identities:
                with answers.in_our_words():
                    delete(api, each)


def _all(api: Arm, options: Mapping[str, object]) -> list[Instance]:
    """Every cluster's machines: in the resource group, if one is named, or everywhere.

    Raises:
        ProviderError: refused, or no answer.
    """
    place, group = options.get("region"), options.get("resource_group")
    with answers.in_our_words():
        found = described(api, f"resourceGroups/{group}" if group else "")
    mine = [each for each in found if CLUSTER in each.tags]
    return [each for each in mine if not place or each.machine.get("location") == place]


def _api(options: Mapping[str, object]) -> Arm:
    subscription = options.get("subscription_id") or os.environ.get("AZURE_SUBSCRIPTION_ID")
    endpoint = os.environ.get(_ENDPOINT)
    credentials = AzureCredentials(endpoint)
    return Arm(str(subscription) if subscription else None, credentials, endpoint)


PROVIDER = AzureKind()
