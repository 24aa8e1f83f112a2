"""A lab's life: up, down, and what can happen to it.

Used by the command line beside it and by tests.  Everything runs in the network of a hub, a process
that does nothing else: etcd, the API server, the controllers, the scheduler and the kubelet.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from kubernetes.lab import network, packages
from kubernetes.lab.certificates import Certificates
from kubernetes.lab.errors import LabError
from ssh.lab.processes import Process

_PORT = 6443
_STATE = "state.json"
_READY_S = 60.0
_ROOT = Path(__file__).parents[2]
NODES = {"n1": 4, "n2": 4, "n3": 4}


class Lab:
    """A control plane and three nodes with four CPUs each.

    Args:
        folder: the lab's own, private.
        processes: everything that runs, by name; `hub` among them.
        tied: what it starts ends when we do.
    """

    def __init__(self, folder: Path, processes: dict[str, Process], tied: bool) -> None:
        self.folder, self._processes, self._tied = folder, processes, tied

    @classmethod
    def up(cls, folder: Path | None = None, *, tied: bool = True) -> Lab:
        """Start it and wait until its nodes are ready.

        Args:
            folder: a new folder for it; None: one in the cache.
            tied: it ends when the calling process does.

        Raises:
            LabError: something is missing, or did not come up in time.
        """
        reason = packages.why_not()
        if reason:
            raise LabError(reason)
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="lab-", dir=packages.cache()))
        folder.mkdir(mode=0o700, exist_ok=True)
        lab = cls(folder, {}, tied)
        try:
            lab._begin()
        except BaseException:
            lab.down()
            raise
        return lab

    @classmethod
    def load(cls, folder: Path) -> Lab:
        """A lab that another process has started.  Raises LabError if there is none."""
        try:
            state = json.loads((folder / _STATE).read_text())
        except FileNotFoundError:
            raise LabError(f"no lab in {folder}: start one with `up`") from None
        return cls(folder, {name: Process(*each) for name, each in state.items()}, False)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.folder / "kubeconfig"

    @property
    def alive(self) -> dict[str, bool]:
        """Which of its processes run."""
        return {name: each.alive for name, each in self._processes.items()}

    def command(self, words: Sequence[str]) -> list[str]:
        """The command that runs `words` where the API server and the pods can be reached."""
        return network.in_hub(self._processes["hub"].pid, words)

    def kubectl(self, *words: str) -> str:
        """What kubectl prints.  Raises LabError."""
        line = self.command(["kubectl", f"--kubeconfig={self.kubeconfig}", *words])
        done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            raise LabError(f"kubectl {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def user(self, name: str, rules: Sequence[tuple[str, str, str]]) -> Path:
        """The kubeconfig of a user who may do nothing but this: groups, resources, verbs.

        The user is a service account in the namespace `default`.
        """
        self.kubectl("create", "serviceaccount", name)
        for number, (_, resources, verbs) in enumerate(rules):
            words = [f"--verb={verbs}", f"--resource={resources}"]
            self.kubectl("create", "role", f"{name}-{number}", *words)
            account = f"--serviceaccount=default:{name}"
            bound = f"{name}-{number}"
            self.kubectl("create", "rolebinding", bound, f"--role={bound}", account)
        return self._kubeconfig(name, self.kubectl("create", "token", name).strip())

    def processes(self) -> list[str]:
        """The command lines of all that the kubelet has started: what runs in pods."""
        found = []
        waiting = [self._processes["kubelet"].pid]
        while waiting:
            for task in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
                for child in _read(task).split():
                    waiting.append(int(child))
                    found.append(_read(Path(f"/proc/{child}/cmdline")).replace("\0", " ").strip())
        return [line for line in found if line]

    def stop(self, name: str) -> None:
        """End one of its processes, such as `apiserver`."""
        self._processes[name].kill()

    def start(self, name: str) -> None:
        """Start it again, as it was, and wait until the API server answers."""
        {"apiserver": self._start_server, "kubelet": self._start_kubelet}[name]()
        self._wait_for_server()
        self._save()

    def down(self) -> None:
        """End it all, by pid, and remove its folder."""
        for process in reversed(list(self._processes.values())):
            process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- its parts -------------------------------------------------------------------------------
    def _begin(self) -> None:
        self._start_hub()
        network.make_bridge(self._processes["hub"].pid)
        self._write_files()
        data = self.folder / "etcd"
        etcd = [str(packages.etcd()), f"--data-dir={data}", "--unsafe-no-fsync"]
        self._start("etcd", [*etcd, "--listen-peer-urls=http://127.0.0.1:2380"])
        self._start_server()
        self._wait_for_server()
        kubeconfig = f"--kubeconfig={self.kubeconfig}"
        key = f"--service-account-private-key-file={self.folder}/accounts.pem"
        often = ["--node-monitor-grace-period=1h", "--leader-elect=false"]
        # Only what answers on loopback, and only to those with the right token.
        bound = ["--bind-address=127.0.0.1", f"--authentication-kubeconfig={self.kubeconfig}"]
        bound += [f"--authorization-kubeconfig={self.kubeconfig}"]
        bound += [f"--cert-dir={self.folder}/certificates"]
        manager = str(packages.program("kube-controller-manager"))
        root = f"--root-ca-file={self.folder}/authority.pem"
        self._start("controllers", [manager, kubeconfig, key, root, *often, *bound])
        scheduler = str(packages.program("kube-scheduler"))
        self._start("scheduler", [scheduler, kubeconfig, "--leader-elect=false", *bound])
        self._start_kubelet()
        self._wait_for_nodes()
        self._save()

    def _write_files(self) -> None:
        certificates = Certificates(self.folder, network.PLANE, "127.0.0.1")
        (self.folder / "authority.pem").write_text(certificates.authority)
        for name in ("server", "client"):
            certificate, key = certificates.pair(name)
            self._write(f"{name}.pem", certificate + key)
        _, key = certificates.pair("accounts")
        self._write("accounts.pem", key)
        token = secrets.token_hex(16)
        self._write("tokens.csv", f'{token},admin,admin,"system:masters"\n')
        self._kubeconfig("", token)
        told = {
            "server": f"https://{network.PLANE}:{_PORT}",
            "host": network.PLANE,
            "port": _PORT,
            "token": token,
            "authority": str(self.folder / "authority.pem"),
            "certificate": str(self.folder / "server.pem"),
            "folder": str(self.folder / "pods"),
            "nodes": NODES,
        }
        self._write("kubelet.json", json.dumps(told))

    def _kubeconfig(self, user: str, token: str) -> Path:
        server = f"https://{network.PLANE}:{_PORT}"
        cluster = {"server": server, "certificate-authority": str(self.folder / "authority.pem")}
        context = {"cluster": "lab", "user": "me", "namespace": "default"}
        name = f"kubeconfig-{user}" if user else "kubeconfig"
        return self._write(
            name,
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "lab",
                    "contexts": [{"name": "lab", "context": context}],
                    "clusters": [{"name": "lab", "cluster": cluster}],
                    "users": [{"name": "me", "user": {"token": token}}],
                }
            ),
        )

    def _start_server(self) -> None:
        folder = self.folder
        self._start(
            "apiserver",
            [
                str(packages.program("kube-apiserver")),
                "--etcd-servers=http://127.0.0.1:2379",
                # Its cache asks etcd how far it is; etcd 3.4 may leave that unanswered under load,
                # and each list then fails ("Too large resource version") until something changes.
                "--watch-cache=false",
                f"--cert-dir={folder}/certificates",
                f"--bind-address={network.PLANE}",
                f"--advertise-address={network.PLANE}",
                f"--secure-port={_PORT}",
                f"--tls-cert-file={folder}/server.pem",
                f"--tls-private-key-file={folder}/server.pem",
                f"--token-auth-file={folder}/tokens.csv",
                "--authorization-mode=RBAC",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={folder}/accounts.pem",
                f"--service-account-signing-key-file={folder}/accounts.pem",
                f"--kubelet-client-certificate={folder}/client.pem",
                f"--kubelet-client-key={folder}/client.pem",
                "--kubelet-preferred-address-types=InternalIP",
                "--endpoint-reconciler-type=none",
                "--service-cluster-ip-range=10.90.0.0/24",
            ],
        )

    def _start_kubelet(self) -> None:
        (self.folder / "pods").mkdir(exist_ok=True)
        words = [sys.executable, "-m", "kubernetes.lab.kubelet", str(self.folder / "kubelet.json")]
        self._start("kubelet", words)

    def _start_hub(self) -> None:
        said = self.folder / "hub"
        os.mkfifo(said)
        inner = f"echo there >{said}; exec sleep infinity"
        self._launch("hub", ["unshare", "--net", "sh", "-c", inner])
        if said.read_text() != "there\n":
            raise LabError("the hub has no network of its own")

    def _start(self, name: str, words: Sequence[str]) -> None:
        self._launch(name, self.command(words))

    def _launch(self, name: str, words: Sequence[str]) -> None:
        tied = ["setpriv", "--pdeathsig", "KILL", "--"] if self._tied else []
        with (self.folder / f"{name}.log").open("ab") as output:
            started = subprocess.Popen(
                [*tied, *words],
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._processes[name] = Process.of(started.pid)

    def _wait_for_server(self) -> None:
        self._wait("apiserver", ["get", "--raw", "/readyz"], "ok")

    def _wait_for_nodes(self) -> None:
        wanted = " ".join(["True"] * len(NODES))
        path = '{.items[*].status.conditions[?(@.type=="Ready")].status}'
        self._wait("kubelet", ["get", "nodes", f"-o=jsonpath={path}"], wanted)
        free = "{.items[*].spec.taints}"
        self._wait("controllers", ["get", "nodes", f"-o=jsonpath={free}"], "")

    def _wait(self, name: str, words: list[str], answer: str) -> None:
        deadline = time.monotonic() + _READY_S
        said = ""
        while time.monotonic() < deadline and self._processes[name].alive:
            try:
                said = self.kubectl(*words).strip()
                if said == answer:
                    return
            except LabError as error:
                said = str(error)
            time.sleep(0.1)  # it says so to those who ask alone
        log = (self.folder / f"{name}.log").read_text()[-3000:]
        raise LabError(f"{name} is not ready: {said}\n{log}")

    def _write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def _save(self) -> None:
        self._write(_STATE, json.dumps(self._processes))


def _read(path: Path) -> str:
    """What a process says of itself; nothing, if it has gone."""
    try:
        return path.read_text()
    except OSError:
        return ""
