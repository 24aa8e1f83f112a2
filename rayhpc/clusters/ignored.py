"""What a cluster's YAML may say that has no effect here, and why.

Called by `read`.  Only what the file really has is mentioned, and only where leaving it out would
surprise: a list that is empty, or a switch that is off, is not.
"""

from __future__ import annotations

from rayhpc.clusters.schema import ClusterConfig
from rayhpc.clusters.yaml_lines import Document

# Lists of machines: nothing there can be asked for more.
FIXED = ("local", "ssh")
# Places that make machines, which are then set up as those of a list are.
RENTED = ("aws", "gcp", "azure")

_STARTED = "pods start their nodes themselves"
# What a pod's own specification says, or nobody does there.
_OF_PODS = {
    "file_mounts": "nothing is copied to pods: put it into the image, or mount a volume",
    "cluster_synced_files": "nothing is copied to pods",
    "head_start_ray_commands": _STARTED,
    "worker_start_ray_commands": _STARTED,
}
# Of `provider`, where it makes machines: what Ray has a switch for that nothing here turns.
_OF_PLACES = {
    "cache_stopped_nodes": "machines are ended, not kept for later",
    "unique_id": "names are made of the cluster's own",
    "subnet_mask": "a network of your own is named as subnet in azure_arm_parameters",
}


def without_effect(config: ClusterConfig, document: Document) -> tuple[str, ...]:
    """One sentence for each, in the order of the file."""
    found: list[tuple[int, str]] = []

    def note(key: str, why: str, *within: str) -> None:
        line = document.line((*within, key))
        found.append((line, f"{key} (line {line}) has no effect: {why}"))

    images = (config.docker.image, config.docker.head_image, config.docker.worker_image)
    if config.provider_type in (*FIXED, *RENTED) and any(images):
        note("docker", "commands run on the machines themselves, not in a container")
    if config.provider_type in RENTED:
        for key, why in _OF_PLACES.items():
            if config.provider.get(key):
                note(key, why, "provider")
    if config.provider_type in FIXED:
        for key in ("upscaling_speed", "idle_timeout_minutes"):
            if (key,) in document.lines:
                note(key, "the machines of the list are started once and stay")
    if config.provider_type == "kubernetes":
        for key, why in _OF_PODS.items():
            if getattr(config, key):
                note(key, why)
    if config.file_mounts_sync_continuously:
        note("file_mounts_sync_continuously", "`rayhpc up` copies what has changed")
    return tuple(sentence for _, sentence in sorted(found))
