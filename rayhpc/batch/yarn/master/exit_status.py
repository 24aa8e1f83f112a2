"""The meaning of YARN's container exit statuses, and whose fault each one is.

Used by `gang` and by whatever explains a job.  0 to 255 are the container's own.
"""

from __future__ import annotations

from rayhpc.exit_codes import in_words

ABORTED = -100
_LAUNCH_LOST = -1
_WORDS = {
    -1000: "it never ran",
    _LAUNCH_LOST: "its NodeManager restarted before it was started",
    ABORTED: "its node was lost, or it was released",
    -101: "its node's disks failed",
    -102: "preempted: the scheduler gave its capacity to another queue or user",
    -103: "killed by the NodeManager: more virtual memory than it was given",
    -104: "killed by the NodeManager: more memory than it was given",
    -105: "stopped by its ApplicationMaster",
    -106: "killed by the ResourceManager",
    -107: "killed after the end of its application",
    -108: "killed by the scheduler",
    -109: "killed by the NodeManager: logs too large",
}
# Caused by the cluster, not by the container: these cost no restart.
_CLUSTERS_FAULT = frozenset({_LAUNCH_LOST, ABORTED, -101, -102, -106, -108})
MEMORY = frozenset({-103, -104})


def describe(status: int) -> str:
    """An exit status in words."""
    return _WORDS.get(status) or in_words(status)


def is_clusters_fault(status: int) -> bool:
    """Whether a container with this status ended through no fault of its own."""
    return status in _CLUSTERS_FAULT
