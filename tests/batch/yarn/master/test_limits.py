"""What is said of a container that YARN does not give."""

from __future__ import annotations

from rayhpc.batch.yarn.master.limits import why_pending
from rayhpc.hadoop.resources import Size

ONE = Size(2048, 4, 1)


def test_the_limit_of_the_queue_is_named() -> None:
    assert why_pending(ONE, "short", Size(1024, 1), 9, 2) == (
        "YARN's limits for queue short and its user leave no room for 2048 MiB, 4 vcores and 1 GPUs"
    )


def test_a_small_cluster_is_named() -> None:
    said = why_pending(ONE, "short", Size(8192, 1), 3, 3)
    assert said.startswith("the cluster has 3 nodes, and this application has a container on each")


def test_otherwise_it_has_not_come_yet() -> None:
    said = why_pending(Size(512), "short", None, 0, 1)
    assert said == "YARN has given queue short no container of 512 MiB and 1 vcores yet"
