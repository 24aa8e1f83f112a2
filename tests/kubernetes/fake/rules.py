"""What the fake refuses, as the real API server does: names, labels, unknown and missing fields."""

from __future__ import annotations

import re
from typing import Any

Object = dict[str, Any]
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
_META = "name namespace labels annotations ownerReferences finalizers generateName"
_JOB = (
    "parallelism completions activeDeadlineSeconds backoffLimit template suspend selector "
    "ttlSecondsAfterFinished completionMode podFailurePolicy successPolicy podReplacementPolicy"
)
_POD = (
    "volumes initContainers containers restartPolicy terminationGracePeriodSeconds nodeSelector "
    "activeDeadlineSeconds serviceAccountName automountServiceAccountToken tolerations affinity "
    "imagePullSecrets hostname subdomain priorityClassName securityContext enableServiceLinks "
    "runtimeClassName schedulerName dnsPolicy topologySpreadConstraints nodeName hostNetwork"
)
_CONTAINER = (
    "name image command args env envFrom resources volumeMounts workingDir ports imagePullPolicy "
    "securityContext readinessProbe livenessProbe startupProbe lifecycle terminationMessagePath "
    "terminationMessagePolicy"
)
_VOLUME = "name secret emptyDir configMap hostPath persistentVolumeClaim projected downwardAPI"


class Invalid(Exception):
    """HTTP status and reason, with the sentence."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason = status, reason


def check(plural: str, manifest: Object) -> None:
    """Refuse what the real server would.  Raises Invalid."""
    meta = manifest.get("metadata") or {}
    name = meta.get("name", "")
    if not _NAME.fullmatch(name) or len(name) > (63 if plural == "jobs" else 253):
        raise _invalid(plural, name, f"metadata.name: Invalid value: {name!r}: a DNS-1123 name")
    _known("metadata", meta, _META)
    for key, value in (meta.get("labels") or {}).items():
        if not isinstance(value, str) or not _LABEL.fullmatch(value) or len(value) > 63:
            raise _invalid(plural, name, f"metadata.labels: Invalid value: {key}={value!r}")
    for owner in meta.get("ownerReferences") or ():
        if not all(owner.get(key) for key in ("apiVersion", "kind", "name", "uid")):
            raise _invalid(plural, name, "metadata.ownerReferences: Required value")
    if plural == "jobs":
        _check_job(name, manifest)
    if plural == "secrets":
        _known("secret", manifest, "apiVersion kind metadata data stringData type immutable")


def _check_job(name: str, manifest: Object) -> None:
    _known("job", manifest, "apiVersion kind metadata spec")
    spec = manifest["spec"]
    _known("spec", spec, _JOB)
    template = spec.get("template") or {}
    _known("spec.template", template, "metadata spec")
    pod = template.get("spec") or {}
    _known("spec.template.spec", pod, _POD)
    if pod.get("restartPolicy") not in ("Never", "OnFailure"):
        raise _invalid("jobs", name, 'spec.template.spec.restartPolicy: Required value: "Never"')
    if not pod.get("containers"):
        raise _invalid("jobs", name, "spec.template.spec.containers: Required value")
    volumes = {each["name"] for each in pod.get("volumes") or ()}
    for each in pod.get("volumes") or ():
        _known("spec.template.spec.volumes", each, _VOLUME)
    for each in (*pod["containers"], *(pod.get("initContainers") or ())):
        _known("spec.template.spec.containers", each, _CONTAINER)
        if not each.get("image"):
            raise _invalid("jobs", name, "spec.template.spec.containers[0].image: Required value")
        for mount in each.get("volumeMounts") or ():
            if mount["name"] not in volumes:
                raise _invalid("jobs", name, f"volumeMounts: Not found: {mount['name']!r}")
        for variable in each.get("env") or ():
            if not isinstance(variable.get("value", ""), str):
                raise Invalid(400, "BadRequest", "cannot unmarshal env value into a string")


def _known(where: str, value: Object, fields: str) -> None:
    for key in value:
        if key not in fields.split():
            message = f'strict decoding error: unknown field "{where}.{key}"'
            raise Invalid(400, "BadRequest", message)


def _invalid(plural: str, name: str, message: str) -> Invalid:
    kind = {"jobs": "Job.batch", "secrets": "Secret"}.get(plural, plural)
    return Invalid(422, "Invalid", f'{kind} "{name}" is invalid: {message}')
