"""The fake over HTTPS: tokens, rights, quotas; and what can happen to it: away, lost replies."""

from __future__ import annotations

import base64
import json
import queue
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from kubernetes.lab.certificates import Certificates
from kubernetes.lab.channels import CommandHandler
from kubernetes.lab.tls_server import TlsServer
from tests.kubernetes.fake import rules
from tests.kubernetes.fake.controllers import Controllers
from tests.kubernetes.fake.rules import Invalid
from tests.kubernetes.fake.store import Object

_KINDS = {
    "jobs": "Job",
    "pods": "Pod",
    "secrets": "Secret",
    "events": "Event",
    "services": "Service",
    "serviceaccounts": "ServiceAccount",
    "roles": "Role",
    "rolebindings": "RoleBinding",
}
_VERBS = {"POST": "create", "GET": "get", "PATCH": "patch", "DELETE": "delete"}
ADMIN, LIMITED = "token-of-admin", "token-of-limited"


class FakeApi:
    """One API server with one namespace, `default`.

    Attributes:
        plane: its controllers and objects.
        refuses: what the user with the token LIMITED may not do, such as `create jobs`.
        busy: plurals of objects whose watches are refused for the moment, as under load.
        jobs_at_most: the quota of Jobs; None: none.
        loses: paths (method and path, by a function) whose reply is lost after the work is done.
        calls: every request so far.
        logs: the output of pods, by name.
    """

    def __init__(self, folder: Path) -> None:
        self.plane = Controllers()
        self.refuses: set[str] = set()
        self.busy: set[str] = set()
        self.jobs_at_most: int | None = None
        self.loses: Callable[[str, str], bool] = lambda method, path: False
        self.calls: list[tuple[str, str]] = []
        self.logs: dict[str, bytes] = {}
        self.certificates = Certificates(folder)
        self._folder = folder
        self._port = 0
        self._server: TlsServer | None = None
        self.start()

    @property
    def store(self) -> Any:
        return self.plane.store

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Serve, at the same port as before."""
        handler = type("Handler", (_Handler,), {"api": self})
        self._server = TlsServer(("127.0.0.1", self._port), handler)
        self._server.tls = self.certificates.server_context()
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Go away; the objects stay."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self.store.end_watches()
            self._server = None

    def kubeconfig(self, **user: Any) -> Path:
        """A kubeconfig for this server; without arguments, the administrator's."""
        authority = base64.b64encode(self.certificates.authority.encode()).decode()
        cluster = {"server": self.url, "certificate-authority-data": authority}
        context = {"cluster": "fake", "user": "me", "namespace": "default"}
        path = self._folder / "kubeconfig"
        path.write_text(
            yaml.safe_dump(
                {
                    "current-context": "here",
                    "contexts": [{"name": "here", "context": context}],
                    "clusters": [{"name": "fake", "cluster": cluster}],
                    "users": [{"name": "me", "user": user or {"token": ADMIN}}],
                }
            )
        )
        return path

    # -- for tests: what a kubelet would say -----------------------------------------------------
    def pods(self, **labels: str) -> list[Object]:
        """All pods."""
        found: list[Object] = self.store.all("pods")
        return found

    def pod_of(self, job: str) -> Object:
        """The pod of a Job."""
        return next(x for x in self.pods() if x["metadata"]["labels"]["job-name"] == job)

    def run(self, job: str, address: str = "10.0.0.1") -> None:
        """Its container starts."""
        status: Object = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
        status["containerStatuses"] = [{"name": "ray-node", "state": {"running": {}}}]
        status["conditions"] = [{"type": "Ready", "status": "True"}]
        self.store.change("pods", self.pod_of(job)["metadata"]["name"], {"status": status})
        self.store.change("jobs", job, {"status": {"ready": 1}})

    def wait_reason(self, job: str, reason: str, message: str) -> None:
        """Its container cannot start."""
        state = {"waiting": {"reason": reason, "message": message}}
        status = {"containerStatuses": [{"name": "ray-node", "image": "no/such:1", "state": state}]}
        self.store.change("pods", self.pod_of(job)["metadata"]["name"], {"status": status})

    def end(self, job: str, code: int = 0, reason: str = "", *status: str) -> None:
        """Its container ends; `status`: reason and message of the pod itself."""
        ended = {"terminated": {"exitCode": code, "reason": reason}}
        made: Object = {"phase": "Succeeded" if code == 0 else "Failed"}
        made |= dict(zip(("reason", "message"), status, strict=False))
        made["containerStatuses"] = [{"name": "ray-node", "state": ended}]
        self.store.change("pods", self.pod_of(job)["metadata"]["name"], {"status": made})


class _Handler(CommandHandler, BaseHTTPRequestHandler):
    api: FakeApi
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def _serve(self) -> None:
        self.close_connection = True
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.api.calls.append((self.command, url.path))
        try:
            answer = self._do(url.path.strip("/").split("/"), query, body)
        except Invalid as error:
            code = {"kind": "Status", "code": error.status, "reason": error.reason}
            self._send(error.status, {**code, "message": str(error)})
            return
        if self.api.loses(self.command, url.path):
            return
        if answer is not None:
            self._send(200, answer)

    def _do(self, parts: list[str], query: dict[str, str], body: Object) -> Object | None:
        user = self._user()
        if parts[-1] == "selfsubjectaccessreviews":
            return self._review(user, body)
        start = parts.index("namespaces")
        namespace, plural, *rest = parts[start + 1 :]
        if namespace != "default" and self.command == "POST":
            raise Invalid(404, "NotFound", f'namespaces "{namespace}" not found')
        verb = _VERBS[self.command]
        if self.command == "GET" and not rest:
            verb = "watch" if "watch" in query else "list"
        self._check_right(user, verb, "/".join([plural, *rest[1:]]))
        if self.command == "POST":
            return self._create(plural, query, body)
        if verb == "watch" and plural in self.api.busy:
            raise Invalid(504, "Timeout", "Timeout: Too large resource version")
        if verb == "watch":
            self._watch(plural, query)
            return None
        if verb == "list":
            return {"items": self._chosen(plural, query), "metadata": {}}
        if rest[1:] == ["log"]:
            self._send_log(rest[0])
            return None
        if rest[1:] == ["exec"]:
            self.api.store.get(plural, rest[0])
            self.serve_command(parse_qs(urlsplit(self.path).query)["command"])
            return None
        if self.command == "PATCH":
            return self.api.store.change(plural, rest[0], body)  # type: ignore[no-any-return]
        if self.command == "DELETE":
            self.api.plane.delete(plural, rest[0], body)
            return {"kind": "Status", "status": "Success"}
        return self.api.store.get(plural, rest[0])  # type: ignore[no-any-return]

    def _create(self, plural: str, query: dict[str, str], body: Object) -> Object:
        assert query.get("fieldValidation") == "Strict"
        rules.check(plural, body)
        most = self.api.jobs_at_most
        if plural == "jobs" and most is not None and len(self.api.store.all("jobs")) >= most:
            name = body["metadata"]["name"]
            used = f"used: count/jobs.batch={most}, limited: count/jobs.batch={most}"
            text = f'jobs.batch "{name}" is forbidden: exceeded quota: team, {used}'
            raise Invalid(403, "Forbidden", text)
        return self.api.store.add(plural, _KINDS[plural], body)  # type: ignore[no-any-return]

    def _chosen(self, plural: str, query: dict[str, str]) -> list[Object]:
        return [each for each in self.api.store.all(plural) if _matches(each, query)]

    def _watch(self, plural: str, query: dict[str, str]) -> None:
        changes = self.api.store.watch(plural)
        self.send_response(200)
        self.end_headers()
        while True:
            try:
                change = changes.get(timeout=float(query["timeoutSeconds"]))
            except queue.Empty:
                return
            if change is None:
                return
            if _matches(change[1], query):
                row = {"type": change[0], "object": change[1]}
                self.wfile.write(json.dumps(row).encode() + b"\n")
                self.wfile.flush()

    def _send_log(self, pod: str) -> None:
        self.api.store.get("pods", pod)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.api.logs.get(pod, b""))

    # -- who -------------------------------------------------------------------------------------
    def _user(self) -> str:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token in (ADMIN, LIMITED):
            return token
        if not token and self.connection.getpeercert():
            return ADMIN
        raise Invalid(401, "Unauthorized", "Unauthorized")

    def _check_right(self, user: str, verb: str, what: str) -> None:
        if user == LIMITED and f"{verb} {what}" in self.api.refuses:
            group = "batch" if what == "jobs" else ""
            text = f'User "limited" cannot {verb} resource "{what}" in API group "{group}"'
            raise Invalid(
                403, "Forbidden", f'{what} is forbidden: {text} in the namespace "default"'
            )

    def _review(self, user: str, body: Object) -> Object:
        asked = body["spec"]["resourceAttributes"]
        what = asked["resource"]
        what += f"/{asked['subresource']}" if asked["subresource"] else ""
        refused = user == LIMITED and f"{asked['verb']} {what}" in self.api.refuses
        return {"status": {"allowed": not refused}}

    def _send(self, status: int, value: Object) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _matches(each: Object, query: dict[str, str]) -> bool:
    labels = each["metadata"].get("labels") or {}
    for pair in filter(None, query.get("labelSelector", "").split(",")):
        key, _, value = pair.partition("=")
        if labels.get(key) != value:
            return False
    for pair in filter(None, query.get("fieldSelector", "").split(",")):
        path, _, value = pair.partition("=")
        found: Any = each
        for step in path.split("."):
            found = (found or {}).get(step)
        if found != value:
            return False
    return True
