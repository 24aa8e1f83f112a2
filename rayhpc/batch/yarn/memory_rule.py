"""How NodeManagers count a container's memory, as far as the cluster's configuration says.

Used by `jobs`; containers are told with `RAYHPC_COUNTS_SHARED`.
"""

from __future__ import annotations

from rayhpc.hadoop.configuration import Configuration

_CHECK = "yarn.nodemanager.pmem-check-enabled"
_TREE = "yarn.nodemanager.container-monitor.process-tree.class"
_SMAPS = "yarn.nodemanager.container-monitor.procfs-tree.smaps-based-rss.enabled"
_PROCFS = "ProcfsBasedProcessTree"


def counts_shared(configuration: Configuration) -> bool:
    """Whether memory shared by several processes counts once for each of them.

    This is the default.  The switch for the other way of counting works only if the class that
    reads it is configured, too.
    """
    if configuration.get(_CHECK, "true").strip() != "true":
        return False
    names_class = configuration.get(_TREE, "").strip().endswith(_PROCFS)
    return not (names_class and configuration.get(_SMAPS, "false").strip() == "true")
