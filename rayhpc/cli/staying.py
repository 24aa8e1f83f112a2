"""`rayhpc up --stay`: this process adds workers by demand and ends idle ones, until it is ended.

Called by `up`, for clusters whose place makes machines.  The planner runs here because here are the
credentials; demand and supply are the head's, asked over ssh.
"""

from __future__ import annotations

import threading
import time

from rayhpc.cli.cluster_access import Cluster, complain, identity, tell
from rayhpc.cli.saying import say
from rayhpc.clusters.bring_up import BringUp
from rayhpc.clusters.growing import SettingUp
from rayhpc.clusters.head_line import HeadLine
from rayhpc.clusters.plan import Action, make_plan
from rayhpc.clusters.remote import interactive
from rayhpc.clusters.rental import Rental
from rayhpc.elastic.loop import Loop
from rayhpc.exit_codes import LaunchError
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
        return _Staying(cluster, rental).run()
    except KeyboardInterrupt:
        rental.provider.renew(None)
        say(f"cluster {cluster.name} runs on, and keeps its size: `rayhpc down {cluster.name}`")
        return 0


class _Staying:
    """The loop, its line to the head, and the setting up of machines."""

    def __init__(self, cluster: Cluster, rental: Rental) -> None:
        self._cluster = cluster
        self._rental = rental
        self._head = rental.hosts_with_head()[0]
        self._renewed = float("-inf")
        rental.prepare()  # `up` has done so only where it asked for something
        known = [each.name for each in rental.living()]
        self._provider = SettingUp(rental.provider, self._set_up, _complain, known)

    def run(self) -> int:
        """One line after the other, while the head can be reached."""
        heard = time.monotonic()
        while True:
            try:
                with HeadLine(self._words()) as line:
                    loop = self._loop(line)
                    while True:
                        pause = loop.turn()
                        heard = time.monotonic()
                        self._renew()
                        threading.Event().wait(pause)
            except LaunchError as error:
                if time.monotonic() - heard > _SILENT_S or not self._has_head():
                    raise LaunchError(f"cluster {self._cluster.name} is over: {error}") from None
            time.sleep(_AGAIN_S)  # its head may come back, and says nothing when it does

    def _loop(self, line: HeadLine) -> Loop:
        kind = self._cluster.rental_kind
        assert kind is not None
        types, most = self._rental.types.workers, self._rental.most
        return Loop(types, self._provider, line, kind.look_seconds, say, most=most)

    def _words(self) -> list[str]:
        script = f"{identity(self._cluster, self._head)}\nexec rayhpc _machine grow"
        login = self._cluster.head_login()
        return interactive.command(login, script, terminal=False, forwards=())

    def _has_head(self) -> bool:
        return any(x.identity == self._head.identity for x in self._rental.living())

    def _renew(self) -> None:
        if time.monotonic() - self._renewed > _RENEW_S:
            self._renewed = time.monotonic()
            self._rental.provider.renew(time.time() + _LEASE_S)

    def _set_up(self, machine: Rented) -> None:
        """As `up` does it, with the head beside it: that has the key and the address."""
        (host,) = self._rental.hosts([machine])
        with self._cluster.launcher([self._head, host], patience_s=PATIENCE_S) as launcher:
            wanted = launcher.wanted([self._head, host])
            found = launcher.ask_all()
            rows = make_plan(wanted, [], found)
            if rows[0].action is not Action.KEEP:
                raise LaunchError(f"{machine.name}: the head is not as its file says")
            outcomes = BringUp(launcher, wanted, tell).run(rows, found)
        for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error


def _complain(error: LaunchError) -> None:
    complain(error, getattr(error, "tail", []))
