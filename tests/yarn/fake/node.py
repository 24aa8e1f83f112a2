"""A NodeManager in this process: it starts containers for real, each in a folder of its own.

Used by `cluster`.  Speaks the protocol of NodeManagers, and serves the containers' logs by HTTP as
they do.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from rayhpc.hadoop.errors import RemoteError
from rayhpc.hadoop.ids import container_name
from rayhpc.hadoop.messages.containers import (
    GetContainerStatusesRequestProto,
    GetContainerStatusesResponseProto,
    ReInitializeContainerRequestProto,
    ReInitializeContainerResponseProto,
    StartContainersRequestProto,
    StartContainersResponseProto,
    StopContainersRequestProto,
    StopContainersResponseProto,
)
from rayhpc.hadoop.messages.launch import ContainerLaunchContextProto
from rayhpc.hadoop.messages.records import ContainerIdProto
from rayhpc.hadoop.protobuf import Message
from tests.hadoop.rpc_server import Caller, RpcServer
from tests.yarn.fake.web import WebServer

TOKEN = b"nm"
KILLED = 143


class FakeNode:
    """One node.

    Args:
        host: its loopback address.
        folder: what its containers write to.
        on_end: told of each container that has ended, with its exit status.

    Attributes:
        user: whose the containers are, as they are told; ours is what LinuxContainerExecutor gives.
    """

    def __init__(
        self, host: str, folder: Path, on_end: Callable[[ContainerIdProto, int], None]
    ) -> None:
        self.host, self.folder, self._on_end = host, folder, on_end
        self.user = "nobody"
        self.refuses = False
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._tokens: dict[str, bytes] = {}
        self._lock = threading.Lock()
        methods = {
            "startContainers": self._start,
            "stopContainers": self._stop,
            "reInitializeContainer": self._start_again,
            "getContainerStatuses": self._statuses,
        }
        passwords = {TOKEN: b"nm-password"}.get
        self.server = RpcServer(methods, passwords, host=host)
        self.web = WebServer(host, self._page)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.server.address[1]

    def run(self, number: ContainerIdProto, context: ContainerLaunchContextProto) -> None:
        """Start a container."""
        name = container_name(number)
        work, logs = self.folder / "work" / name, self.folder / "logs" / name
        for folder in (work, logs, self.folder / "local", self.folder / "home"):
            folder.mkdir(parents=True, exist_ok=True)
        for each in context.localResources:
            assert each.value is not None
            assert each.value.resource is not None
            target = Path(each.value.resource.file)
            facts = target.stat()
            wanted = each.value.size, each.value.timestamp
            assert (facts.st_size, facts.st_mtime_ns // 10**6) == wanted, f"{target} has changed"
            (work / each.key).unlink(missing_ok=True)
            (work / each.key).symlink_to(target)
        tokens = work / "container_tokens"
        # A container keeps those of its first start.
        tokens.write_bytes(self._tokens.setdefault(name, context.tokens))
        environ = self._environment(name, work, logs, tokens)
        for pair in context.environment:
            value = pair.value.replace("{{PWD}}", str(work)).replace("<CPS>", ":")
            environ[pair.key] = value
        command = " ".join(context.command).replace("<LOG_DIR>", str(logs))
        process = subprocess.Popen(
            ["/bin/bash", "-c", command], cwd=work, env=environ, start_new_session=True
        )
        with self._lock:
            self._processes[name] = process
        threading.Thread(target=self._watch, args=(number, process), daemon=True).start()

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Signal a container's processes, as a NodeManager does."""
        with self._lock:
            process = self._processes.get(name)
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)

    def running(self) -> list[str]:
        """The containers that run."""
        with self._lock:
            return [name for name, each in self._processes.items() if each.poll() is None]

    def close(self) -> None:
        """The power goes."""
        self.server.close()
        for name in self.running():
            self.kill(name)
        self.web.close()

    def _watch(self, number: ContainerIdProto, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        with self._lock:
            if self._processes.get(container_name(number)) is not process:
                return  # another one has been started in its place
        self._on_end(number, 128 - code if code < 0 else code)

    def _environment(self, name: str, work: Path, logs: Path, tokens: Path) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "CONTAINER_ID": name,
            "NM_HOST": self.host,
            "NM_PORT": str(self.port),
            "NM_HTTP_PORT": str(self.web.port),
            "LOCAL_DIRS": str(self.folder / "local"),
            "LOG_DIRS": str(logs),
            "USER": self.user,
            "HOME": str(self.folder / "home"),
            "PWD": str(work),
            "HADOOP_TOKEN_FILE_LOCATION": str(tokens),
        }

    # -- the protocol
    def _start(self, caller: Caller, body: bytes) -> Message:
        if self.refuses:
            raise RemoteError("org.apache.hadoop.yarn.exceptions.NMNotYetReadyException", "wait")
        answer = StartContainersResponseProto()
        for each in StartContainersRequestProto.decode(body).start_container_request:
            assert each.container_token is not None
            assert each.container_launch_context is not None
            number = ContainerIdProto.decode(each.container_token.identifier)
            self.run(number, each.container_launch_context)
            answer.succeeded_requests.append(number)
        return answer

    def _start_again(self, caller: Caller, body: bytes) -> Message:
        request = ReInitializeContainerRequestProto.decode(body)
        assert request.container_id is not None
        assert request.container_launch_context is not None
        name = container_name(request.container_id)
        with self._lock:
            before = self._processes.pop(name, None)
        if before is None or before.poll() is not None:
            raise RemoteError("org.apache.hadoop.yarn.exceptions.YarnException", "not running")
        os.killpg(before.pid, signal.SIGKILL)
        before.wait()
        self.run(request.container_id, request.container_launch_context)
        return ReInitializeContainerResponseProto()

    def _stop(self, caller: Caller, body: bytes) -> Message:
        for number in StopContainersRequestProto.decode(body).container_id:
            self.kill(container_name(number), signal.SIGTERM)
        return StopContainersResponseProto()

    def _statuses(self, caller: Caller, body: bytes) -> Message:
        GetContainerStatusesRequestProto.decode(body)
        return GetContainerStatusesResponseProto()

    def _page(self, path: str, query: dict[str, str]) -> str | None:
        """A container's log, the way a NodeManager shows it."""
        parts = path.strip("/").split("/")
        if parts[:4] != ["ws", "v1", "node", "containerlogs"]:
            return None
        file = self.folder / "logs" / parts[4] / parts[5]
        if not file.is_file():
            return None
        data = file.read_bytes()
        size = int(query.get("size", len(data)))
        shown = data[size:] if size < 0 else data[:size]
        return (
            f"Container: {parts[4]} on {self.host}:{self.port}\nLogAggregationType: LOCAL\n"
            f"{'=' * 73}\nLogType:{parts[5]}\nLogLastModifiedTime:today\n"
            f"LogLength:{len(data)}\nLogContents:\n{shown.decode(errors='surrogateescape')}"
            f"End of LogType:{parts[5]}.\n{'*' * 71}\n\n"
        )
