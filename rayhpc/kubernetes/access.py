"""How an API server is reached: from a kubeconfig, or from inside a pod.

`find_access` is what users of this library call first.  Nothing is asked of the server here.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rayhpc.kubernetes.credentials import Credentials, ExecPlugin, Fixed, TokenFile
from rayhpc.kubernetes.errors import ConfigError

_IN_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True)
class Access:
    """Where a server is, and how it and we are proved.

    Attributes:
        server: its URL, without a slash at its end.
        credentials: who we are.
        namespace: the one to use if none is named.
        authority: its certificate authority as PEM text; None: the system's.
        insecure: the server's certificate is not checked.
        server_name: the name that its certificate has, if that is not the URL's.
        source: where all this stands, for messages.
    """

    server: str
    credentials: Credentials
    namespace: str = "default"
    authority: str | None = None
    insecure: bool = False
    server_name: str | None = None
    source: str = ""

    def tls(self) -> ssl.SSLContext:
        """The context for connections.  Raises ConfigError for a certificate that is none."""
        try:
            context = ssl.create_default_context(cadata=self.authority)
            if self.insecure:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            pair = self.credentials.client_certificate()
            if pair is not None:
                _load_pair(context, *pair)
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(f"{self.source}: a certificate cannot be used: {error}") from None
        return context


def find_access(environ: Mapping[str, str], context: str | None = None) -> Access:
    """The access that a user's `kubectl` would have here: a kubeconfig's, else the pod's own.

    Args:
        environ: for KUBECONFIG, HOME, and a pod's variables.
        context: a context of the kubeconfig; None: its current one.

    Raises:
        ConfigError: there is neither, or it is wrong.
    """
    told = environ.get("KUBECONFIG")
    home = environ.get("HOME") or os.path.expanduser("~")
    paths = [Path(x) for x in told.split(os.pathsep) if x] if told else [Path(home, ".kube/config")]
    found = [path for path in paths if path.is_file()]
    if found:
        return _of_kubeconfig(found, context, environ)
    if environ.get("KUBERNETES_SERVICE_HOST") and (_IN_POD / "token").is_file():
        return _of_pod(environ)
    raise ConfigError(
        f"there is no access to Kubernetes: {' or '.join(map(str, paths))} does not exist, and "
        "this is no pod; set KUBECONFIG, or try `kubectl get pods`"
    )


def _of_pod(environ: Mapping[str, str]) -> Access:
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "443")
    host = f"[{host}]" if ":" in host else host
    try:
        namespace = (_IN_POD / "namespace").read_text().strip()
        authority = (_IN_POD / "ca.crt").read_text()
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from None
    credentials = TokenFile(_IN_POD / "token")
    server = f"https://{host}:{port}"
    return Access(server, credentials, namespace, authority, source=str(_IN_POD))


def _of_kubeconfig(paths: list[Path], context: str | None, environ: Mapping[str, str]) -> Access:
    documents = [(path, _load(path)) for path in paths]
    name = context
    for _, each in documents:
        name = name or each.get("current-context")
    source = " and ".join(str(path) for path in paths)
    if not name:
        raise ConfigError(f"{source} names no current context: `kubectl config use-context NAME`")
    chosen, _ = _entry(documents, "contexts", "context", name, source)
    cluster, path = _entry(documents, "clusters", "cluster", str(chosen.get("cluster")), source)
    user: Mapping[str, Any] = {}
    user_path = path
    if chosen.get("user"):
        user, user_path = _entry(documents, "users", "user", str(chosen["user"]), source)
    server = str(cluster.get("server") or "").rstrip("/")
    if not server.startswith(("https://", "http://")):
        raise ConfigError(f"{path}: the server {server!r} is not a URL")
    if cluster.get("proxy-url"):
        raise ConfigError(f"{path}: proxy-url is not served")
    return Access(
        server=server,
        credentials=_credentials(user, user_path, cluster, environ),
        namespace=str(chosen.get("namespace") or "default"),
        authority=_text(cluster, "certificate-authority", path),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        server_name=cluster.get("tls-server-name"),
        source=f"context {name} of {source}",
    )


def _credentials(
    user: Mapping[str, Any], path: Path, cluster: Mapping[str, Any], environ: Mapping[str, str]
) -> Credentials:
    """In kubectl's order: a certificate beside a token is used as well."""
    certificate = _text(user, "client-certificate", path)
    key = _text(user, "client-key", path)
    pair = (certificate, key) if certificate and key else None
    if user.get("tokenFile"):
        return TokenFile(path.parent / str(user["tokenFile"]), pair)
    if user.get("token"):
        return Fixed(str(user["token"]), pair)
    if user.get("exec"):
        return ExecPlugin.of(user["exec"], path, cluster, environ)
    if user.get("auth-provider"):
        raise ConfigError(f"{path}: auth-provider is gone from Kubernetes: use an exec plugin")
    return Fixed(None, pair)


def _entry(
    documents: list[tuple[Path, Mapping[str, Any]]], group: str, key: str, name: str, source: str
) -> tuple[Mapping[str, Any], Path]:
    """As kubectl merges them: the first file that has it."""
    for path, each in documents:
        for row in each.get(group) or ():
            if isinstance(row, dict) and row.get("name") == name:
                value = row.get(key) or {}
                if isinstance(value, dict):
                    return value, path
    raise ConfigError(f"{source} has no {key} {name!r}: `kubectl config get-{group}` lists them")


def _text(value: Mapping[str, Any], key: str, path: Path) -> str | None:
    """What stands under `KEY-data`, or in the file under `KEY`."""
    data = value.get(f"{key}-data")
    try:
        if data:
            return base64.b64decode(str(data), validate=True).decode()
        if value.get(key):
            return (path.parent / str(value[key])).read_text()
    except (binascii.Error, UnicodeDecodeError):
        raise ConfigError(f"{path}: {key}-data is damaged") from None
    except OSError as error:
        raise ConfigError(f"{path}: {key}: {error.filename}: {error.strerror}") from None
    return None


def _load(path: Path) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no kubeconfig: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path} is no kubeconfig")
    return found


def _load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """The standard library takes a key from a file alone: one that nobody else can read."""
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(f"{certificate.rstrip()}\n{key}")
        file.flush()
        context.load_cert_chain(file.name)
