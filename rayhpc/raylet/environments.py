"""Runtime environments: what `runtime_env` asks for, prepared once per node.

Used by `workers` before it starts a worker.  `working_dir` and `py_modules` are either URIs
`kv://<sha256>` of zip files in the head's key-value store, fetched once and unpacked once into the
session's directory, or paths of folders that this node can see.  Unpacking runs in a separate
thread, while the raylet continues to serve.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from rayhpc.raylet import installing
from rayhpc.wire.address import HEAD, Address
from rayhpc.wire.messages import cluster
from rayhpc.wire.messages.common import HOOK_FILE, SETUP_HOOK_VARIABLE

PACKAGES = "packages"
_SCHEME = "kv://"
_INSTALLED = "installed://"
_SERVED = frozenset(
    {
        "_ray_release",
        "config",
        "env_vars",
        "excludes",
        "pip",
        "py_modules",
        "uv",
        "worker_process_setup_hook",
        "working_dir",
    }
)

Send = Callable[[Address, msgspec.Struct], None]


@dataclass(frozen=True)
class Prepared:
    """An environment in which workers can start.

    `environ` are variables to set, `folder` the working directory (empty: the job's), `path` what
    comes first in sys.path.  If `error` is not empty, the environment is unavailable.
    """

    environ: dict[str, str | None] = field(default_factory=dict)
    folder: str = ""
    path: list[str] = field(default_factory=list)
    error: str = ""


PLAIN = Prepared()


class Environments:
    """All environments of one node.

    Args:
        folder: where packages are unpacked.
        send: sends a message.
        new_token: returns a new number for a question to the head.
        wake: called from the unpacking thread when something is ready for `collect`.
    """

    def __init__(
        self,
        folder: str,
        send: Send,
        new_token: Callable[[], int],
        wake: Callable[[], None],
    ) -> None:
        self._folder = Path(folder)
        self._send = send
        self._new_token = new_token
        self._wake = wake
        self._prepared: dict[bytes, Prepared] = {}
        self._wanted: dict[bytes, tuple[dict[str, Any], list[str]]] = {}
        self._packages: dict[str, str] = {}
        self._errors: dict[str, str] = {}
        self._asked: dict[int, str] = {}
        self._installing: set[str] = set()
        self._unpacked: deque[tuple[str, str, str]] = deque()

    def get(self, environment: bytes) -> Prepared | None:
        """An environment; None: it is being prepared, ask again after `collect` or `on_reply`."""
        if not environment:
            return PLAIN
        found = self._prepared.get(environment)
        if found is None and environment not in self._wanted:
            self._begin(environment)
            found = self._prepared.get(environment)
        return found

    def on_reply(self, message: cluster.Reply) -> bool:
        """The head's answer about one of our packages; False: the question was not ours."""
        uri = self._asked.pop(message.token, None)
        if uri is None:
            return False
        data = None if message.error else msgspec.msgpack.decode(message.data, type=bytes | None)
        if data is None:
            why = message.error or "the head does not have it (any more)"
            self._settle(uri, "", f"The package {uri} cannot be had: {why}.")
            return True
        threading.Thread(target=self._unpack, args=(uri, data), daemon=True).start()
        return True

    def collect(self) -> None:
        """Take over what has been unpacked."""
        while self._unpacked:
            self._settle(*self._unpacked.popleft())

    def _begin(self, environment: bytes) -> None:
        try:
            wanted = msgspec.json.decode(environment, type=dict[str, Any])
        except msgspec.DecodeError as error:
            self._prepared[environment] = Prepared(error=f"The runtime_env is not JSON: {error}.")
            return
        unknown = sorted(set(wanted) - _SERVED)
        if unknown:
            text = f"runtime_env {', '.join(unknown)} is not served by rayhpc."
            self._prepared[environment] = Prepared(error=text)
            return
        problem = _malformed(wanted)
        if problem:
            self._prepared[environment] = Prepared(error=problem)
            return
        uris = [wanted["working_dir"]] if wanted.get("working_dir") else []
        uris += wanted.get("py_modules") or []
        uris += _installed(wanted)
        hook = wanted.get("worker_process_setup_hook") or ""
        uris += [hook] if hook.startswith(_SCHEME) else []
        self._wanted[environment] = (wanted, uris)
        for uri in uris:
            if uri.startswith(_INSTALLED):
                self._install(uri, wanted)
            else:
                self._fetch(uri)
        self._finish(environment)

    def _install(self, uri: str, wanted: dict[str, Any]) -> None:
        """Have requirements installed, once; after a failure, again at the next request."""
        if uri in self._packages or uri in self._installing:
            return
        self._errors.pop(uri, None)
        self._installing.add(uri)
        tool = "uv" if wanted.get("uv") else "pip"
        threading.Thread(
            target=self._run_installer, args=(uri, tool, wanted[tool]), daemon=True
        ).start()

    def _run_installer(self, uri: str, tool: str, asked: dict[str, list[str]]) -> None:
        """In a separate thread: install requirements."""
        try:
            lines, options = asked["packages"], asked.get("options") or []
            folder, error = installing.install(self._folder, tool, lines, options), ""
        except (OSError, ValueError) as failure:
            folder, error = "", f"The runtime_env {tool} cannot be installed: {failure}"
        self._unpacked.append((uri, folder, error))
        self._wake()

    def _fetch(self, uri: str) -> None:
        if uri in self._packages or uri in self._asked.values():
            return
        self._errors.pop(uri, None)
        if not uri.startswith(_SCHEME):
            if os.path.isdir(uri):
                self._packages[uri] = uri
            else:
                self._errors[uri] = f"The folder {uri} is not on this node."
            return
        token = self._new_token()
        self._asked[token] = uri
        key = uri[len(_SCHEME) :].encode()
        # A driver sends its packages right after attaching: they may still be in flight.
        self._send(HEAD, cluster.Request(token, cluster.KvGet(PACKAGES, key, wait=True)))

    def _settle(self, uri: str, folder: str, error: str) -> None:
        self._installing.discard(uri)
        if error:
            self._errors[uri] = error
        else:
            self._packages[uri] = folder
        for environment in list(self._wanted):
            self._finish(environment)

    def _finish(self, environment: bytes) -> None:
        """Assemble an environment once all of its packages are there or have failed."""
        wanted, uris = self._wanted[environment]
        errors = [self._errors[x] for x in uris if x in self._errors]
        if errors:
            self._prepared[environment] = Prepared(error=errors[0])
        elif all(x in self._packages for x in uris):
            hook = wanted.get("worker_process_setup_hook") or ""
            folders = [self._packages[x] for x in uris if x != hook]
            variables = {str(k): str(v) for k, v in (wanted.get("env_vars") or {}).items()}
            if hook:
                is_file = hook in self._packages
                variables[SETUP_HOOK_VARIABLE] = (
                    os.path.join(self._packages[hook], HOOK_FILE) if is_file else hook
                )
            folder = folders[0] if wanted.get("working_dir") else ""
            self._prepared[environment] = Prepared(dict(variables), folder, folders)
        else:
            return
        del self._wanted[environment]

    def _unpack(self, uri: str, data: bytes) -> None:
        """In a separate thread: check and unpack a package."""
        try:
            folder, error = _unpack_once(self._folder, uri[len(_SCHEME) :], data), ""
        except (OSError, ValueError) as failure:
            folder, error = "", f"The package {uri} cannot be unpacked: {failure}."
        self._unpacked.append((uri, folder, error))
        self._wake()


def _malformed(wanted: dict[str, Any]) -> str:
    """What is wrong with the form of an environment; empty: nothing."""
    shapes = {
        "working_dir": str,
        "py_modules": list,
        "env_vars": dict,
        "pip": dict,
        "uv": dict,
        "worker_process_setup_hook": str,
    }
    for name, shape in shapes.items():
        value = wanted.get(name)
        if value is not None and not isinstance(value, shape):
            return f"runtime_env {name} must be a {shape.__name__}, not {value!r}."
    if not all(isinstance(x, str) for x in wanted.get("py_modules") or ()):
        return "runtime_env py_modules must be a list of strings."
    for tool in ("pip", "uv"):
        lists = (wanted.get(tool) or {"packages": []}).values()
        if not all(isinstance(x, list) and all(isinstance(y, str) for y in x) for x in lists):
            return f"runtime_env {tool} must hold lists of strings."
        if wanted.get(tool) and "packages" not in wanted[tool]:
            return f"runtime_env {tool} names no packages."
    return ""


def _installed(wanted: dict[str, Any]) -> list[str]:
    """The name of what pip or uv installs for an environment, if it asks for it."""
    for tool in ("pip", "uv"):
        asked = wanted.get(tool)
        if asked:
            key = installing.key_of(tool, asked["packages"], asked.get("options") or [])
            return [_INSTALLED + key]
    return []


def _unpack_once(base: Path, digest: str, data: bytes) -> str:
    if hashlib.sha256(data).hexdigest() != digest:
        raise ValueError("its content does not have the hash that names it")
    target = base / digest[:32]
    if target.is_dir():
        return str(target)
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = base / f".{digest[:32]}"
    shutil.rmtree(partial, ignore_errors=True)
    _extract(data, partial)
    partial.mkdir(exist_ok=True)
    partial.rename(target)
    return str(target)


def _extract(data: bytes, target: Path) -> None:
    """Extract a package.  Raises ValueError if it is no archive."""
    import zipfile  # 3 ms of every node's start, for jobs that bring packages

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist():
                written = archive.extract(entry, target)
                mode = entry.external_attr >> 16 & 0o777
                if mode and not entry.is_dir():
                    os.chmod(written, mode | 0o600)
    except zipfile.BadZipFile as error:
        raise ValueError(str(error)) from error
