"""Requests to an API server: create, get, list, patch, delete, watch, and what we may do.

A connection for each request: they are few.  One client may be used by several threads.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from rayhpc.kubernetes.access import Access
from rayhpc.kubernetes.errors import ApiError, UnreachableError
from rayhpc.kubernetes.objects import Kind, Object

T = TypeVar("T")
_LIMIT_S = 30.0
_PAGE = 500
_PLAIN, _MERGE = "application/json", "application/merge-patch+json"


class _Status(msgspec.Struct, frozen=True):
    """What the server says when it refuses."""

    reason: str = ""
    message: str = ""


class Client:
    """The objects of one namespace.

    Every method raises UnreachableError if there is no answer, and ApiError if it is a refusal.

    Args:
        access: how the server is reached.
        namespace: whose objects; None: the access' own.
    """

    def __init__(self, access: Access, namespace: str | None = None) -> None:
        self.access = access
        self.namespace = namespace or access.namespace
        url = urlsplit(access.server)
        self._host, self._prefix = url.hostname or "", url.path.rstrip("/")
        self._tls = url.scheme == "https"
        self._port = url.port or (443 if self._tls else 80)

    def create(self, kind: Kind[T], manifest: Object) -> T:
        """Create an object; unknown fields in it are refused."""
        body = {"apiVersion": kind.api_version, "kind": kind.name, **manifest}
        path = f"{kind.path(self.namespace)}?fieldValidation=Strict"
        return self._object(kind, "POST", path, body)

    def get(self, kind: Kind[T], name: str) -> T:
        """One object."""
        return self._object(kind, "GET", kind.path(self.namespace, name))

    def list(self, kind: Kind[T], labels: Mapping[str, str] = {}, fields: str = "") -> list[T]:
        """All objects with these labels, and for which `fields` holds, in pages."""
        found: list[T] = []
        more = ""
        while True:
            page, more = self._page(kind, labels, fields, more)
            found += page
            if not more:
                return found

    def patch(self, kind: Kind[T], name: str, change: Object) -> T:
        """Merge a change into an object."""
        return self._object(kind, "PATCH", kind.path(self.namespace, name), change, _MERGE)

    def delete(
        self,
        kind: Kind[T],
        name: str,
        *,
        foreground: bool = False,
        unchanged: str = "",
    ) -> bool:
        """Delete an object and what it owns.

        Args:
            kind, name: which.
            foreground: it stays until what it owns has gone.
            unchanged: only if this is its resource version.

        Returns:
            False: there was none.
        """
        options: Object = {"propagationPolicy": "Foreground" if foreground else "Background"}
        if unchanged:
            options["preconditions"] = {"resourceVersion": unchanged}
        try:
            self.request("DELETE", kind.path(self.namespace, name), options)
        except ApiError as error:
            if not error.is_missing:
                raise
            return False
        return True

    def may(self, verb: str, kind: Kind[T], subresource: str = "") -> bool:
        """Whether we may do that to the namespace's objects, by the server's own review."""
        what = {"namespace": self.namespace, "verb": verb, "group": kind.group}
        what |= {"resource": kind.plural, "subresource": subresource}
        review = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1"}
        body = {**review, "spec": {"resourceAttributes": what}}
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        answer = json.loads(self.request("POST", path, body))
        return bool(answer.get("status", {}).get("allowed"))

    def watch(
        self, kind: Kind[T], labels: Mapping[str, str] = {}, within_s: int = 60
    ) -> Iterator[tuple[str, T]]:
        """ADDED, MODIFIED or DELETED with each object, from those that there are now on.

        Ends after `within_s` seconds; what happened meanwhile is seen by the next watch, whose
        first lines are the objects as they are.
        """
        query = {"watch": "1", "timeoutSeconds": str(within_s), **_selector(labels)}
        path = f"{kind.path(self.namespace)}?{urlencode(query)}"
        for line in self.lines(path, within_s + _LIMIT_S):
            row = json.loads(line)
            if row["type"] == "ERROR":
                said = msgspec.convert(row["object"], _Status)
                raise ApiError(int(row["object"].get("code", 500)), said.reason, said.message)
            if row["type"] != "BOOKMARK":
                yield row["type"], msgspec.convert(row["object"], kind.read_as)

    def log(self, pod: str, *, follow: bool = False, last: int | None = None) -> Iterator[bytes]:
        """The lines of a pod's output; following, until it ends."""
        query = {"follow": str(follow).lower()}
        if last is not None:
            query["tailLines"] = str(last)
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/log?{urlencode(query)}"
        yield from self.lines(path, None if follow else _LIMIT_S)

    def lines(self, path: str, limit_s: float | None = None) -> Iterator[bytes]:
        """The lines of an answer as they come; `limit_s`: between two of them."""
        with self._answer("GET", path, None, _PLAIN, limit_s) as answer:
            yield from _lines(answer)

    def request(
        self, method: str, path: str, body: Object | None = None, content: str = _PLAIN
    ) -> bytes:
        """One request's answer."""
        with self._answer(method, path, body, content, _LIMIT_S) as answer:
            try:
                return answer.read()
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from None

    def upgrade(
        self, connection: http.client.HTTPConnection, path: str, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        """Ask over a fresh connection for another protocol on it; the answer is what comes then."""
        try:
            connection.request("GET", self._path(path), headers={**self._headers(), **headers})
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None
        if answer.status != http.client.SWITCHING_PROTOCOLS:
            raise self._refusal(answer)
        return answer

    def connect(self, timeout_s: float | None) -> http.client.HTTPConnection:
        """A connection that has not been used.  Raises ConfigError."""
        if not self._tls:
            return http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)
        return _TlsConnection(
            self._host,
            self._port,
            timeout=timeout_s,
            context=self.access.tls(),
            name=self.access.server_name,
        )

    def _headers(self) -> dict[str, str]:
        """Those of every request; the token among them is secret."""
        found = {"Accept": _PLAIN, "User-Agent": "rayhpc"}
        token = self.access.credentials.token()
        if token:
            found["Authorization"] = f"Bearer {token}"
        return found

    def _path(self, path: str) -> str:
        """A path below the server's own."""
        return f"{self._prefix}{path}"

    # -- one request -----------------------------------------------------------------------------
    def _object(
        self, kind: Kind[T], method: str, path: str, body: Object | None = None, how: str = _PLAIN
    ) -> T:
        return msgspec.json.decode(self.request(method, path, body, how), type=kind.read_as)

    def _page(
        self, kind: Kind[T], labels: Mapping[str, str], fields: str, start: str
    ) -> tuple[Sequence[T], str]:
        query = {"limit": str(_PAGE), **_selector(labels)}
        if fields:
            query["fieldSelector"] = fields
        if start:
            query["continue"] = start
        answer = json.loads(self.request("GET", f"{kind.path(self.namespace)}?{urlencode(query)}"))
        items = msgspec.convert(answer.get("items") or [], list[kind.read_as])  # type: ignore[name-defined]
        return items, str(answer.get("metadata", {}).get("continue") or "")

    @contextmanager
    def _answer(
        self, method: str, path: str, body: Object | None, content: str, limit_s: float | None
    ) -> Iterator[http.client.HTTPResponse]:
        connection = self.connect(limit_s)
        data = None if body is None else json.dumps(body).encode()
        headers = self._headers() if body is None else {**self._headers(), "Content-Type": content}
        try:
            try:
                connection.request(method, self._path(path), data, headers)
                answer = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from None
            if answer.status >= 300:
                raise self._refusal(answer)
            yield answer
        finally:
            connection.close()

    def _refusal(self, answer: http.client.HTTPResponse) -> ApiError:
        if answer.status == 401:
            self.access.credentials.forget()
        try:
            said = answer.read(1 << 20)
            status = msgspec.json.decode(said, type=_Status)
        except (OSError, http.client.HTTPException, msgspec.DecodeError):
            status = _Status()
        message = status.message
        if answer.status == 401:
            message = f"the API server does not know us ({self.access.source}): {message}"
        return ApiError(answer.status, status.reason, message)

    def _unreachable(self, error: Exception) -> UnreachableError:
        if isinstance(error, ssl.SSLCertVerificationError):
            why = f"its certificate is not to be trusted: {error.verify_message}"
        elif isinstance(error, (socket.timeout, TimeoutError)):
            why = "it does not answer in time"
        else:
            why = str(error) or type(error).__name__
        return UnreachableError(f"the API server {self.access.server}: {why}")


class _TlsConnection(http.client.HTTPSConnection):
    """Checks the certificate for another name than the address, if there is one."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        timeout: float | None,
        context: ssl.SSLContext,
        name: str | None,
    ) -> None:
        super().__init__(host, port, timeout=timeout, context=context)
        self._tls_context, self._name = context, name

    def connect(self) -> None:
        """TCP, then TLS."""
        http.client.HTTPConnection.connect(self)
        name = self._name or self.host
        self.sock = self._tls_context.wrap_socket(self.sock, server_hostname=name)


def _selector(labels: Mapping[str, str]) -> dict[str, str]:
    if not labels:
        return {}
    return {"labelSelector": ",".join(f"{key}={value}" for key, value in labels.items())}


def _lines(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """Lines as they come; the end of the connection is the end."""
    while True:
        try:
            line = answer.readline()
        except (OSError, http.client.HTTPException):
            return
        if not line:
            return
        yield line.rstrip(b"\n")
