"""A pretend kubelet for all nodes of the lab: pods are processes in namespaces of their own.

Started by `lab` in the hub, as `python -m kubernetes.lab.kubelet CONFIG`.  Registers its nodes,
watches the pods that the scheduler gives them, runs the first container's command, reports phase,
exit code and address, honours the grace period; serves logs and `exec` as a kubelet does.  There
are no images: `missing/…` stands for one that does not exist.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from kubernetes.lab import pods
from kubernetes.lab.kubelet_server import serve
from kubernetes.lab.pods import Object, Running
from rayhpc.kubernetes.access import Access
from rayhpc.kubernetes.client import Client
from rayhpc.kubernetes.credentials import Fixed
from rayhpc.kubernetes.errors import ApiError, KubernetesError

_RETRY_S = 0.2
_HEARTBEAT_S = 10.0
_MERGE = "application/merge-patch+json"


class Kubelet:
    """All nodes of the lab.

    Args:
        config: what `lab` says: server, host and port, the token and the authority's certificate,
            the nodes with their CPUs, a folder, and the file of our own certificate.
    """

    def __init__(self, config: Object) -> None:
        authority = Path(config["authority"]).read_text()
        access = Access(config["server"], Fixed(config["token"]), authority=authority)
        self._client = Client(access)
        self._authority = authority.encode()
        self._address = (config["host"], config["port"])
        self._nodes: dict[str, int] = config["nodes"]
        self._folder = Path(config["folder"])
        self._numbers = itertools.count(1)
        self._guard = threading.Lock()
        self._known: set[str] = set()
        self.running: dict[tuple[str, str], Running] = {}
        self._port = serve(self.running, Path(config["certificate"]), config["host"])

    def run(self) -> None:
        """Until it is killed."""
        for name, cpus in self._nodes.items():
            self._register(name, cpus)
        threading.Thread(target=self._beat, daemon=True).start()
        while True:
            try:
                self._watch()
            except (KubernetesError, ValueError):
                time.sleep(_RETRY_S)  # the API server is away; pods run on

    # -- nodes -----------------------------------------------------------------------------------
    def _register(self, name: str, cpus: int) -> None:
        labels = {"kubernetes.io/hostname": name}
        while True:
            try:
                manifest = {"apiVersion": "v1", "kind": "Node"}
                self._request(
                    "POST",
                    "/api/v1/nodes",
                    manifest | {"metadata": {"name": name, "labels": labels}},
                )
            except ApiError as error:
                if not error.exists:
                    raise
            except KubernetesError:
                time.sleep(_RETRY_S)
                continue
            break
        self._report(name, cpus)

    def _report(self, name: str, cpus: int) -> None:
        has = {"cpu": str(cpus), "memory": "64Gi", "pods": "110", "ephemeral-storage": "100Gi"}
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}
        ready |= {"lastHeartbeatTime": _now(), "lastTransitionTime": _now()}
        status = {
            "capacity": has,
            "allocatable": has,
            "conditions": [ready],
            "addresses": [{"type": "InternalIP", "address": self._address[0]}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._port}},
        }
        path = f"/api/v1/nodes/{name}/status"
        self._request("PATCH", path, {"status": status})

    def _beat(self) -> None:
        while True:
            time.sleep(_HEARTBEAT_S)
            for name, cpus in self._nodes.items():
                try:
                    self._report(name, cpus)
                except KubernetesError:
                    continue

    # -- pods ------------------------------------------------------------------------------------
    def _watch(self) -> None:
        found = json.loads(self._client.request("GET", "/api/v1/pods"))
        for pod in found["items"]:
            self._see(pod)
        there = {pod["metadata"]["uid"] for pod in found["items"]}
        for running in list(self.running.values()):
            if running.uid not in there:
                running.stop(0.0)
        version = found["metadata"]["resourceVersion"]
        path = f"/api/v1/pods?watch=1&timeoutSeconds=300&resourceVersion={version}"
        for line in self._client.lines(path):
            row = json.loads(line)
            if row["type"] in ("ADDED", "MODIFIED"):
                self._see(row["object"])
            elif row["type"] == "DELETED":
                self._lose(row["object"])

    def _lose(self, pod: Object) -> None:
        """It was deleted by force: nobody waits for its end."""
        running = self.running.get(_key(pod))
        if running is not None and running.uid == pod["metadata"]["uid"]:
            running.stop(0.0)

    def _see(self, pod: Object) -> None:
        meta = pod["metadata"]
        if pod["spec"].get("nodeName") not in self._nodes:
            return
        with self._guard:
            is_new = meta["uid"] not in self._known
            self._known.add(meta["uid"])
        over = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        if is_new and not over:
            threading.Thread(target=self._live, args=(pod,), daemon=True).start()
        elif meta.get("deletionTimestamp"):
            running = self.running.get(_key(pod))
            if running is not None:
                running.stop(float(meta.get("deletionGracePeriodSeconds", 30)))
            elif over or is_new:
                self._gone(pod)

    def _live(self, pod: Object) -> None:
        """One pod's life, in its own thread: the kernel kills the container with it."""
        key = _key(pod)
        try:
            running = self._begin(pod)
        except (KubernetesError, OSError, RuntimeError) as error:
            print(f"{key}: {error}", file=sys.stderr, flush=True)
            self._end(pod, 128, "ContainerCannotRun")
            return
        if running is None:
            self._gone(pod)
            return
        self.running[key] = running
        self._status(
            pod, _running(pod, running.address, is_ready="readinessProbe" not in _told(pod))
        )
        threading.Thread(target=self._probe, args=(pod, running), daemon=True).start()
        if self._is_deleted(pod):
            running.stop(1.0)
        code = running.wait()
        del self.running[key]
        self._end(pod, code, "Completed" if code == 0 else "Error")
        if self._is_deleted(pod):
            self._gone(pod)

    def _probe(self, pod: Object, running: Running) -> None:
        """Ask a container that says how whether it is ready, until it is."""
        probe = _told(pod).get("readinessProbe")
        if probe is None:
            return
        words = running.enter(probe["exec"]["command"])
        while running.is_alive:
            if subprocess.run(words, capture_output=True, check=False).returncode == 0:
                self._status(pod, _running(pod, running.address, is_ready=True))
                return
            time.sleep(_RETRY_S)

    def _begin(self, pod: Object) -> Running | None:
        """The container, once it has all that it needs; None: it is not wanted any more."""
        container = pod["spec"]["containers"][0]
        said = ""
        while True:
            files = None
            if container["image"].startswith("missing/"):
                reason, text = (
                    "ImagePullBackOff",
                    f'Back-off pulling image "{container["image"]}": not found',
                )
            else:
                reason, text = "ContainerCreating", ""
                try:
                    files = self._files(pod)
                except KubernetesError:
                    text = "the API server is away"
            if files is not None:
                number = next(self._numbers)
                folder = self._folder / pod["metadata"]["uid"]
                return Running(pod, number, folder, files, self._address)
            if reason != said:
                said = reason
                self._status(pod, _waiting(pod, reason, text))
            if self._is_deleted(pod):
                return None
            time.sleep(_RETRY_S)

    def _files(self, pod: Object) -> dict[str, dict[str, bytes]] | None:
        """What is mounted, by place; None: a Secret is not there yet."""
        spec, namespace = pod["spec"], pod["metadata"]["namespace"]
        volumes = {each["name"]: each for each in spec.get("volumes") or ()}
        found: dict[str, dict[str, bytes]] = {}
        for mount in spec["containers"][0].get("volumeMounts") or ():
            secret = volumes[mount["name"]].get("secret")
            if secret is None:
                continue
            path = f"/api/v1/namespaces/{namespace}/secrets/{secret['secretName']}"
            try:
                found[mount["mountPath"]] = pods.decoded(
                    json.loads(self._client.request("GET", path))
                )
            except ApiError as error:
                if error.is_missing:
                    return None
                raise
        account = spec.get("serviceAccountName")
        if account and spec.get("automountServiceAccountToken", True):
            path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
            asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
            token = json.loads(self._request("POST", path, asked))["status"]["token"]
            found |= pods.account_files(token, self._authority, namespace)
        return found

    def _is_deleted(self, pod: Object) -> bool:
        meta = pod["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        try:
            now = json.loads(self._client.request("GET", path))
        except ApiError as error:
            return error.is_missing
        except KubernetesError:
            return False
        return (
            bool(now["metadata"].get("deletionTimestamp")) or now["metadata"]["uid"] != meta["uid"]
        )

    def _end(self, pod: Object, code: int, reason: str) -> None:
        ended = {"exitCode": code, "reason": reason, "startedAt": _now(), "finishedAt": _now()}
        status = {
            "phase": "Succeeded" if code == 0 else "Failed",
            "conditions": [],
            "containerStatuses": [_container(pod, {"terminated": ended})],
        }
        self._status(pod, status)

    def _gone(self, pod: Object) -> None:
        meta = pod["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        options: Object = {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}}
        self._insist(lambda: self._client.request("DELETE", path, options))

    def _status(self, pod: Object, status: Object) -> None:
        meta = pod["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/status"
        self._insist(lambda: self._request("PATCH", path, {"status": status}))

    def _insist(self, action: Any) -> None:
        """Until the API server has heard it."""
        while True:
            try:
                action()
                return
            except ApiError as error:
                if not error.is_transient:
                    return
            except KubernetesError:
                pass
            time.sleep(_RETRY_S)

    def _request(self, method: str, path: str, body: Object) -> bytes:
        if method == "PATCH":
            return self._client.request(method, path, body, _MERGE)
        return self._client.request(method, path, body)


def _key(pod: Object) -> tuple[str, str]:
    return pod["metadata"]["namespace"], pod["metadata"]["name"]


def _told(pod: Object) -> Object:
    found: Object = pod["spec"]["containers"][0]
    return found


def _running(pod: Object, address: str, *, is_ready: bool) -> Object:
    word = str(is_ready)
    ready = [{"type": x, "status": word} for x in ("Ready", "ContainersReady")]
    ready.append({"type": "Initialized", "status": "True"})
    return {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": _now(),
        "conditions": [{"type": "PodScheduled", "status": "True"}, *ready],
        "containerStatuses": [_container(pod, {"running": {"startedAt": _now()}})],
    }


def _waiting(pod: Object, reason: str, message: str) -> Object:
    state = {"waiting": {"reason": reason, "message": message}}
    scheduled = {"type": "PodScheduled", "status": "True"}
    statuses = [_container(pod, state)]
    return {"phase": "Pending", "conditions": [scheduled], "containerStatuses": statuses}


def _container(pod: Object, state: Object) -> Object:
    told = pod["spec"]["containers"][0]
    return {
        "name": told["name"],
        "image": told["image"],
        "imageID": told["image"],
        "ready": "running" in state,
        "started": "running" in state,
        "restartCount": 0,
        "state": state,
    }


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    Kubelet(json.loads(Path(sys.argv[1]).read_text())).run()
