"""Google Compute Engine as a provider.

Found by `providers.registry`.  One instances.insert for each machine, whose name at Google is made
of the cluster's and its own, so that there can be only one; everything is found again by a label.
Nothing is kept here but which zone had no room lately, and requests that no answer came to.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from rayhpc.batch.errors import OptionError
from rayhpc.elastic.types import MachineState, NodeType
from rayhpc.providers.cloud_names import CLUSTER, LEASE
from rayhpc.providers.gcp import answers, instances, request
from rayhpc.providers.gcp.api import Compute, error_of
from rayhpc.providers.gcp.credentials import GoogleCredentials
from rayhpc.providers.gcp.request import Surroundings, Try
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
    *("type", "region", "availability_zone", "project_id"),
    *("use_internal_ips", "use_external_head_ip"),
)
_UNUSED = ("cache_stopped_nodes",)
# As gcloud has it (`api_endpoint_overrides/compute`).
_ENDPOINT = "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"
# Google answers a wait after at most two minutes; some kinds of machine take a few.
_WAIT_S, _DONE_S, _PAUSE_S = 150.0, 300.0, 0.5
_CONSOLE_LINES = 20
_INSERT = "compute.instances.insert"
# The name is taken; what is deleted already, or is being deleted.
_TAKEN = ("alreadyExists", "RESOURCE_ALREADY_EXISTS")
_GONE = ("notFound", "resourceNotReady", "RESOURCE_NOT_FOUND", "404")


class GcpProvider:
    """Implements `machines.MachineProvider` for one cluster.

    Args:
        cluster: its name.
        options: `provider` of its file.
        api: Compute Engine.
        now: seconds, of any clock.
    """

    def __init__(
        self,
        cluster: str,
        options: Mapping[str, object],
        api: Compute,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._options = options
        self._api = api
        self._zones = zones_of(options)
        self._cold: Cold[Try] = Cold(now)
        self._unanswered: dict[tuple[str, str], str] = {}
        self._public_key = self._user = ""
        self._public_keys: Sequence[str] = ()

    # -- MachineProvider -------------------------------------------------------------------------
    def prepare(self, public_key: str, user: str) -> None:
        """Each machine is told the key itself."""
        self._public_key, self._user = public_key, user

    def let_in(self, public_keys: Sequence[str]) -> None:
        """In their metadata."""
        self._public_keys = public_keys

    def ask(self, node_type: NodeType, names: Sequence[str]) -> None:
        """Those that Google shows under these names are there, or were."""
        known = {instances.facts(each).get("machine") for each in self._described()}
        for key in [each for each in self._unanswered if each[0] in known]:
            del self._unanswered[key]
        fresh = [name for name in names if name not in known]
        # Each takes seconds until Google has said whether there is room.
        side_by_side(partial(self._make, node_type), fresh)

    def cancel(self, names: Sequence[str]) -> None:
        """What is pending at Google is so for seconds."""
        self._end(x for x in self._named(names) if instances.state(x) is MachineState.PENDING)

    def list(self) -> Sequence[Rented]:
        """All zones in one call."""
        return [instances.machine(x, self._options) for x in self._described()]

    def release(self, names: Sequence[str]) -> None:
        """Delete."""
        self._end(self._named(names))

    def explain(self, name: str) -> str:
        """Google's words, and what a machine that runs has printed on its console."""
        found = self._named([name])
        if not found:
            return f"Compute Engine knows no instance for {name} (any more)"
        title, said = found[0]["name"], instances.reason(found[0])
        if instances.state(found[0]) is not MachineState.RUNNING:
            return f"{title} is {said}"
        with answers.in_our_words():
            doing = "compute.instances.getSerialPortOutput"
            told = self._api.call(doing, "GET", f"{_path(found[0])}/serialPort")
        lines = str(told.get("contents", "")).splitlines()[-_CONSOLE_LINES:]
        return "\n".join([f"{title} is {said}; its console:", *lines])

    def dissolve(self) -> Sequence[str]:
        """Machines that have switched themselves off are still there, with their disks."""
        left = self._described()
        self._end(left)
        return [f"instance {each['name']} ({each['status']})" for each in left]

    def renew(self, until: float | None) -> None:
        """A label."""
        for each in self._described():
            labels = {k: v for k, v in (each.get("labels") or {}).items() if k != LEASE}
            if until is not None:
                labels[LEASE] = f"{until:.0f}"
            self._set_labels(each, labels)

    # -- asking ----------------------------------------------------------------------------------
    def _make(self, kind: NodeType, name: str) -> None:
        """In each zone in turn, those that had no room lately last."""

        def make(at: Try) -> None:
            try:
                self._insert(kind, name, at.where)
            except ApiError as error:
                raise answers.why_not_there(error) from None

        places = (Try(request.machine_type(kind), zone) for zone in self._zones)
        make_somewhere("Compute Engine", places, self._cold, make)

    def _insert(self, kind: NodeType, name: str, zone: str) -> None:
        """Until the operation is done: what there is no room for is known only then.

        Asked again after a lost answer, it is the same request to Google; once the instance is
        there its name is taken, which is as good.
        """
        internal = is_internal(self._options, name)
        keys = self._public_keys
        around = Surroundings(self._public_key, self._user, owner(), internal, keys)
        body = request.body(self._cluster, kind, name, zone, around)
        number = self._unanswered.setdefault((name, zone), str(uuid.uuid4()))
        template = str(kind.options.get("sourceInstanceTemplate") or "")
        query = {"requestId": number, "sourceInstanceTemplate": template}
        error = self._outcome(zone, body, query)
        del self._unanswered[name, zone]
        if error is not None and error.code not in _TAKEN:
            raise error

    def _outcome(
        self, zone: str, body: Mapping[str, Any], query: Mapping[str, str]
    ) -> ApiError | None:
        """How an insert ends; None: well.  Raises ApiError: that is not known."""
        try:
            path = f"zones/{zone}/instances"
            operation = self._api.call(_INSERT, "POST", path, body, query=query)
        except ApiError as error:
            if answers.is_known(error):
                return error
            raise
        deadline = time.monotonic() + _DONE_S
        while operation["status"] != "DONE":
            if time.monotonic() > deadline:
                raise ApiError("", f"{operation['name']} is not done", _INSERT)
            path = f"zones/{zone}/operations/{operation['name']}/wait"
            doing = "compute.zoneOperations.wait"
            operation = self._api.call(doing, "POST", path, limit_s=_WAIT_S)
            if operation["status"] != "DONE":
                time.sleep(_PAUSE_S)  # a busy Google may answer before it has waited
        return error_of(operation, _INSERT)

    # -- what is there ---------------------------------------------------------------------------
    def _described(self) -> Sequence[dict[str, Any]]:
        with answers.in_our_words():
            return described(self._api, f"labels.{CLUSTER}={request.label(self._cluster)}")

    def _named(self, names: Sequence[str]) -> Sequence[dict[str, Any]]:
        wanted = set(names)
        return [x for x in self._described() if instances.facts(x).get("machine") in wanted]

    def _end(self, found: Iterable[Mapping[str, Any]]) -> None:
        with answers.in_our_words():
            for each in found:
                delete(self._api, each)

    def _set_labels(self, instance: Mapping[str, Any], labels: Mapping[str, str]) -> None:
        body = {"labels": labels, "labelFingerprint": instance.get("labelFingerprint", "")}
        with answers.in_our_words():
            try:
                path = f"{_path(instance)}/setLabels"
                self._api.call("compute.instances.setLabels", "POST", path, body)
            except ApiError as error:
                if error.code not in _GONE:
                    raise


def described(api: Compute, which: str) -> list[dict[str, Any]]:
    """All instances of all zones that a filter lets through.  Raises ApiError."""
    pages = api.pages("compute.instances.list", "aggregated/instances", {"filter": which})
    return [
        instance
        for page in pages
        for zone in (page.get("items") or {}).values()
        for instance in zone.get("instances") or ()
    ]


def delete(api: Compute, instance: Mapping[str, Any]) -> None:
    """Have it deleted, with its disks; one that has gone is no error.  Raises ApiError."""
    try:
        api.call("compute.instances.delete", "DELETE", _path(instance))
    except ApiError as error:
        if error.code not in _GONE:
            raise


def _path(instance: Mapping[str, Any]) -> str:
    return f"zones/{instances.zone(instance)}/instances/{instance['name']}"


class GcpKind(MachineKind):
    """The provider `gcp`."""

    name = "gcp"
    title = "Google Compute Engine"
    user = "ubuntu"
    look_seconds = 5.0

    def rent(
        self, cluster: str, options: Mapping[str, object], types: Sequence[NodeType]
    ) -> MachineProvider:
        """For one cluster."""
        if "gcp_credentials" in options:
            raise OptionError(
                "gcp_credentials are not read from a cluster's file: put them into one of their "
                "own, and name that in GOOGLE_APPLICATION_CREDENTIALS"
            )
        refuse_unknown(self.name, options, _USED, _UNUSED)
        if not zones_of(options):
            raise OptionError("provider gcp needs an availability_zone, such as us-west1-a")
        for kind in types:
            request.check(kind)
        return GcpProvider(cluster, options, _api(options))

    def watched(self, options: Mapping[str, object]) -> Sequence[Watched]:
        """By the label that all of them have; stopped ones too, since their disks cost."""
        region = options.get("region")
        with answers.in_our_words():
            found = described(_api(options), f"labels.{CLUSTER}:*")
        mine = [x for x in found if not region or instances.zone(x).startswith(f"{region}-")]
        return [instances.watched(each) for each in mine]

    def end(self, options: Mapping[str, object], identities: Sequence[str]) -> None:
        """Delete."""
        api = _api(options)
        with answers.in_our_words():
            for each in described(api, f"labels.{CLUSTER}:*"):
                if str(each["id"]) in identities:
                    delete(api, each)


def _api(options: Mapping[str, object]) -> Compute:
    project = options.get("project_id") or os.environ.get("GOOGLE_CLOUD_PROJECT")
    credentials = GoogleCredentials()
    return Compute(str(project) if project else None, credentials, os.environ.get(_ENDPOINT))


PROVIDER = GcpKind()
