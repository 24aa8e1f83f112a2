"""What a Job and its pod say about a machine, in Kubernetes' own words: a pure function.

Used by `provider` and by `rayhpc status`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rayhpc.elastic.types import MachineState
from rayhpc.kubernetes.objects import ContainerStatus, Event, Job, Pod

# A container that waits for one of these waits for ever.
_NEVER = ("InvalidImageName", "ErrImageNeverPull")
_IMAGE = ("ImagePullBackOff", "ErrImagePull", "RegistryUnavailable", *_NEVER)
_NO_SUCH_IMAGE = re.compile(r"not found|does not exist|manifest unknown", re.IGNORECASE)
# While a pod begins.
_USUAL = ("ContainerCreating", "PodInitializing", "")
_SETUP_FAILED, _NO_RAYHPC, _NO_HEAD, _REFUSED = 78, 127, (71, 76), 77
_CODES = {
    _SETUP_FAILED: "a set-up command failed",
    _NO_RAYHPC: "rayhpc is not in its image: add `pip install rayhpc` to setup_commands",
    _REFUSED: "it was not let in: see its log",
    **dict.fromkeys(_NO_HEAD, "it found no head"),
}


@dataclass(frozen=True)
class Seen:
    """A machine as Kubernetes has it."""

    state: MachineState
    address: str | None = None
    reason: str | None = None
    permanent: bool = False


def seen_in(job: Job, pod: Pod | None, events: Sequence[Event] = ()) -> Seen:
    """The state of the machine that this Job is.

    Args:
        job: its Job.
        pod: the Job's pod, if there is one.
        events: what was said about the Job itself.
    """
    if job.is_over or (pod is not None and pod.status.phase in ("Succeeded", "Failed")):
        return Seen(MachineState.ENDED, reason=_end(job, pod))
    if pod is None:
        return Seen(MachineState.PENDING, reason=_without_pod(events))
    address = pod.status.pod_ip or None
    if pod.status.phase == "Running":
        reason = "its pod is being deleted" if pod.metadata.deletion_timestamp else None
        return Seen(MachineState.RUNNING, address, reason)
    return _pending(pod, address)


def _pending(pod: Pod, address: str | None) -> Seen:
    for container in _containers(pod):
        waiting = container.state.waiting
        if waiting is None or waiting.reason in _USUAL:
            continue
        text = f"{waiting.reason}: {waiting.message}" if waiting.message else waiting.reason
        if waiting.reason not in _IMAGE:
            return Seen(MachineState.PENDING, address, text)
        # Once it has been tried again, it is no hiccup.
        gone = waiting.reason == "ImagePullBackOff" and _NO_SUCH_IMAGE.search(waiting.message)
        lost = waiting.reason in _NEVER or bool(gone)
        return Seen(MachineState.PENDING, address, f"image {container.image}: {text}", lost)
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            return Seen(MachineState.PENDING, address, f"{condition.reason}: {condition.message}")
    return Seen(MachineState.PENDING, address)


def _without_pod(events: Sequence[Event]) -> str | None:
    failed = [each for each in events if each.reason == "FailedCreate"]
    last = max(failed, key=lambda each: each.moment, default=None)
    return None if last is None else f"{last.reason}: {last.message}"


def _end(job: Job, pod: Pod | None) -> str:
    failed = job.condition("Failed")
    if failed is not None and failed.reason == "DeadlineExceeded":
        return "its time was over (activeDeadlineSeconds)"
    if pod is None:
        return "its pod was deleted" if failed is not None else "it has ended"
    if pod.status.reason:
        return ": ".join(filter(None, (pod.status.reason, pod.status.message)))
    for container in _containers(pod):
        ended = container.state.terminated
        if ended is None or (ended.exit_code == 0 and not ended.signal):
            continue
        if ended.reason == "OOMKilled":
            return f"OOMKilled: container {container.name} used more memory than its limit"
        meaning = _CODES.get(ended.exit_code)
        code = f"exit code {ended.exit_code}"
        return f"{meaning} ({code})" if meaning else f"container {container.name}: {code}"
    for condition in pod.status.conditions:
        if condition.type == "DisruptionTarget" and condition.status == "True":
            return f"{condition.reason}: {condition.message}"
    return "its pod was deleted" if pod.metadata.deletion_timestamp else "it has ended"


def _containers(pod: Pod) -> list[ContainerStatus]:
    return [*pod.status.init_container_statuses, *pod.status.container_statuses]
