"""What the control plane does by itself: Jobs make pods, pods get nodes, owners take along.

Runs inside the store's lock, as part of each change: no thread, no delay.
"""

from __future__ import annotations

import itertools
from typing import Any

from tests.kubernetes.fake.store import Object, Store, now

_letters = itertools.count(1)


class Controllers:
    """Those of the fake.

    Attributes:
        nodes: CPUs of each node.
        pods_at_most: the namespace's quota of pods; None: none.
        has_kubelet: pods that are deleted wait until a kubelet has ended them.
    """

    def __init__(self) -> None:
        self.store = Store(self.changed)
        self.nodes: dict[str, float] = {"node-1": 64.0}
        self.has_kubelet = False

    def changed(self, what: str, plural: str, made: Object) -> None:
        """Something has changed: do what follows."""
        if plural == "jobs" and what != "DELETED":
            self._job(made)
        elif plural == "pods":
            self._pod(what, made)
        if what == "DELETED":
            self._collect(made["metadata"]["uid"])

    def delete(self, plural: str, name: str, options: Object) -> None:
        """As the server deletes; raises Invalid: there is none, or it has changed."""
        from tests.kubernetes.fake.rules import Invalid

        found = self.store.get(plural, name)
        wanted = (options.get("preconditions") or {}).get("resourceVersion")
        if wanted is not None and wanted != found["metadata"]["resourceVersion"]:
            raise Invalid(409, "Conflict", "the object has been modified")
        grace = options.get("gracePeriodSeconds")
        if plural == "pods" and self.has_kubelet and grace != 0 and _node(found):
            if not found["metadata"].get("deletionTimestamp"):
                self.store.change("pods", name, {"metadata": {"deletionTimestamp": now()}})
            return
        self.store.remove(plural, name)

    def schedule(self) -> None:
        """Give waiting pods to nodes with room."""
        for pod in self.store.all("pods"):
            if _node(pod) or pod["metadata"].get("deletionTimestamp"):
                continue
            fits = [name for name in self.nodes if self._free(name) >= _cpus(pod)]
            name = pod["metadata"]["name"]
            if fits:
                self.store.change("pods", name, {"spec": {"nodeName": fits[0]}})
            elif not pod["status"].get("conditions"):
                text = f"0/{len(self.nodes)} nodes are available: "
                text += f"{len(self.nodes)} Insufficient cpu."
                row = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
                self.store.change(
                    "pods", name, {"status": {"conditions": [row | {"message": text}]}}
                )
                self.event("Pod", pod, "FailedScheduling", text)

    def event(self, kind: str, about: Object, reason: str, message: str) -> None:
        """As a component writes one."""
        meta = about["metadata"]
        involved = {"kind": kind, "name": meta["name"], "uid": meta["uid"]}
        made = {"type": "Warning", "reason": reason, "message": message, "lastTimestamp": now()}
        name = f"{meta['name']}.{next(_letters)}"
        manifest = {"metadata": {"name": name}, "involvedObject": involved, **made}
        self.store.add("events", "Event", manifest)

    # -- Jobs ------------------------------------------------------------------------------------
    def _job(self, job: Object) -> None:
        meta, spec = job["metadata"], job["spec"]
        mine = [x for x in self.store.all("pods") if _owner(x) == meta["uid"]]
        if mine or spec.get("suspend") or job["status"].get("conditions"):
            return
        template = spec["template"]
        labels = {
            **(template.get("metadata", {}).get("labels") or {}),
            "job-name": meta["name"],
            "batch.kubernetes.io/job-name": meta["name"],
            "batch.kubernetes.io/controller-uid": meta["uid"],
        }
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"]}
        manifest = {
            "metadata": {
                "name": f"{meta['name']}-{next(_letters):05x}",
                "labels": labels,
                "annotations": template.get("metadata", {}).get("annotations") or {},
                "ownerReferences": [owner],
            },
            "spec": template["spec"],
            "status": {"phase": "Pending"},
        }
        self.store.add("pods", "Pod", manifest)
        self.store.change("jobs", meta["name"], {"status": {"active": 1}})

    def _pod(self, what: str, pod: Object) -> None:
        if what == "ADDED":
            self.schedule()
        elif what == "DELETED":
            self._of_pod(pod, "Failed")
            self.schedule()
        elif pod["status"].get("phase") in ("Succeeded", "Failed"):
            self._of_pod(pod, pod["status"]["phase"])
            self.schedule()

    def _of_pod(self, pod: Object, phase: str) -> None:
        job = next((x for x in self.store.all("jobs") if x["metadata"]["uid"] == _owner(pod)), None)
        if job is None or job["status"].get("conditions"):
            return
        row: dict[str, Any] = {"type": "Complete", "status": "True", "reason": "CompletionsReached"}
        if phase == "Failed":
            text = "Job has reached the specified backoff limit"
            row = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}
            row |= {"message": text}
        change = {"status": {"active": 0, "conditions": [row]}}
        self.store.change("jobs", job["metadata"]["name"], change)

    def _collect(self, uid: str) -> None:
        """The garbage collector."""
        for plural, each in self.store.everything():
            owners = each["metadata"].get("ownerReferences") or ()
            if any(owner["uid"] == uid for owner in owners):
                self.delete(plural, each["metadata"]["name"], {})

    def _free(self, node: str) -> float:
        alive = [x for x in self.store.all("pods") if _node(x) == node]
        alive = [x for x in alive if x["status"].get("phase") in ("Pending", "Running")]
        return self.nodes[node] - sum(map(_cpus, alive))


def _owner(pod: Object) -> str:
    owners = pod["metadata"].get("ownerReferences") or [{}]
    return str(owners[0].get("uid", ""))


def _node(pod: Object) -> str:
    return str(pod["spec"].get("nodeName") or "")


def _cpus(pod: Object) -> float:
    total = 0.0
    for each in pod["spec"]["containers"]:
        asked = str((each.get("resources") or {}).get("requests", {}).get("cpu", 0))
        total += float(asked[:-1]) / 1000 if asked.endswith("m") else float(asked)
    return total
