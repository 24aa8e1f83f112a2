"""The Jobs and Secrets of machines, as manifests.

Used by `provider` and `head`.  A pure function of its arguments.  Nothing secret is in a pod's
specification: a machine's one-time token lies in a Secret, which its Job owns.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from rayhpc.batch.errors import OptionError
from rayhpc.kubernetes.objects import JOB, Job, Object
from rayhpc.providers.kubernetes import names
from rayhpc.wire.feasibility import END_VARIABLE

#: Where a container finds what it is told; every machine has a folder of its own there.
FOLDER = "/run/rayhpc/machine"
TOKEN = "token"
#: What Ray's examples call the container that has the node; without it, it is the first.
CONTAINER = "ray-node"
#: A week: no machine of a forgotten cluster lives longer, whatever happens to everything else.
LONGEST_S = 7 * 24 * 3600
# A Job that is over is kept so long, to be looked at.
_KEPT_S = 600
_VOLUME = "rayhpc-machine"
# A container's first process: the kernel gives it no signal that it has no handler for, and set-up
# commands and a starting Python have none.  So it is a shell that passes SIGTERM on to our script.
# `set -m` lets that be interrupted (a shell's background jobs ignore SIGINT otherwise).
_FIRST = """\
set -m
trap 'told=1; kill -TERM "$child" 2>/dev/null' TERM
/bin/bash -lc "$1" & child=$!
[ -z "$told" ] || kill -TERM "$child"
wait "$child"; code=$?
while [ -n "$told" ]; do told=; wait "$child"; code=$?; done
exit "$code"
"""


@dataclass(frozen=True)
class Machine:
    """A pod that is to be.

    Attributes:
        job: its Job's name.
        labels: found by these.
        annotations: said of it.
        script: what its container runs, as shell text.
        secret: the Secret that is mounted at FOLDER.
        owner: the Job that it ends with; None: none.
        longest_s: it ends after this time, whatever happens.
        account: the service account whose token it gets; None: none.
        ends_at: when it is over at the latest, in seconds since 1970; its node is told.
    """

    job: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    script: str
    secret: str
    owner: Job | None = None
    longest_s: int = LONGEST_S
    account: str | None = None
    ends_at: float | None = None


def job_of(machine: Machine, node_config: Mapping[str, Any], what: str) -> Object:
    """A Job with one pod, as a node type's `node_config` describes it, that runs our script.

    Args:
        machine: what is ours in it.
        node_config: a pod, as in Ray's examples: `metadata` and `spec`.
        what: names the node type in errors.

    Raises:
        OptionError: it describes no pod.
    """
    meta = _mapping(node_config.get("metadata"), f"{what}: node_config.metadata")
    pod = _pod_spec(node_config, what)
    container = _container(pod, what)
    container["command"] = ["/bin/bash", "-c", _FIRST, "rayhpc", machine.script]
    container.pop("args", None)
    container.pop("livenessProbe", None)
    address = {"name": "RAYHPC_POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    container["env"] = [*(container.get("env") or ()), address]
    if machine.ends_at is not None:
        container["env"].append({"name": END_VARIABLE, "value": str(int(machine.ends_at))})
    mount = {"name": _VOLUME, "mountPath": FOLDER, "readOnly": True}
    container["volumeMounts"] = [*(container.get("volumeMounts") or ()), mount]
    # The container may run as any user, and nobody else is in it.
    volume = {"name": _VOLUME, "secret": {"secretName": machine.secret, "defaultMode": 0o444}}
    pod["volumes"] = [*(pod.get("volumes") or ()), volume]
    pod["restartPolicy"] = "Never"
    _set_account(pod, machine.account)
    labels = {**_texts(meta.get("labels")), **machine.labels}
    annotations = {**_texts(meta.get("annotations")), **machine.annotations}
    return {
        "metadata": _meta(machine.job, machine.labels, machine.annotations, machine.owner),
        "spec": {
            "backoffLimit": 0,
            "parallelism": 1,
            "completions": 1,
            "activeDeadlineSeconds": machine.longest_s,
            "ttlSecondsAfterFinished": _KEPT_S,
            "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod},
        },
    }


def secret_of(name: str, labels: Mapping[str, str], owner: Job, data: Mapping[str, str]) -> Object:
    """A Secret that ends with a Job."""
    return {"metadata": _meta(name, labels, {}, owner), "stringData": dict(data), "type": "Opaque"}


def check(node_config: Mapping[str, Any], what: str) -> None:
    """Raises OptionError unless it describes a pod."""
    _container(_pod_spec(node_config, what), what)


def account_in(node_config: Mapping[str, Any], what: str) -> str | None:
    """The service account that a pod names, if any.  Raises OptionError."""
    name = _pod_spec(node_config, what).get("serviceAccountName")
    return None if name is None else str(name)


def container_of(pod: Object) -> Object:
    """The container of a pod that has the node."""
    return _container(pod, "the pod")


def owned_by(owner: Job) -> list[Object]:
    """The reference by which the garbage collector ends an object with a Job."""
    name, uid = owner.metadata.name, owner.metadata.uid
    return [{"apiVersion": JOB.api_version, "kind": JOB.name, "name": name, "uid": uid}]


def script_of(setup: Sequence[str], words: Sequence[str]) -> str:
    """Shell text that runs set-up commands and then becomes a program.

    `words` are quoted, but for $RAYHPC_POD_IP, which the container's environment has.
    """
    lines = [f"{{ {command}\n}} || exit 78" for command in setup]
    missing = "rayhpc is not in the image: add `pip install rayhpc` to setup_commands"
    lines.append(
        f"command -v rayhpc >/dev/null || {{ echo {shlex.quote(missing)} >&2; exit 127; }}"
    )
    quoted = [word if word == '"$RAYHPC_POD_IP"' else shlex.quote(word) for word in words]
    lines.append(f"exec {' '.join(quoted)}")
    return "\n".join(lines)


def resources_of(node_config: Mapping[str, Any], what: str) -> dict[str, float]:
    """What a node in such a pod has: its container's limits, or else its requests."""
    container = _container(_pod_spec(node_config, what), what)
    told = _mapping(container.get("resources"), f"{what}: resources")
    asked = {**_mapping(told.get("requests"), what), **_mapping(told.get("limits"), what)}
    found: dict[str, float] = {}
    for name, amount in asked.items():
        if name == "cpu":
            found["CPU"] = max(1.0, float(int(_quantity(amount))))
        elif name.endswith("/gpu"):
            found["GPU"] = found.get("GPU", 0.0) + _quantity(amount)
    return found


def _pod_spec(node_config: Mapping[str, Any], what: str) -> Object:
    spec = node_config.get("spec")
    if not isinstance(spec, dict) or not spec.get("containers"):
        raise OptionError(
            f"{what}: node_config is a pod, with spec and its containers: "
            "{spec: {containers: [{name: ray-node, image: …}]}}"
        )
    return deepcopy(spec)


def _container(pod: Object, what: str) -> Object:
    containers = pod["containers"]
    if not isinstance(containers, list) or not all(isinstance(x, dict) for x in containers):
        raise OptionError(f"{what}: node_config.spec.containers is a list of containers")
    named = [each for each in containers if each.get("name") == CONTAINER]
    container: Object = (named or containers)[0]
    if not container.get("image"):
        raise OptionError(f"{what}: the container {container.get('name', '')} names no image")
    return container


def _set_account(pod: Object, account: str | None) -> None:
    """Only the head gets a token of the cluster's API; a worker's program needs none."""
    if account is not None:
        pod["serviceAccountName"] = account
        pod["automountServiceAccountToken"] = True
    else:
        pod.setdefault("automountServiceAccountToken", False)


def _meta(
    name: str, labels: Mapping[str, str], annotations: Mapping[str, str], owner: Job | None
) -> Object:
    meta: Object = {"name": name, "labels": dict(labels)}
    if annotations:
        meta["annotations"] = dict(annotations)
    if owner is not None:
        meta["ownerReferences"] = owned_by(owner)
    return meta


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise OptionError(f"{what} is a mapping")
    return value


def _texts(value: object) -> dict[str, str]:
    return {str(key): str(each) for key, each in value.items()} if isinstance(value, dict) else {}


_UNITS = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_UNITS |= {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}


def _quantity(value: object) -> float:
    """An amount as Kubernetes writes it.  Raises OptionError."""
    text = str(value)
    number, factor = text, 1.0
    for unit, size in _UNITS.items():
        if text.endswith(unit):
            number, factor = text[: -len(unit)], size
    try:
        return float(number) * factor
    except ValueError:
        raise OptionError(f"{value!r} is no amount: write it as 2, 500m or 4Gi") from None


def labels_of(cluster: str, user: str, role: str, head_uid: str = "") -> dict[str, str]:
    """The labels of everything that a cluster has."""
    found = {names.CLUSTER_LABEL: names.label(cluster), names.ROLE_LABEL: role}
    if names.label(user):
        found[names.OWNER_LABEL] = names.label(user)
    if head_uid:
        found[names.HEAD_LABEL] = head_uid
    return found
