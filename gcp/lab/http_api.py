"""The fake Compute Engine over HTTP, on loopback, and Google's endpoint for tokens.

Used by the lab's server and by tests of the provider.  Every request needs the token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from gcp.lab.engine import Engine
from gcp.lab.rules import RefusedError
from ssh.lab.fake_api import FakeApi, Reply, Request

TOKEN = "lab-token"
PROJECT = "lab-project-1"
_ZONE, _NAME = r"zones/([a-z0-9-]+)", r"([a-z0-9-]+)"
_CALLS: list[tuple[str, str, str]] = [
    ("compute.instances.list", "GET", r"aggregated/instances"),
    ("compute.instances.insert", "POST", rf"{_ZONE}/instances"),
    ("compute.instances.delete", "DELETE", rf"{_ZONE}/instances/{_NAME}"),
    ("compute.instances.setLabels", "POST", rf"{_ZONE}/instances/{_NAME}/setLabels"),
    (
        "compute.instances.getSerialPortOutput",
        "GET",
        rf"{_ZONE}/instances/{_NAME}/serialPort",
    ),
    ("compute.zoneOperations.wait", "POST", rf"{_ZONE}/operations/{_NAME}/wait"),
]


class FakeGce(FakeApi):
    """A server of one `engine`."""

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        super().__init__(before)
        self.engine = Engine()
        self.endpoint = f"{self.root}/compute/v1/"
        self.token_uri = f"{self.root}/token"

    def reply(self, request: Request) -> Reply:
        """The answer, in the lock."""
        if request.url == "/token":
            found = {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}
            return Reply(200, found)
        self.engine.go_on()
        name = "?"
        try:
            name, words, query = _call(request.method, request.url)
            self._may(name, request.headers.get("Authorization", ""))
            found = self._do(name, words, request.body, query)
        except RefusedError as error:
            self.calls.append((name, error.status))
            said = [{"reason": error.reason, "message": str(error), "domain": "global"}]
            refusal = {"code": error.status, "message": str(error), "errors": said}
            return Reply(error.status, {"error": refusal})
        self.calls.append((name, 200))
        lost = name == "compute.instances.insert" and self.engine.faults.lose > 0
        self.engine.faults.lose -= lost
        return Reply(200, json.loads(json.dumps(found)), is_lost=lost)

    def _may(self, name: str, token: str) -> None:
        faults = self.engine.faults
        if token != f"Bearer {TOKEN}":
            raise RefusedError(401, "authError", "Invalid Credentials")
        if faults.throttle:
            faults.throttle -= 1
            raise RefusedError(403, "rateLimitExceeded", "Rate Limit Exceeded")
        if name in faults.deny:
            text = f"Required '{name}' permission for 'projects/{PROJECT}'"
            raise RefusedError(403, "forbidden", text)

    def _do(
        self, name: str, words: tuple[str, ...], body: dict[str, Any], query: dict[str, str]
    ) -> Any:
        if name == "compute.instances.list":
            return self.engine.aggregated(query)
        if name == "compute.instances.insert":
            self.inserted.append((body, query))
            return self.engine.insert(words[0], body, query)
        if name == "compute.instances.delete":
            return self.engine.delete(*words)
        if name == "compute.instances.setLabels":
            return self.engine.set_labels(words[0], words[1], body)
        if name == "compute.zoneOperations.wait":
            return self.engine.operation(*words)
        self.engine.one(*words)
        return {"contents": "booted\n"}


def _call(method: str, url: str) -> tuple[str, tuple[str, ...], dict[str, str]]:
    parts = urlsplit(url)
    prefix = f"/compute/v1/projects/{PROJECT}/"
    if not parts.path.startswith(prefix):
        raise RefusedError(404, "notFound", f"no project at {parts.path}")
    path = parts.path[len(prefix) :]
    for name, verb, pattern in _CALLS:
        match = re.fullmatch(pattern, path)
        if match and verb == method:
            return name, match.groups(), dict(parse_qsl(parts.query))
    raise RefusedError(404, "notFound", f"{method} {path} is not served")
