"""The fake Azure over HTTP, on loopback, and what Azure tells machines about themselves.

Used by the lab's server and by tests of the provider.  Every request needs the token, and a version
of the API.
"""

from __future__ import annotations

import copy
import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from arm.lab.engine import Engine, Operation
from arm.lab.rules import RefusedError, check_version
from ssh.lab.fake_api import FakeApi, Reply, Request

TOKEN = "lab-token"
SUBSCRIPTION = "00000000-0000-0000-0000-0000000000ab"
# What azure-identity shows to the endpoint of a machine's identity.
IDENTITY_HEADER = "lab-identity"
_MACHINES, _NETS = "Microsoft.Compute/virtualMachines", "Microsoft.Network"
_GROUP = r"resourceGroups/(?P<group>[^/]+)"
_ONE = rf"{_GROUP}/providers/{_MACHINES}/(?P<name>[^/]+)"
_OPERATIONS = r"providers/(?P<namespace>[A-Za-z.]+)/locations/lab"
_OF_NETWORK = "networkInterfaces|publicIPAddresses|virtualNetworks|networkSecurityGroups"
# The right, the method, the path below the subscription.
_ROUTES: list[tuple[str, str, str]] = [
    ("Microsoft.Resources/subscriptions/resourceGroups", "GET HEAD PUT DELETE", _GROUP),
    ("Microsoft.Resources/subscriptions/resourceGroups/resources", "GET", rf"{_GROUP}/resources"),
    (_MACHINES, "GET", rf"providers/{_MACHINES}"),
    (_MACHINES, "GET", rf"{_GROUP}/providers/{_MACHINES}"),
    (_MACHINES, "GET PUT DELETE", _ONE),
    (f"{_MACHINES}/instanceView", "GET", f"{_ONE}/instanceView"),
    (
        "Microsoft.Resources/tags",
        "PATCH",
        rf"{_ONE}/providers/Microsoft.Resources/tags/default",
    ),
    (_NETS, "GET", rf"providers/{_NETS}/(?P<kind>{_OF_NETWORK})"),
    (_NETS, "GET", rf"{_GROUP}/providers/{_NETS}/(?P<kind>{_OF_NETWORK})"),
    (
        _NETS,
        "GET PUT DELETE",
        rf"{_GROUP}/providers/{_NETS}/(?P<kind>{_OF_NETWORK})/(?P<name>[^/]+)",
    ),
    (
        "operations",
        "GET",
        rf"{_OPERATIONS}/(?P<how>operations|operationResults)/(?P<name>[^/]+)",
    ),
]
_VERBS = {"GET": "read", "HEAD": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete"}


class FakeArm(FakeApi):
    """A server of one `engine`.

    Attributes:
        asking: id of the machine that asks about itself.
    """

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        super().__init__(before)
        self.engine = Engine(SUBSCRIPTION)
        self.asking = ""

    def reply(self, request: Request) -> Reply:
        """The answer, in the lock."""
        parts = urlsplit(request.url)
        if parts.path == "/token":
            return _token(request)
        if parts.path.startswith("/metadata/"):
            return self._metadata(request, parts.path, dict(parse_qsl(parts.query)))
        self.engine.go_on()
        name = "?"
        try:
            right, words = _route(request.method, unquote(parts.path))
            name = f"{right}/{_VERBS[request.method]}"
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            self._may(name, request, words)
            check_version(_namespace(right, words), query.get("api-version"))
            reply = self._do(right, request, words, query)
        except RefusedError as error:
            self.calls.append((name, error.status))
            later = {} if error.retry_s is None else {"Retry-After": str(error.retry_s)}
            said = {"error": {"code": error.code, "message": str(error)}}
            return Reply(error.status, said, later)
        self.calls.append((name, reply.status))
        return Reply(
            reply.status,
            copy.deepcopy(reply.body),
            reply.headers,
            self._is_lost(name),
        )

    def _metadata(self, request: Request, path: str, query: Mapping[str, str]) -> Reply:
        """A token is for an identity that the machine really has."""
        machine = self.engine.one(self.asking)
        if request.headers.get("Metadata") != "true" or "api-version" not in query:
            return Reply(400, {"error": "Bad request"})
        if path == "/metadata/instance/compute/resourceId":
            return Reply(200, self.asking)
        has = (machine.get("identity") or {}).get("userAssignedIdentities", {})
        if path != "/metadata/identity/oauth2/token" or query.get("msi_res_id") not in has:
            return Reply(400, {"error": "invalid_request"})
        return Reply(200, {"access_token": TOKEN, "resource": query["resource"]})

    def _is_lost(self, name: str) -> bool:
        lost = name == f"{_MACHINES}/write" and self.engine.faults.lose > 0
        self.engine.faults.lose -= lost
        return lost

    def _may(self, name: str, request: Request, words: Mapping[str, str]) -> None:
        faults = self.engine.faults
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            text = "The access token is invalid."
            raise RefusedError(401, "InvalidAuthenticationToken", text)
        if faults.throttle:
            faults.throttle -= 1
            text = "The request is being throttled as the limit has been reached"
            raise RefusedError(429, "TooManyRequests", text, retry_s=7)
        is_wider = "group" not in words and not name.startswith("operations/")
        if name in faults.deny or (faults.only_groups and is_wider):
            text = f"The client 'me' does not have authorization to perform action '{name}'"
            raise RefusedError(403, "AuthorizationFailed", text)

    def _do(
        self, right: str, request: Request, words: dict[str, str], query: dict[str, str]
    ) -> Reply:
        if right == "operations":
            return self._operation(words)
        if right == "Microsoft.Resources/tags":
            identity = self.engine.identity(words["group"], "virtualMachines", words["name"])
            return Reply(200, self.engine.set_tags(identity, request.body))
        if right.endswith("/instanceView"):
            identity = self.engine.identity(words["group"], "virtualMachines", words["name"])
            return Reply(200, {"statuses": self.engine.view(identity)})
        if right.endswith("resourceGroups/resources"):
            return Reply(200, {"value": self.engine.all_in(words["group"])})
        if right.endswith("resourceGroups"):
            return self._group(request, words["group"])
        kind = words.get("kind", "virtualMachines")
        if "name" not in words:
            return self._list(kind, words.get("group"), request, query)
        return self._resource(request, kind, words)

    def _group(self, request: Request, name: str) -> Reply:
        if request.method == "PUT":
            return Reply(*self.engine.put_group(name, request.body))
        if request.method == "DELETE":
            return self._accepted(self.engine.delete_group(name), "Microsoft.Resources")
        found = self.engine.group(name)
        return Reply(204) if request.method == "HEAD" else Reply(200, found)

    def _resource(self, request: Request, kind: str, words: Mapping[str, str]) -> Reply:
        engine = self.engine
        namespace = "Microsoft.Compute" if kind == "virtualMachines" else _NETS
        identity = engine.identity(words["group"], kind, words["name"])
        if request.method == "GET":
            return Reply(200, engine.one(identity))
        if request.method == "DELETE":
            if identity.lower() not in engine.resources:
                return Reply(204)
            return self._accepted(engine.delete(identity), namespace)
        if kind == "virtualMachines":
            beside = {"name": words["name"], "new": str(request.headers.get("If-None-Match"))}
            self.inserted.append((copy.deepcopy(request.body), beside))
        new = request.headers.get("If-None-Match") == "*"
        put = engine.put(words["group"], kind, words["name"], request.body, new=new)
        status, made, operation = put
        where = {"Azure-AsyncOperation": self._where(operation, namespace, "operations")}
        return Reply(status, made, {**where, "Retry-After": "0"})

    def _accepted(self, operation: Operation, namespace: str) -> Reply:
        where = self._where(operation, namespace, "operationResults")
        return Reply(202, None, {"Location": where, "Retry-After": "0"})

    def _where(self, operation: Operation, namespace: str, how: str) -> str:
        path = f"/subscriptions/{SUBSCRIPTION}/providers/{namespace}/locations/lab/{how}"
        version = {"Microsoft.Compute": "2024-07-01", _NETS: "2024-05-01"}.get(namespace)
        return f"{self.root}{path}/{operation.name}?api-version={version or '2021-04-01'}"

    def _operation(self, words: Mapping[str, str]) -> Reply:
        found = self.engine.operations.get(words["name"])
        if found is None:
            raise RefusedError(404, "NotFound", "There is no such operation.")
        if words["how"] == "operationResults":
            is_over = found.status != "InProgress"
            return Reply(204) if is_over else Reply(202, None, {"Retry-After": "0"})
        body: dict[str, Any] = {"name": found.name, "status": found.status}
        return Reply(200, {**body, **({"error": found.error} if found.error else {})})

    def _list(
        self, kind: str, group: str | None, request: Request, query: Mapping[str, str]
    ) -> Reply:
        """One to a page."""
        found = self.engine.some(kind, group)
        if query.get("statusOnly") == "true":
            found = [self._status(each) for each in found]
        start = int(query.get("$skiptoken", 0))
        page: dict[str, Any] = {"value": found[start : start + 1]}
        if start + 1 < len(found):
            path = urlsplit(request.url).path
            more = {**query, "$skiptoken": str(start + 1)}
            words = "&".join(f"{key}={quote(value)}" for key, value in more.items())
            page["nextLink"] = f"{self.root}{path}?{words}"
        return Reply(200, page)

    def _status(self, machine: Mapping[str, Any]) -> dict[str, Any]:
        """Azure has the resource group in capitals there."""
        head, _, rest = machine["id"].partition("/resourceGroups/")
        group, _, tail = rest.partition("/")
        view = {"statuses": self.engine.view(machine["id"])}
        return {
            "id": f"{head}/resourceGroups/{group.upper()}/{tail}",
            "name": machine["name"],
            "location": machine["location"],
            "properties": {"instanceView": view},
        }


def _route(method: str, path: str) -> tuple[str, dict[str, str]]:
    prefix = f"/subscriptions/{SUBSCRIPTION}/"
    if not path.startswith(prefix):
        raise RefusedError(404, "SubscriptionNotFound", f"no subscription at {path}")
    for right, methods, pattern in _ROUTES:
        match = re.fullmatch(pattern, path[len(prefix) :], re.IGNORECASE)  # as at Azure
        if match and method in methods.split():
            words = {key: value for key, value in match.groupdict().items() if value}
            for kind in _OF_NETWORK.split("|"):
                if words.get("kind", "").lower() == kind.lower():
                    words["kind"] = kind
                    return f"{right}/{kind}", words
            return right, words
    raise RefusedError(404, "InvalidResourceType", f"{method} {path} is not served")


def _namespace(right: str, words: Mapping[str, str]) -> str:
    return words.get("namespace") or right.partition("/")[0]


def _token(request: Request) -> Reply:
    if request.headers.get("X-IDENTITY-HEADER") != IDENTITY_HEADER:
        return Reply(401, {"error": "invalid_request"})
    until = str(int(time.time()) + 3600)
    found = {"access_token": TOKEN, "expires_on": until, "token_type": "Bearer"}
    return Reply(200, {**found, "resource": json.dumps(request.url)})
