"""One scenario, from the network to the verdict, in a process of its own.

    python -m tests.partitions.scenario NAME

Prints an `Outcome` as JSON.  Started by `run`.  Host 1 has the head.  The driver is on host 1 of
two and on host 2 of three, and what can be elsewhere is on the last host.  A node that has ended by
the time the network is whole again is replaced by another one on its host.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import rayhpc as ray
from rayhpc.launch.cluster import LocalCluster, LocalNode
from rayhpc.launch.options import NodeOptions
from rayhpc.machine import scratch
from tests.partitions.network import Network
from tests.partitions.work import Work

# Before anything happens.
QUIET_S = 0.5
# A network that is whole again, and still not everything goes on.
RESUMES_WITHIN_S = 60.0
Change = Callable[[Network], object]


@dataclass(frozen=True)
class Scenario:
    """What happens to the network.

    Attributes:
        hosts: how many there are.
        begin: begins the trouble.
        lasts_s: how long it lasts, in seconds.
        end: ends it.
        loses_node: a node may be given up, so that errors with a reason are answers, too.
        kills: the host whose node is killed when it begins; 0: none.
    """

    hosts: int
    begin: Change
    lasts_s: float
    loses_node: bool
    end: Change = Network.mend
    kills: int = 0


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        right: answers.
        errors: answers that are a reason instead.
        wrong: answers that are not the known ones, and answers that never came.
        double: what ran twice.
        resume_s: how long after the trouble everything had a new right answer; -1: never.
        longest_s: the longest that one round of anything took.
        nodes_lost: nodes that were given up.
    """

    right: int
    errors: list[str]
    wrong: list[str]
    double: list[str]
    resume_s: float
    longest_s: float
    nodes_lost: int

    @property
    def is_good(self) -> bool:
        """Whether nobody was told anything untrue."""
        return not self.wrong and not self.double and self.resume_s >= 0


def run(scenario: Scenario) -> Outcome:
    """Run it."""
    network = Network(scenario.hosts)
    try:
        with tempfile.TemporaryDirectory(prefix="partition-", ignore_cleanup_errors=True) as folder:
            # As `conftest` does: a `rayhpc stop` elsewhere on this machine is not meant for these.
            os.environ[scratch.VARIABLE] = folder
            return _on(network, scenario, Path(folder))
    finally:
        network.close()


def _on(network: Network, scenario: Scenario, folder: Path) -> Outcome:
    hosts = _Hosts(network)
    network.head_port = int(hosts.cluster.address.rpartition(":")[2])
    try:
        network.move_to(driver_host(scenario.hosts))
        ray.init(
            hosts.nodes[driver_host(scenario.hosts)].session_dir,
            log_to_driver=False,
            logging_level="ERROR",
        )
        work = Work(folder, lambda: hosts.nodes[scenario.hosts].node_id)
        work.start()
        return _trouble(network, scenario, hosts, work)
    finally:
        ray.shutdown()
        hosts.cluster.shutdown()


def _trouble(network: Network, scenario: Scenario, hosts: _Hosts, work: Work) -> Outcome:
    begin = time.monotonic()
    resumed = work.all_right_since(begin, RESUMES_WITHIN_S)
    threading.Event().wait(QUIET_S)  # nothing to wait for: this is how long it takes
    scenario.begin(network)
    if scenario.kills:
        hosts.nodes[scenario.kills].process.kill()
    threading.Event().wait(scenario.lasts_s)  # nor here
    scenario.end(network)
    mended = time.monotonic()
    resumed = work.all_right_since(mended, RESUMES_WITHIN_S)
    hosts.replace_ended()
    hanging = work.stop()
    tallies = work.tallies.values()
    unanswered = [f"{name}: no answer" for name in hanging]
    wrong = [x for tally in tallies for x in tally.wrong] + unanswered
    errors = [x for tally in tallies for x in tally.errors]
    if errors and not scenario.loses_node:
        wrong += errors
    return Outcome(
        right=sum(tally.right for tally in tallies),
        errors=errors,
        wrong=wrong,
        double=work.doubles(),
        resume_s=-1.0 if resumed is None else resumed,
        longest_s=max(tally.longest_s for tally in tallies),
        nodes_lost=hosts.lost,
    )


class _Hosts:
    """A cluster with a node on each host."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.cluster = LocalCluster()
        self.lost = 0
        self.nodes: dict[int, LocalNode] = {}
        try:
            for host in network.hosts:
                self._start(host)
        except BaseException:
            self.cluster.shutdown()
            raise

    def replace_ended(self) -> None:
        """Start another node where one has ended."""
        for host, node in list(self.nodes.items()):
            if node.process.poll() is not None:
                self.lost += 1
                self.cluster.remove_node(node)
                self._start(host)

    def _start(self, host: int) -> None:
        options = NodeOptions(
            num_cpus=2, object_store_memory=160 << 20, node_ip=self._network.address(host)
        )
        with self._network.on(host):
            self.nodes[host] = self.cluster.add_node(options)


def driver_host(hosts: int) -> int:
    """Where the driver is."""
    return 1 if hosts == 2 else 2


def main() -> None:
    """Run the scenario named on the command line."""
    from tests.partitions.scenarios import ALL

    print(json.dumps(dataclasses.asdict(run(ALL[sys.argv[1]]))))


if __name__ == "__main__":
    main()
