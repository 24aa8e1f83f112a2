"""One pod as a process: its folder, its mounts, its environment, its end.

Used by `kubelet`, from a thread for each pod.
"""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from kubernetes.lab import network

Object = dict[str, Any]
_SCRIPT = Path(__file__).with_name("pod.sh")
_ACCOUNT = "/run/secrets/kubernetes.io/serviceaccount"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Running:
    """A pod's container, started.

    Args:
        pod: the pod.
        number: of its address.
        folder: its own.
        files: folders that are mounted, by their place in the container: contents by file name.
        server: host and port of the API server.
    """

    def __init__(
        self,
        pod: Object,
        number: int,
        folder: Path,
        files: dict[str, dict[str, bytes]],
        server: tuple[str, int],
    ) -> None:
        self.address = f"{network.NET}.{number}"
        self.uid = pod["metadata"]["uid"]
        self.log = folder / "log"
        self._folder, self._home = folder, folder / "home"
        self._pod, self._server = pod, server
        self._home.mkdir(parents=True)
        # What an image with rayhpc in it is here.
        bin_folder = Path(sys.executable).parent
        (self._home / ".bash_profile").write_text(f"export PATH={bin_folder}:$PATH\n")
        environ = {**os.environ, "POD_NAME": pod["metadata"]["name"], "POD_HOME": str(self._home)}
        words = ["setpriv", "--pdeathsig", "KILL", "--", "unshare", "--net", "--uts", "--ipc"]
        words += ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                [*words, "bash", str(_SCRIPT), *self.inside(self._command())],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environ,
                start_new_session=True,
            )
        self.pid = self._first()
        network.plug_in(self.pid, number)
        self._tell(files)

    def inside(self, words: list[str]) -> list[str]:
        """A command with the container's environment."""
        return ["env", "-i", *(f"{name}={x}" for name, x in self._environment().items()), *words]

    def enter(self, words: list[str]) -> list[str]:
        """The command that runs `words` in the container, from outside."""
        space = ["nsenter", "-t", str(self.pid), "-n", "-u", "-i", "-m", "-p", "--"]
        return [*space, *self.inside(["sh", "-c", 'cd "$HOME" && exec "$@"', "sh", *words])]

    def wait(self) -> int:
        """Its exit code, once it has ended; 128 and more: by a signal."""
        code = self._process.wait()
        return 128 - code if code < 0 else code

    def stop(self, grace_s: float) -> None:
        """SIGTERM now, SIGKILL after a while; does not wait."""
        self._signal(signal.SIGTERM)
        timer = threading.Timer(grace_s, self._signal, [signal.SIGKILL])
        timer.daemon = True
        timer.start()

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def _signal(self, number: int) -> None:
        # Ours, and not waited for yet: its child is the pod, whose pid is not used again till then.
        if self._process.poll() is None:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass

    def _first(self) -> int:
        pid = self._process.pid
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            if children:
                return int(children[0])
            time.sleep(0.005)  # it is about to fork
        raise OSError("the pod's process did not start")

    def _tell(self, files: dict[str, dict[str, bytes]]) -> None:
        """What to mount, and that the network is there."""
        assert self._process.stdin is not None
        lines = []
        for number, (place, contents) in enumerate(files.items()):
            source = self._folder / f"files{number}"
            source.mkdir(mode=0o700)
            for name, data in contents.items():
                (source / name).write_bytes(data)
            lines.append(f"files {place} {source}")
        volumes = {x["name"]: x for x in self._pod["spec"].get("volumes") or ()}
        for mount in self._container.get("volumeMounts") or ():
            if "emptyDir" in volumes[mount["name"]]:
                lines.append(f"empty {mount['mountPath']}")
        self._process.stdin.write("".join(f"{x}\n" for x in [*lines, "ready"]).encode())
        self._process.stdin.close()

    @property
    def _container(self) -> Object:
        found: Object = self._pod["spec"]["containers"][0]
        return found

    def _command(self) -> list[str]:
        return [*(self._container.get("command") or ()), *(self._container.get("args") or ())]

    def _environment(self) -> dict[str, str]:
        host, port = self._server
        found = {"PATH": _PATH, "HOME": str(self._home), "HOSTNAME": self._pod["metadata"]["name"]}
        found |= {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": str(port)}
        for each in self._container.get("env") or ():
            path = (each.get("valueFrom") or {}).get("fieldRef", {}).get("fieldPath")
            value = self.address if path == "status.podIP" else each.get("value", "")
            found[each["name"]] = value
        return found


def decoded(secret: Object) -> dict[str, bytes]:
    """A Secret's contents."""
    plain = {name: text.encode() for name, text in (secret.get("stringData") or {}).items()}
    coded = secret.get("data") or {}
    return plain | {name: base64.b64decode(text) for name, text in coded.items()}


def account_files(token: str, authority: bytes, namespace: str) -> dict[str, dict[str, bytes]]:
    """What a pod with a service account finds."""
    found = {"token": token.encode(), "ca.crt": authority, "namespace": namespace.encode()}
    return {_ACCOUNT: found}
