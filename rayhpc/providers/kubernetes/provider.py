"""Kubernetes as a provider: a Job with one pod for each machine, found again by its name.

Found by `providers.registry`; used by the head of a cluster, inside its own pod.  Every machine
carries its own end: its Job has a deadline, and is owned by the head's Job.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from rayhpc.batch.errors import OptionError
from rayhpc.elastic.types import MACHINE_LABEL, TYPE_LABEL, Machine, MachineState, NodeType
from rayhpc.kubernetes.access import find_access
from rayhpc.kubernetes.client import Client
from rayhpc.kubernetes.errors import ApiError, KubernetesError
from rayhpc.kubernetes.objects import EVENT, JOB, POD, SECRET, Event, Job, Meta, Object, Pod
from rayhpc.providers.base import ClusterFacts, Provider, ProviderError, ProviderKind
from rayhpc.providers.kubernetes import manifests, names
from rayhpc.providers.kubernetes.reading import seen_in
from rayhpc.providers.kubernetes.trouble import in_our_words
from rayhpc.providers.node_words import node_words
from rayhpc.wire.messages.common import UNIT

#: In the provider's options, beside what a cluster's YAML says: the head's Job, who owns it all.
HEAD_JOB, OWNER = "head_job", "owner"


class KubernetesProvider:
    """Implements `base.Provider` for one cluster.

    Args:
        cluster: whose machines they are.
        types: its node types.
        client: Kubernetes.
        now: seconds since 1970.

    Raises:
        OptionError: a type's options describe no pod.
    """

    def __init__(
        self,
        cluster: ClusterFacts,
        types: Sequence[NodeType],
        client: Client,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._cluster, self._client, self._now = cluster, client, now
        self._options: Mapping[str, object] = cluster.options or {}
        self._head: Job | None = None
        for kind in types:
            self._manifest(kind, f"{kind.name}-1", _NOBODY)  # raises what is wrong with it, now

    # -- Provider --------------------------------------------------------------------------------
    def ask(self, node_type: NodeType, names: Sequence[str]) -> None:
        """A Job each, then its token, for which its pod waits."""
        with in_our_words():
            for name in names:
                self._ask(node_type, name)

    def cancel(self, names: Sequence[str]) -> None:
        """Those whose pod does not run; one that begins just now has another version, and stays."""
        with in_our_words():
            for name in names:
                job, pod = self._find(name)
                if job is None or seen_in(job, pod).state is MachineState.RUNNING:
                    continue
                self._delete(job, unchanged=job.metadata.resource_version)

    def release(self, names: Sequence[str]) -> None:
        """Their Jobs, with all that these own."""
        with in_our_words():
            for name in names:
                self._client.delete(JOB, self._job_name(name))

    def list(self) -> Sequence[Machine]:
        """Two requests, and a third where a Job has no pod."""
        with in_our_words():
            jobs = self._client.list(JOB, self._labels())
            pods = {_owner(each): each for each in self._client.list(POD, self._labels())}
            alone = any(not x.is_over and x.metadata.uid not in pods for x in jobs)
            events = self._client.list(EVENT, fields="involvedObject.kind=Job") if alone else []
        return [_machine(job, pods.get(job.metadata.uid), events) for job in jobs]

    def explain(self, name: str) -> str:
        """What the Job and the pod say, and the last event about the pod."""
        with in_our_words():
            job, pod = self._find(name)
            if job is None:
                return f"Kubernetes has no Job for {name} (any more)"
            about = pod.metadata if pod is not None else job.metadata
            events = self._client.list(EVENT, fields=f"involvedObject.uid={about.uid}")
        seen = seen_in(job, pod, events)
        where = f"pod {pod.metadata.name}" if pod is not None else f"Job {job.metadata.name}"
        said = max(events, key=lambda each: each.moment, default=None)
        text = seen.reason or (f"{said.reason}: {said.message}" if said is not None else "")
        return f"{where} is {seen.state.value}" + (f": {text}" if text else "")

    def addresses(self, name: str) -> Collection[str] | None:
        """The addresses of a machine's pod; None: it has none yet, or cannot be asked."""
        try:
            _, pod = self._find(name)
        except KubernetesError:
            return None
        if pod is None or not pod.status.pod_ip:
            return None
        return {pod.status.pod_ip, *(each.ip for each in pod.status.pod_ips)}

    # -- one machine -----------------------------------------------------------------------------
    def _ask(self, kind: NodeType, name: str) -> None:
        try:
            job = self._client.create(JOB, self._manifest(kind, name, self._head_job()))
        except ApiError as error:
            if not error.exists:
                raise
            job = self._client.get(JOB, self._job_name(name))
        if job.is_over:
            return
        assert self._cluster.join_token is not None
        data = {manifests.TOKEN: self._cluster.join_token(name).decode()}
        labels = job.metadata.labels
        try:
            self._client.create(SECRET, manifests.secret_of(job.metadata.name, labels, job, data))
        except ApiError as error:
            # An earlier ask, whose answer was lost: its token is good.
            if not error.exists:
                raise

    def _manifest(self, kind: NodeType, name: str, head: Job) -> Object:
        job = names.machine_job(self._cluster.name, head.metadata.uid, name)
        user = str(self._options.get(OWNER, ""))
        machine = manifests.Machine(
            job=job,
            labels=manifests.labels_of(self._cluster.name, user, "worker", head.metadata.uid),
            annotations={names.MACHINE: name, names.TYPE: kind.name},
            script=manifests.script_of(kind.setup, self._words(kind, name)),
            secret=job,
            owner=head,
            longest_s=longest(self._options),
            ends_at=self._ends_at(),
        )
        return manifests.job_of(machine, kind.options, f"node type {kind.name}")

    def _ends_at(self) -> float:
        """A Job's time counts from its start, which is not before now; the head may end sooner."""
        own = self._now() + longest(self._options)
        return own if self._cluster.ends_at is None else min(own, self._cluster.ends_at)

    def _words(self, kind: NodeType, name: str) -> Sequence[str]:
        amounts = {key: amount / UNIT for key, amount in kind.resources.items()}
        labels = {MACHINE_LABEL: name, TYPE_LABEL: kind.name, **kind.labels}
        told = node_words(amounts, labels)
        return [
            *("rayhpc", "start", f"--address={self._cluster.address}", "--block"),
            f"--join-token={manifests.FOLDER}/{manifests.TOKEN}",
            *("--node-ip-address", '"$RAYHPC_POD_IP"'),
            *(f"{option}={value}" for option, value in told.items()),
        ]

    def _find(self, name: str) -> tuple[Job | None, Pod | None]:
        try:
            job = self._client.get(JOB, self._job_name(name))
        except ApiError as error:
            if not error.is_missing:
                raise
            return None, None
        pods = self._client.list(POD, {"job-name": job.metadata.name})
        return job, next((x for x in pods if _owner(x) == job.metadata.uid), None)

    def _delete(self, job: Job, unchanged: str) -> None:
        try:
            self._client.delete(JOB, job.metadata.name, unchanged=unchanged)
        except ApiError as error:
            if not error.is_conflict:
                raise

    def _job_name(self, name: str) -> str:
        return names.machine_job(self._cluster.name, self._head_job().metadata.uid, name)

    def _labels(self) -> dict[str, str]:
        """Of the machines of this head."""
        uid = self._head_job().metadata.uid
        return manifests.labels_of(self._cluster.name, "", "worker", uid)

    def _head_job(self) -> Job:
        if self._head is None:
            self._head = self._client.get(JOB, str(self._options[HEAD_JOB]))
        return self._head


class KubernetesKind(ProviderKind):
    """The provider `kubernetes`."""

    name = "kubernetes"
    title = "Kubernetes"
    # Two requests for all machines; a pod takes a second or two.
    look_seconds = 1.0
    trades_tokens = True

    def open(self, cluster: ClusterFacts, types: Sequence[NodeType]) -> Provider:
        """For one cluster, by the access that this process has."""
        options = cluster.options or {}
        if HEAD_JOB not in options:
            raise OptionError("clusters on Kubernetes are made by `rayhpc up`")
        try:
            namespace = str(options["namespace"]) if options.get("namespace") else None
            client = Client(find_access(os.environ), namespace)
        except KubernetesError as error:
            raise ProviderError(str(error)) from error
        return KubernetesProvider(cluster, types, client)


def _machine(job: Job, pod: Pod | None, events: Sequence[Event]) -> Machine:
    about = [each for each in events if each.involved_object.uid == job.metadata.uid]
    seen = seen_in(job, pod, about)
    said = job.metadata.annotations
    return Machine(
        name=said.get(names.MACHINE, job.metadata.name),
        node_type=said.get(names.TYPE, ""),
        state=seen.state,
        address=seen.address,
        reason=seen.reason,
        permanent=seen.permanent,
    )


def _owner(pod: Pod) -> str:
    owners = pod.metadata.owner_references
    return owners[0].uid if owners else ""


def longest(options: Mapping[str, object]) -> int:
    """How long a machine lives at most, in seconds.  Raises OptionError."""
    told = options.get("active_deadline_seconds", manifests.LONGEST_S)
    if not isinstance(told, int) or told < 1:
        raise OptionError("provider: active_deadline_seconds is a number of seconds from 1")
    return told


_NOBODY = Job(metadata=Meta(name="head", uid="00000"))
PROVIDER = KubernetesKind()
