"""The tasks and calls that a cluster has run: what raylets keep and workers have not reported yet.

Used by `timeline` and the state listings.  Processes that do not answer soon (user code may hold
the GIL) are left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from rayhpc.runtime.process.client import Client
from rayhpc.runtime.process.questions import Asked
from rayhpc.wire import runs
from rayhpc.wire.address import Address, raylet_of
from rayhpc.wire.messages import cluster, listings, task_runs

WORKER_ANSWERS_S = 2.0


class History(NamedTuple):
    """Each run once, in no order; how many older ones were forgotten, and on how many dead nodes
    others may have run.
    """

    runs: list[task_runs.TaskEvent]
    dropped: int
    gone: int

    def said(self, client: Client) -> History:
        """Warn, once, about what is missing."""
        if self.dropped:
            client.warn_once(
                f"{self.dropped:,} older tasks are not listed: each node remembers its most recent "
                "ones; set RAYHPC_TASK_RUNS to a larger number (40 bytes each) before the cluster "
                "starts."
            )
        if self.gone:
            client.warn_once(f"Tasks that ran on lost nodes ({self.gone}) are not listed.")
        return self


def read(client: Client, limit: int = 0, timeout: float = 30.0) -> History:
    """Ask everyone; for each node at least its last `limit` runs (0: all)."""
    nodes: list[listings.NodeState] = client.ask_head(
        cluster.Nodes(), list[listings.NodeState], timeout
    )
    raylets = [raylet_of(x.info.number) for x in nodes if x.alive]
    rows = client.questions.ask_all([(x, cluster.Workers()) for x in raylets], timeout)
    workers = [
        row.address
        for reply in rows.values()
        for row in msgspec.msgpack.decode(reply, type=list[listings.WorkerRow])
        # A process that is still starting must not be contacted.
        if row.kind == "worker" and row.state != "starting"
    ]
    # Workers first: a run reported in between is then counted twice and deduplicated, never missed.
    pages = _pages(client, workers, task_runs.TaskRuns(), min(WORKER_ANSWERS_S, timeout))
    pages += _pages(client, raylets, task_runs.TaskRuns(limit), timeout)
    once = {(x.tid, x.attempt, x.started): x for x in runs.unpack(pages)}
    # With as many rows as requested, nothing is missing.
    is_enough = limit and len(once) >= limit
    dropped = 0 if is_enough else sum(x.dropped for x in pages if x.following < 0)
    return History(list(once.values()), dropped, len(nodes) - len(raylets))


def _pages(
    client: Client, addresses: Iterable[Address], question: task_runs.TaskRuns, timeout: float
) -> list[task_runs.RunPage]:
    """All pages that these have; the first ones are requested all at once."""
    found: list[task_runs.RunPage] = []
    asked: Asked = [(x, question) for x in addresses]
    while asked:
        answers = client.questions.ask_all(asked, timeout)
        asked = []
        for address, data in answers.items():
            for page in msgspec.msgpack.decode(data, type=list[task_runs.RunPage]):
                found.append(page)
                if page.following >= 0:
                    asked.append((address, task_runs.TaskRuns(after=page.following)))
    return found
