"""Leaves the growing of a cluster on a cloud to its head, where that has a role there.

Called by `up` and `down`, for clusters whose place makes machines.  The other end is `keeping`.
Whoever changes the cluster takes it back first, so that there is one planner at any time.  No
credentials and no private key go to the head.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rayhpc.cli.cluster_access import Cluster
from rayhpc.cli.saying import say
from rayhpc.clusters import head_plan
from rayhpc.clusters.hosts import Host
from rayhpc.clusters.machine_plan import is_head
from rayhpc.clusters.remote.trouble import RemoteError
from rayhpc.clusters.rental import Rental
from rayhpc.elastic.types import MachineState
from rayhpc.exit_codes import LaunchError
from rayhpc.providers.machines import print_of


@contextmanager
def taken_back(cluster: Cluster, rental: Rental) -> Iterator[None]:
    """The head adds and ends no workers from now on; if this fails, it does so again as before."""
    head = _head(rental)
    kept = head is not None and _leave(cluster, head)
    try:
        yield
    except BaseException:
        if kept and head is not None:
            _adopt_again(cluster, head)
        raise


def hand_over(cluster: Cluster, rental: Rental) -> None:
    """Have the head add and end workers if its machine has a role, and say who does so."""
    if rental.most == 0:
        return
    who = f"up to {rental.most} of them"
    come = "workers come with the work and go with it"
    option = rental.kind.role_option
    why = f": the head's machine has no role ({option})" if option else ""
    if rental.kind.has_role(rental.types.head):
        try:
            _adopt(cluster, rental)
        except LaunchError as error:
            why = f": the head cannot do it ({error})"
        else:
            say(f"{come}, {who}: the head sees to it, with the role of its machine ({option})")
            return
    if rental.most > sum(each.min_nodes for each in rental.types.workers):
        say(f"it keeps this size: {come}, {who}, only while `rayhpc up --stay` runs{why}")


def end_for_good(cluster: Cluster, rental: Rental, *, whole: bool) -> None:
    """Before machines are ended: have the head ask for no others.

    Args:
        cluster: which one.
        rental: its machines.
        whole: the head's machine ends as well, and with it whatever it does.

    Raises:
        LaunchError: the head, which is to stay, cannot be told so.
    """
    try:
        head = _head(rental)
        kept = head is not None and _leave(cluster, head, must=not whole)
    except LaunchError as error:
        if not whole:
            raise
        say(f"the head may still ask for machines, which are ended as well: {error}")
        return
    if kept and not whole:
        say("the head adds no workers from now on; `rayhpc up` has it do so again")


def _adopt(cluster: Cluster, rental: Rental) -> None:
    """Raises LaunchError."""
    head = rental.hosts_with_head()[0]
    rental.provider.renew(None)  # an `up --stay` that was killed may have left its note
    plan = head_plan.encode(cluster.file.config, rental.kind, rental.public_key())
    with cluster.launcher([head], quiet=True) as launcher:
        launcher.open(launcher.head)
        launcher.head.adopt(plan)


def _adopt_again(cluster: Cluster, head: Host) -> None:
    """With the plan that it has; what fails has failed before."""
    try:
        with cluster.launcher([head], quiet=True) as launcher:
            launcher.open(launcher.head)
            launcher.head.adopt(b"")
    except LaunchError as error:
        say(f"the head adds no workers until the next `rayhpc up`: {error}")


def _head(rental: Rental) -> Host | None:
    """Its machine, if it runs and may have a role: by the file, or by that of another time."""
    if not rental.kind.role_option:
        return None
    now = rental.types.head
    has_role = rental.kind.has_role(now)
    for each in rental.living():
        runs = each.state is MachineState.RUNNING and each.login and each.address
        if runs and is_head(each) and (has_role or each.made_of != print_of(now)):
            return rental.hosts([each])[0]
    return None


def _leave(cluster: Cluster, head: Host, *, must: bool = False) -> bool:
    """Whether it did so until now.  Raises LaunchError if it goes on."""
    with cluster.launcher([head], quiet=True) as launcher:
        try:
            launcher.open(launcher.head)
        except RemoteError:
            if must:
                raise
            return False  # it has only just been made, or `up` says what is wrong with it
        return launcher.head.leave()
