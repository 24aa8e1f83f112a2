"""In front of moto: what EC2 does and moto does not, and what goes wrong on demand.

Used by `server`, as WSGI around moto's own application.  Requests are known by the form they carry.
"""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from xml.etree import ElementTree

_IMAGE = "ami-0ubuntu00000000"
_ERROR = (
    "<Response><Errors><Error><Code>{}</Code><Message>{}</Message></Error></Errors>"
    "<RequestID>lab</RequestID></Response>"
)
_UNKNOWN_TYPE = "m5.imaginary"


class Faults:
    """The application around moto's.

    Args:
        inner: moto's.
        file: says what is to go wrong, as `lab.Faults`; read at each request.
        log: gets a line for each request: its name, and the code of its answer.
    """

    def __init__(self, inner: Callable[..., Iterable[bytes]], file: Path, log: Path) -> None:
        self._inner = inner
        self._file = file
        self._log = log
        self._tokens: dict[str, tuple[str, tuple[str, list[Any], bytes]]] = {}
        self._made: dict[str, float] = {}
        self._ended: set[str] = set()
        self._left: dict[str, int] = {}
        self._read_at = 0
        self._guard = threading.Lock()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length) if length else b""
        environ["wsgi.input"] = io.BytesIO(body)
        if "GetParameter" in environ.get("HTTP_X_AMZ_TARGET", ""):
            start("200 OK", [("Content-Type", "application/x-amz-json-1.1")])
            return [json.dumps({"Parameter": {"Value": _IMAGE}}).encode()]
        form = {key: values[0] for key, values in parse_qs(body.decode()).items()}
        with self._guard:
            answer = self._answer(environ, form, self._wanted())
        self._note(form.get("Action", "?"), answer[0])
        done = answer[0].startswith("200")
        if form.get("Action") == "RunInstances" and done and self._take("lose"):
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionAbortedError("the reply is lost")
        start(answer[0], answer[1])
        return [answer[2]]

    def _answer(
        self, environ: dict[str, Any], form: dict[str, str], wanted: dict[str, Any]
    ) -> tuple[str, list[Any], bytes]:
        action = form.get("Action", "")
        if action in wanted.get("deny", []):
            said = (
                f"User: arn:aws:iam::123456789012:user/lab is not authorized to perform: {action}"
            )
            return _error("403 Forbidden", "UnauthorizedOperation", said)
        if self._take("throttle"):
            return _error("503 Busy", "RequestLimitExceeded", "Request limit exceeded.")
        if action == "RunInstances":
            return self._run(environ, form, wanted)
        answer = self._ask(environ)
        if action == "TerminateInstances":
            self._ended |= {each for key, each in form.items() if key.startswith("InstanceId.")}
        if action == "DescribeInstances":
            return self._hidden(answer, float(wanted.get("hide_s", 0.0)))
        return answer

    def _run(
        self, environ: dict[str, Any], form: dict[str, str], wanted: dict[str, Any]
    ) -> tuple[str, list[Any], bytes]:
        token = form.get("ClientToken", "")
        known = json.dumps(sorted((k, v) for k, v in form.items() if k != "ClientToken"))
        if token in self._tokens:
            before, answer = self._tokens[token]
            if before != known:
                return _error("400 Bad", "IdempotentParameterMismatch", "other parameters")
            if self._ended & set(_texts(answer[2], "instanceId")):
                return _error("400 Bad", "IdempotentInstanceTerminated", "it has ended")
            return answer
        kind, zone = form.get("InstanceType", ""), form.get("Placement.AvailabilityZone", "")
        if kind == _UNKNOWN_TYPE:
            said = f"Invalid value '{kind}' for InstanceType."
            return _error("400 Bad", "InvalidParameterValue", said)
        if zone in wanted.get("full", []) or kind in wanted.get("full", []):
            said = f"We currently do not have sufficient {kind} capacity in {zone}."
            return _error("500 No", "InsufficientInstanceCapacity", said)
        answer = self._ask(environ)
        if answer[0].startswith("200"):
            self._tokens[token] = (known, answer)
            for name in _texts(answer[2], "instanceId"):
                self._made[name] = time.monotonic()
        return answer

    def _hidden(
        self, answer: tuple[str, list[Any], bytes], hide_s: float
    ) -> tuple[str, list[Any], bytes]:
        """Without what has only just been made."""
        now = time.monotonic()
        young = {name for name, made in self._made.items() if now - made < hide_s}
        if not young or not answer[0].startswith("200"):
            return answer
        tree = ElementTree.fromstring(answer[2])
        for parent in tree.iter():
            for item in list(parent):
                is_reservation = _name(item) == "item" and _own(item, "reservationId")
                if is_reservation and young & set(_texts(ElementTree.tostring(item), "instanceId")):
                    parent.remove(item)
        body = ElementTree.tostring(tree)
        headers = [(k, v) for k, v in answer[1] if k.lower() != "content-length"]
        return answer[0], headers, body

    def _ask(self, environ: dict[str, Any]) -> tuple[str, list[Any], bytes]:
        """moto's own answer."""
        said: list[Any] = []
        body = b"".join(self._inner(environ, lambda *words: said.append(words)))
        return said[0][0], list(said[0][1]), body

    def _wanted(self) -> dict[str, Any]:
        """What is to go wrong; counts begin anew when the file is written anew."""
        try:
            at = self._file.stat().st_mtime_ns
        except FileNotFoundError:
            return {}
        found: dict[str, Any] = json.loads(self._file.read_text())
        if at != self._read_at:
            self._read_at = at
            self._left = {key: int(found.get(key, 0)) for key in ("lose", "throttle")}
        return found

    def _take(self, what: str) -> bool:
        left = self._left.get(what, 0)
        self._left[what] = max(0, left - 1)
        return left > 0

    def _note(self, action: str, status: str) -> None:
        with self._log.open("a") as file:
            file.write(f"{action} {status.split()[0]}\n")


def _error(status: str, code: str, message: str) -> tuple[str, list[Any], bytes]:
    body = _ERROR.format(code, message).encode()
    return status, [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))], body


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _own(element: ElementTree.Element, child: str) -> bool:
    return any(_name(each) == child for each in element)


def _texts(body: bytes, name: str) -> list[str]:
    return [x.text or "" for x in ElementTree.fromstring(body).iter() if _name(x) == name]
