"""Adds a cluster's workers by demand and ends idle ones, until it is ended: `rayhpc up --stay`.

Called by `up`, for clusters whose place makes machines: the planner runs where credentials are.
That is here, or on the head's machine if that has a role (`keeping`).  Demand and supply are the
head's, asked over a line to it; only one planner at a time gets one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from rayhpc.cli.cluster_access import Cluster, complain, identity, tell
from rayhpc.cli.saying import say
from rayhpc.clusters.bring_up import BringUp
from rayhpc.clusters.growing import SettingUp
from rayhpc.clusters.head_line import HeadLine
from rayhpc.clusters.plan import Action, Found, Wanted, make_plan
from rayhpc.clusters.remote import interactive
from rayhpc.clusters.rental import Rental
from rayhpc.elastic.loop import Loop
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.providers.machines import Rented

# A new machine's sshd listens so long after it was started.
PATIENCE_S = 300.0
# The head may be silent, or away, for so long before this gives up.
_SILENT_S, _AGAIN_S = 60.0, 5.0
# Somebody looks after these machines until then; noted so often.
_LEASE_S, _RENEW_S = 3600.0, 300.0


def stay(cluster: Cluster, rental: Rental) -> int:
    """Run until Ctrl-C, or the cluster's end; the exit code is that of the command."""
    most = rental.most
    say(f"up to {most} workers come and go with the work; Ctrl-C leaves the cluster as it is")
    try:
        Staying(cluster, rental).run()
    except KeyboardInterrupt:
        rental.provider.renew(None)
        say(f"cluster {cluster.name} runs on, and keeps its size: `rayhpc down {cluster.name}`")
    return 0


class Staying:
    """The loop, its line to the head, and the setting up of machines.

    Args:
        cluster: which one.
        rental: its machines.
    """

    def __init__(self, cluster: Cluster, rental: Rental) -> None:
        self._cluster = cluster
        self._rental = rental
        self._head = rental.hosts_with_head()[0]
        self._renewed = float("-inf")
        self._heard = time.monotonic()
        self._over = threading.Event()
        self._loop: Loop | None = None
        rental.prepare()  # `up` has done so only where it asked for something
        known = [each.name for each in rental.living()]
        self._provider = SettingUp(rental.provider, self._set_up, _complain, known)

    def run(self) -> None:
        """One line after the other, while the head can be reached.

        Raises:
            LaunchError: the cluster is over, or another planner has its head's ear.
        """
        while not self._over.is_set():
            try:
                with HeadLine(self._words()) as line:
                    self._turns(line)
            except LaunchError as error:
                if error.code == ExitCode.REFUSED and self._loop is None:
                    raise
                # After a cut the head takes our last line for alive for a while, and refuses.
                lost = time.monotonic() - self._heard > _SILENT_S
                if (lost and error.code != ExitCode.REFUSED) or not self._has_head():
                    sentence = f"cluster {self._cluster.name} is over: {error}"
                    raise LaunchError(sentence, error.code) from None
            self._over.wait(_AGAIN_S)  # its head may come back, and says nothing when it does

    def end(self) -> None:
        """No turn begins any more; a turn in progress asks for nothing more."""
        self._over.set()
        if self._loop is not None:
            self._loop.stop()

    def _turns(self, line: HeadLine) -> None:
        kind = self._cluster.rental_kind
        assert kind is not None
        types, most = self._rental.types.workers, self._rental.most
        self._loop = Loop(types, self._provider, line, kind.look_seconds, say, most=most)
        while not self._over.is_set():
            pause = self._loop.turn()
            self._heard = time.monotonic()
            self._renew()
            self._over.wait(pause)

    def _set_up(self, machine: Rented) -> None:
        """As `up` does it, with the head beside it: that has the key and the address."""
        (host,) = self._rental.hosts([machine])
        with self._cluster.launcher([self._head, host], patience_s=PATIENCE_S) as launcher:
            wanted = launcher.wanted([self._head, host])
            found = launcher.ask_all()
            wanted = self._agreed(wanted, found)
            rows = make_plan(wanted, [], found)
            if rows[0].action is not Action.KEEP:
                why = f"{machine.name}: the head is not as its file says: {rows[0].why}"
                raise LaunchError(why)
            outcomes = BringUp(launcher, wanted, tell).run(rows, found)
        for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error

    # -- what is otherwise on the head's own machine ---------------------------------------------
    def _words(self) -> Sequence[str]:
        """The command whose pipes are a line to the head."""
        script = f"{identity(self._cluster, self._head)}\nexec rayhpc _machine grow"
        login = self._cluster.head_login()
        return interactive.command(login, script, terminal=False, forwards=())

    def _has_head(self) -> bool:
        return any(x.identity == self._head.identity for x in self._rental.living())

    def _renew(self) -> None:
        """Note that somebody looks after the machines."""
        if time.monotonic() - self._renewed > _RENEW_S:
            self._renewed = time.monotonic()
            self._rental.provider.renew(time.time() + _LEASE_S)

    def _agreed(self, wanted: list[Wanted], found: dict[str, Found]) -> list[Wanted]:
        """What is wanted of the head and of a machine, given what is there."""
        return wanted


def _complain(error: LaunchError) -> None:
    complain(error, getattr(error, "tail", []))
