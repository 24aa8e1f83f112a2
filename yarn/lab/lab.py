"""A lab's life: up, down, kill, start, status.

Used by the command line beside it and by tests.  What has been started is kept in `state.json` in
the lab's folder, so that any later process can end it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import shutil
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from yarn.lab import configuration, daemons, jars, kerberos, network
from yarn.lab.errors import LabError
from yarn.lab.layout import Layout, Options
from yarn.lab.network import LOOPBACK, NET, Network
from yarn.lab.processes import Process, end, of_containers, resident_mib, wait_until
from yarn.lab.questions import Questions

_READY_S = 120.0
_STATE = "state.json"


class Lab:
    """One cluster, in one folder.

    Args:
        run: the lab's folder.
        options: what it is made of.
        hosts: where its daemons are.
        processes: what has been started.
    """

    def __init__(
        self, run: Path, options: Options, hosts: Network, processes: dict[str, Process]
    ) -> None:
        self.layout = Layout(options, run)
        self._network = hosts
        self._processes = processes
        self._questions = Questions(self.layout, hosts)

    @classmethod
    def up(cls, run: Path, options: Options, ready_s: float = _READY_S) -> Lab:
        """Start a cluster and wait until all its nodes are running.

        Raises:
            LabError: one is up already in that folder, something is missing, or a daemon ended.
        """
        if (run / _STATE).exists():
            before = cls.load(run)
            running = before.running()
            if running:
                raise LabError(f"already up ({', '.join(running)}): take it down first")
            end([before._network.keeper], 1.0)
            shutil.rmtree(run)
        if options.kerberos and options.ha:
            raise LabError("Kerberos does not go with high availability here")
        jars.fetch(options.hadoop)
        for name in ("logs", "tmp", "rmstore"):
            (run / name).mkdir(parents=True)
        layout = Layout(options, run)
        hosts = LOOPBACK
        if options.net == NET:
            names = ["client", *layout.daemons]
            addresses = {name: layout.address(name) for name in names}
            hosts = Network.start(addresses, layout.log("network"))
        lab = cls(run, options, hosts, {})
        try:
            lab._save()
            lab._start_all(ready_s)
        except BaseException:
            lab.down()
            raise
        return lab

    @classmethod
    def load(cls, run: Path) -> Lab:
        """The lab in a folder.  Raises LabError if there is none."""
        try:
            state = json.loads((run / _STATE).read_text())
        except FileNotFoundError:
            raise LabError(f"no lab in {run}: start one with `up`") from None
        processes = {name: Process(*each) for name, each in state["processes"].items()}
        keeper, descriptors = state["network"]
        hosts = Network(Process(*keeper), descriptors)
        return cls(run, Options(**state["options"]), hosts, processes)

    def running(self) -> list[str]:
        """The daemons that run."""
        return [name for name, process in self._processes.items() if process.alive]

    def down(self) -> list[str]:
        """End everything; the command lines of processes that containers had left behind."""
        layout = self.layout
        # A NodeManager stops its containers while it ends, and then waits for logs to expire: not
        # with us.  A ResourceManager writes to ZooKeeper.
        for group, patience_s in (
            (layout.node_managers, 3.0),
            (layout.resource_managers, 10.0),
            (layout.daemons, 10.0),
        ):
            end([self._processes[name] for name in group if name in self._processes], patience_s)
        left = of_containers(layout.run)
        end([process for process, _ in left], 1.0)
        end([self._network.keeper], 1.0)
        self._processes = {}
        self._save()
        return [command for _, command in left]

    def status(self) -> tuple[list[str], bool]:
        """A line per daemon, and whether all of them are well."""
        states, lines, complete = self._questions.nodes(), [], True
        running = self.running()
        for name in self.layout.daemons:
            is_up, state = name in running, states.get(name, "")
            if is_up and name in self.layout.resource_managers:
                state = self._questions.ha_state(name) or ""
            is_node = name in self.layout.node_managers
            complete &= is_up and (not is_node or state == "RUNNING")
            process = self._processes.get(name)
            detail = "not running"
            if is_up and process is not None:
                detail = f"pid {process.pid}, {resident_mib(process)} MiB"
            lines.append(f"{name:6} {self.layout.address(name):15} {detail:24} {state}".rstrip())
        return lines, complete

    def active_manager(self) -> str:
        """The ResourceManager that is active.  Raises LabError if none is."""
        for name in self.layout.resource_managers:
            if self._questions.ha_state(name) == "ACTIVE":
                return name
        raise LabError("no ResourceManager is active")

    def kill(self, name: str, *, node: bool = False) -> None:
        """SIGKILL a daemon; with `node` its containers, too, as if the power had gone."""
        process = self._known(name)
        process.send(signal.SIGKILL)
        if node:
            for each, _ in of_containers(self.layout.run, self.layout.address(name)):
                each.send(signal.SIGKILL)
        wait_until(lambda: not process.alive, 5.0)

    def stop(self, name: str) -> None:
        """End a daemon in good order."""
        end([self._known(name)], 15.0)

    def start(self, name: str) -> None:
        """Start a daemon again, and wait until the cluster has it back.  Raises LabError."""
        if name not in self.layout.daemons:
            raise LabError(f"no {name} in this lab: {', '.join(self.layout.daemons)}")
        if name in self.running():
            raise LabError(f"{name} runs")
        since = time.time()
        self._start(name)
        if name in self.layout.node_managers:
            # The ResourceManager may not have missed it yet: wait for news of it.
            self._await([name], _READY_S, since)
        else:
            nodes = [each for each in self.layout.node_managers if each in self.running()]
            self._await([name, *nodes], _READY_S)

    def on_clients_host(self) -> contextlib.AbstractContextManager[None]:
        """What this thread does meanwhile is done where clients are, with what it starts."""
        return self._network.on("client")

    def client_command(self, words: Sequence[str]) -> list[str]:
        """The command that runs `words` where clients are."""
        return self.host_command("client", words)

    def host_command(self, name: str, words: Sequence[str]) -> list[str]:
        """The command that runs `words` on a daemon's host."""
        return self._network.command(name, words)

    def client_environment(self) -> dict[str, str]:
        """The variables of a client of this cluster, on the clients' host."""
        secure = kerberos.environment(self.layout) if self.layout.options.kerberos else {}
        return {"HADOOP_CONF_DIR": str(self.layout.configuration("client")), **secure}

    def _start_all(self, ready_s: float) -> None:
        layout = self.layout
        configuration.write(layout)
        if layout.options.kerberos:
            self._start_kerberos()
        if layout.options.hdfs:
            with self.on_clients_host():
                daemons.format_name_node(layout)
        for name in layout.daemons:
            if name not in self._processes:
                self._start(name)
        self._await(layout.daemons, ready_s)

    def _start_kerberos(self) -> None:
        """A NameNode logs in to be formatted: all else comes later."""
        layout = self.layout
        kerberos.make_realm(layout)
        self._start("kdc")
        with self.on_clients_host():
            if not wait_until(lambda: _answers(layout.address("kdc"), kerberos.PORT), 10.0):
                raise LabError(f"the KDC does not answer:\n{layout.log_tail('kdc')}")
            kerberos.log_in(layout)

    def _start(self, name: str) -> None:
        self._processes[name] = daemons.start(self.layout, self._network, name)
        self._save()

    def _await(self, names: Sequence[str], limit_s: float, since: float = 0.0) -> None:
        """Wait until these do their work, NodeManagers according to the ResourceManager."""
        if not wait_until(lambda: self._is_ready(names, since), limit_s, 0.25):
            states = self._questions.nodes()
            raise LabError(f"not ready after {limit_s:g} s: {states}; see {self.layout.run}/logs")

    def _is_ready(self, names: Sequence[str], since: float) -> bool:
        for name in names:
            if not self._processes[name].alive:
                raise LabError(f"{name} ended; its log ends:\n{self.layout.log_tail(name)}")
        managers = [name for name in names if name in self.layout.resource_managers]
        if not all(self._questions.ha_state(name) for name in managers):
            return False
        if "dn" in names and not self._questions.is_hdfs_writable():
            return False
        states = self._questions.nodes(since)
        nodes = [name for name in names if name in self.layout.node_managers]
        return all(states.get(name) == "RUNNING" for name in nodes)

    def _known(self, name: str) -> Process:
        if name not in self.running():
            raise LabError(f"{name} does not run")
        return self._processes[name]

    def _save(self) -> None:
        hosts = self._network
        state = {
            "options": self.layout.options.to_json(),
            "network": (hosts.keeper, hosts.descriptors),
            "processes": self._processes,
        }
        partial = self.layout.run / f"{_STATE}.new"
        partial.write_text(json.dumps(state, indent=1) + "\n")
        partial.rename(self.layout.run / _STATE)


def free_net() -> str:
    """The first three numbers of a lab's addresses.

    Those of hosts with namespaces of their own; where there are none, those of loopback addresses
    that nobody listens on, chosen at random.
    """
    if not network.why_not():
        return NET
    while True:
        net = f"127.{random.randrange(1, 250)}.{random.randrange(1, 250)}"
        with socket.socket() as probe:
            try:
                probe.bind((f"{net}.10", 8032))
                return net
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise


def default_folder() -> Path:
    """Where the command line keeps its lab: YARNLAB_RUN, or beside the jars."""
    told = os.environ.get("YARNLAB_RUN")
    return Path(told).absolute() if told else jars.cache() / "run"


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True
