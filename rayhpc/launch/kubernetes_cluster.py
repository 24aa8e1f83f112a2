"""One cluster of `rayhpc up` on Kubernetes: what its YAML wants, and how it comes and goes.

Used by `cli.kubernetes_cluster`.  The head is a Job like its machines, which it asks for itself
with a service account of its own; everything else is owned by its Job and ends with it.
"""

from __future__ import annotations

import difflib
import getpass
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from rayhpc.clusters.node_types import head_type, max_workers, worker_types
from rayhpc.clusters.read import ClusterFile
from rayhpc.elastic.types import MachineState, NodeType
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.kubernetes.access import find_access
from rayhpc.kubernetes.client import Client
from rayhpc.kubernetes.errors import ApiError, KubernetesError
from rayhpc.kubernetes.objects import (
    JOB,
    POD,
    ROLE,
    ROLE_BINDING,
    SECRET,
    SERVICE_ACCOUNT,
    Job,
    Kind,
    Object,
    Pod,
)
from rayhpc.launch import growth_file
from rayhpc.launch.growth_file import GrowthFile
from rayhpc.providers.kubernetes import manifests, names, trouble
from rayhpc.providers.kubernetes.manifests import Machine
from rayhpc.providers.kubernetes.provider import HEAD_JOB, OWNER, longest
from rayhpc.providers.kubernetes.reading import Seen, seen_in
from rayhpc.providers.node_words import node_words
from rayhpc.wire.messages.common import UNIT

# What Ray's examples have as well; `services` is without effect, as nothing needs one.
_KEYS = ("type", "namespace", "context", "active_deadline_seconds", "use_internal_ips", "services")
_RAYS = ("autoscaler_service_account", "autoscaler_role", "autoscaler_role_binding")
_IDLE_S = 60.0
_END_S, _PAUSE_S, _AGAIN_S, _WATCH_S = 120.0, 0.2, 0.5, 60
_TAIL = 20
_ALONE = ("--rank=0", "--size=1", "--no-report")
_PRINT = "rayhpc.io/print"
#: Where the head's pod keeps its growth file, note and key: in memory.
HEAD_FOLDER = "/run/rayhpc/head"
_RIGHTS = (
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "get", "list", "delete"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]},
)
_UP: tuple[trouble.Need, ...] = (
    (JOB, "", ("create", "get", "list", "patch", "delete")),
    (SECRET, "", ("create",)),
    (POD, "", ("get", "list", "watch")),
    (POD, "log", ("get",)),
)
_ACCOUNT: tuple[trouble.Need, ...] = (
    (SERVICE_ACCOUNT, "", ("create",)),
    (ROLE, "", ("create",)),
    (ROLE_BINDING, "", ("create",)),
)
Say = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """One machine, for `status`; its name, its pod's, and how it fares."""

    name: str
    pod: str
    is_head: bool
    seen: Seen


@dataclass(frozen=True)
class KubernetesCluster:
    """The cluster and everything that follows from its file; every method raises LaunchError."""

    name: str
    client: Client
    growth: GrowthFile
    head_config: Mapping[str, Any]
    script: str
    account: str | None

    @property
    def head_job(self) -> str:
        """Its head's Job."""
        return names.head_job(growth_file.provider_name(self.name))

    # -- looking
    def head(self) -> tuple[Job | None, Pod | None]:
        """The head's Job and its pod, if they are there."""
        with _said():
            try:
                job = self.client.get(JOB, self.head_job)
            except ApiError as error:
                if not error.is_missing or "namespaces" in str(error):
                    raise
                return None, None
            pods = self.client.list(POD, {"job-name": job.metadata.name})
        return job, next((x for x in pods if _is_of(x, job)), None)

    def head_pod(self) -> Pod:
        """The pod of a head that serves."""
        job, pod = self.head()
        if job is not None and pod is not None and _serves(pod):
            return pod
        why = "does not run"
        if job is not None:
            found = seen_in(job, pod)
            why = f"is {found.state.value}" + (f" ({found.reason})" if found.reason else "")
        text = f"the head of cluster {self.name} {why}; `rayhpc up` starts it"
        raise LaunchError(text, ExitCode.HEAD_LOST)

    def changed(self, job: Job) -> bool:
        """Whether the head was started with another file than there is now."""
        return job.metadata.annotations.get(_PRINT) != self._print()

    def rows(self) -> list[Row]:
        """The head and every machine that Kubernetes has."""
        labels = {names.CLUSTER_LABEL: self._label()}
        with _said():
            jobs = self.client.list(JOB, labels)
            pods = self.client.list(POD, labels)
        found = []
        for job in jobs:
            pod = next((each for each in pods if _is_of(each, job)), None)
            is_head = job.metadata.name == self.head_job
            name = job.metadata.annotations.get(names.MACHINE, "head")
            where = pod.metadata.name if pod is not None else ""
            found.append(Row(name, where, is_head, seen_in(job, pod)))
        return sorted(found, key=lambda row: (not row.is_head, row.name))

    # -- coming and going
    def check_rights(self) -> None:
        """Refuse what would fail half-way: the server is asked what we may do."""
        needs = _UP if self.account is not None else (*_UP, *_ACCOUNT)
        with _said():
            missing = trouble.lacking(self.client, needs)
        if not missing:
            return
        text = f"you may not {', '.join(missing)} in namespace {self.client.namespace}"
        if all(each.split()[1] in ("serviceaccounts", "roles", "rolebindings") for each in missing):
            text += (
                ": name a service account in the head's pod (serviceAccountName) that may create, "
                "get, list and delete jobs, create secrets, get and list pods, and list events"
            )
        raise LaunchError(text, ExitCode.PERMISSION)

    def start(self, say: Say) -> str:
        """Create the head and wait until it serves; returns its address.

        Raises:
            LaunchError: it has ended instead; the message has the last lines it wrote.
        """
        with _said():
            job = self._create(JOB, self._head_manifest())
            data = {growth_file.GROWTH: msgspec.json.encode(self.growth).decode()}
            labels = job.metadata.labels
            self._create(SECRET, manifests.secret_of(job.metadata.name, labels, job, data))
            if self.account is None:
                self._create_account(job)
            self.client.patch(JOB, job.metadata.name, {"spec": {"suspend": False}})
            return self._wait(job, say)

    def end(self, say: Say) -> None:
        """Delete the head's Job, with all that it owns, and wait until nothing is left."""
        with _said():
            for row in self.client.list(JOB, {names.CLUSTER_LABEL: self._label()}):
                self.client.delete(JOB, row.metadata.name)
            deadline = time.monotonic() + _END_S
            said = 0
            while left := self._left():
                if time.monotonic() > deadline:
                    text = f"{', '.join(left)} of cluster {self.name} do not end; try again"
                    raise LaunchError(text, ExitCode.SCHEDULER)
                if len(left) != said:
                    said = len(left)
                    say(f"waiting for the end of {said} Jobs and pods")
                time.sleep(_PAUSE_S)

    def is_there(self) -> bool:
        """Whether its head's Job is there, or that cannot be found out."""
        try:
            return self.head()[0] is not None
        except LaunchError:
            return True

    def log(self, lines: int) -> list[str]:
        """The last lines of the head's output; none if there is none."""
        _, pod = self.head()
        if pod is None:
            return []
        try:
            found = self.client.log(pod.metadata.name, last=lines)
            return [line.decode(errors="replace") for line in found]
        except KubernetesError:
            return []

    # -- small things
    def _left(self) -> list[str]:
        labels = {names.CLUSTER_LABEL: self._label()}
        jobs = [f"Job {each.metadata.name}" for each in self.client.list(JOB, labels)]
        return [*jobs, *(f"pod {each.metadata.name}" for each in self.client.list(POD, labels))]

    def _wait(self, job: Job, say: Say) -> str:
        """The address of a head that serves; an API server that is away or busy is waited for."""
        said = ""

        def tell(text: str) -> None:
            nonlocal said
            if text != said:
                said = text
                say(f"head: {text}")

        while True:
            try:
                for _, pod in self.client.watch(POD, {"job-name": job.metadata.name}, _WATCH_S):
                    if _is_of(pod, job) and _serves(pod):
                        return pod.status.pod_ip
                    if _is_of(pod, job):
                        self._look(seen_in(job, pod), tell)
                job = self.client.get(JOB, job.metadata.name)
            except KubernetesError as error:
                if isinstance(error, ApiError) and not error.is_transient:
                    raise
                tell(f"{error}; asked again")
                time.sleep(_AGAIN_S)
            if job.is_over:
                raise self._failed(seen_in(job, None))

    def _look(self, found: Seen, tell: Say) -> None:
        """Raises LaunchError for a head that will not serve."""
        if found.state is MachineState.ENDED or found.permanent:
            raise self._failed(found)
        if found.reason:
            tell(found.reason)

    def _failed(self, found: Seen) -> LaunchError:
        shown = "".join(f"\n    | {line}" for line in self.log(_TAIL))
        what = "has ended" if found.state is MachineState.ENDED else "cannot start"
        return LaunchError(f"the head {what}: {found.reason}{shown}", ExitCode.HEAD_LOST)

    def _head_manifest(self) -> Object:
        cluster = growth_file.provider_name(self.name)
        machine = Machine(
            job=self.head_job,
            labels=manifests.labels_of(cluster, str(self.growth.options[OWNER]), "head"),
            annotations={_PRINT: self._print()},
            script=self.script,
            secret=self.head_job,
            longest_s=longest(self.growth.options),
            ends_at=time.time() + longest(self.growth.options),
            account=self.account or self.head_job,
        )
        made = manifests.job_of(machine, self.head_config, "the head's node type")
        made["spec"]["suspend"] = True
        pod = made["spec"]["template"]["spec"]
        pod["volumes"].append({"name": "rayhpc-head", "emptyDir": {"medium": "Memory"}})
        container = manifests.container_of(pod)
        container["volumeMounts"].append({"name": "rayhpc-head", "mountPath": HEAD_FOLDER})
        test = ["test", "-e", f"{HEAD_FOLDER}/{growth_file.HEAD}"]
        container["readinessProbe"] = {"exec": {"command": test}, "periodSeconds": 1}
        return made

    def _create(self, kind: Kind[Any], manifest: Object) -> Any:
        """Create it; one that an `up` has left which was interrupted is as good."""
        try:
            return self.client.create(kind, manifest)
        except ApiError as error:
            if not error.exists:
                raise
            return self.client.get(kind, manifest["metadata"]["name"])

    def _create_account(self, job: Job) -> None:
        """A service account that may do what the head has to, and nothing else."""
        name = job.metadata.name
        meta = {"name": name, "labels": job.metadata.labels}
        meta |= {"ownerReferences": manifests.owned_by(job)}  # type: ignore[dict-item]
        subject = {"kind": "ServiceAccount", "name": name, "namespace": self.client.namespace}
        role = {"apiGroup": ROLE.group, "kind": "Role", "name": name}
        self._create(SERVICE_ACCOUNT, {"metadata": meta})
        self._create(ROLE, {"metadata": meta, "rules": list(_RIGHTS)})
        self._create(ROLE_BINDING, {"metadata": meta, "roleRef": role, "subjects": [subject]})

    def _label(self) -> str:
        return names.label(growth_file.provider_name(self.name))

    def _print(self) -> str:
        """A hash of all that the head is started with."""
        told = [msgspec.json.encode(self.growth).decode(), self.head_config, self.script]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def kubernetes_cluster(file: ClusterFile, environ: Mapping[str, str]) -> KubernetesCluster:
    """The cluster that a file describes.  Asks nobody yet.

    Raises:
        LaunchError: something in it is wrong, or there is no access to Kubernetes.
    """
    config = file.config
    told = dict(config.provider)
    for key in told:
        if key not in (*_KEYS, *_RAYS):
            near = difflib.get_close_matches(key, _KEYS, 1)
            meant = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_KEYS)}"
            raise file.fault(("provider", key), f"there is no {key!r} in this provider; {meant}")
    cluster = growth_file.provider_name(config.cluster_name)
    head_name, head = head_type(config)
    types = [_with_resources(each) for each in worker_types(file, _IDLE_S)]
    for each in types:
        manifests.check(each.options, f"node type {each.name}")
    account = manifests.account_in(head.node_config, f"node type {head_name}")
    if _RAYS[0] in told:
        account = None  # Ray would make it; ours has the rights that our head needs
    passed = ("type", "namespace", "active_deadline_seconds")
    options: dict[str, Any] = {key: told[key] for key in passed if key in told}
    options |= {HEAD_JOB: names.head_job(cluster), OWNER: getpass.getuser()}
    longest(options)  # raises what is wrong with it, now
    amounts = {**manifests.resources_of(head.node_config, head_name), **head.resources}
    setup = (*config.initialization_commands, *config.setup_commands, *config.head_setup_commands)
    growth = GrowthFile(
        cluster=config.cluster_name,
        provider="kubernetes",
        options=options,
        types=types,
        most=max_workers(config),
        work_dir="/",
    )
    with _said():
        access = find_access(environ, told.get("context"))
    return KubernetesCluster(
        name=config.cluster_name,
        client=Client(access, told.get("namespace")),
        growth=growth,
        head_config=head.node_config,
        script=_script(setup, node_words(amounts, head.labels)),
        account=account,
    )


def _script(setup: tuple[str, ...], words: Mapping[str, str]) -> str:
    """The head's: its growth file goes where it may write, and its key into memory."""
    source = f"{manifests.FOLDER}/{growth_file.GROWTH}"
    copy = f"umask 077; cp {source} {HEAD_FOLDER}/{growth_file.GROWTH}"
    run = ["rayhpc", "run", *_ALONE, "--growth", f"{HEAD_FOLDER}/{growth_file.GROWTH}"]
    run += [f"{option}={value}" for option, value in words.items()]
    return manifests.script_of((*setup, copy), [*run, "--node-ip-address", '"$RAYHPC_POD_IP"'])


def _with_resources(kind: NodeType) -> NodeType:
    """What the file does not say of a node, its pod's limits say."""
    found = manifests.resources_of(kind.options, f"node type {kind.name}")
    amounts = {name: round(amount * UNIT) for name, amount in found.items()}
    return replace(kind, resources={**amounts, **kind.resources})


def _serves(pod: Pod) -> bool:
    ready = (each for each in pod.status.conditions if each.type == "Ready")
    return pod.status.phase == "Running" and any(each.status == "True" for each in ready)


def _is_of(pod: Pod, job: Job) -> bool:
    return any(owner.uid == job.metadata.uid for owner in pod.metadata.owner_references)


@contextmanager
def _said() -> Iterator[None]:
    """Raises LaunchError for what Kubernetes refuses."""
    try:
        yield
    except KubernetesError as error:
        is_right = isinstance(error, ApiError) and error.status == 403 and not error.is_quota
        code = ExitCode.PERMISSION if is_right else ExitCode.SCHEDULER
        raise LaunchError(f"Kubernetes: {error}", code) from error
