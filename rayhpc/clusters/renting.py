"""Has a place make a cluster's machines and end them, and waits for it.

Called by `rental` and `cli.rented`.  Machines are asked for under names, so that a lost answer, or
an `up` that was killed, asks for nothing twice.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from rayhpc.clusters.hosts import Host
from rayhpc.clusters.machine import Tell
from rayhpc.clusters.machine_plan import is_head
from rayhpc.clusters.record import RecordFolder
from rayhpc.clusters.schema import Auth, ClusterConfig, NodeTypeConfig
from rayhpc.elastic.types import MACHINE_LABEL, MachineState, NodeType
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.providers.base import CapacityError, ProviderError, RefusedError
from rayhpc.providers.machines import MachineProvider, Rented
from rayhpc.wire.feasibility import END_LABEL

_ASK_TIMES, _ASK_PAUSE_S = 5, 1.0
_RUN_S, _GONE_S, _LOOK_S = 600.0, 600.0, 2.0
# A machine that was asked for and has not been shown for so long has got lost.
_UNSEEN_S = 120.0
T = TypeVar("T")


class MachineError(LaunchError):
    """One machine could not be had; the others are not concerned."""

    def __init__(self, name: str, sentence: str, code: int = ExitCode.TOO_FEW_NODES) -> None:
        super().__init__(f"{name}: {sentence}", code)
        self.name = name


def own_key_path(folder: Path) -> Path:
    """Where the cluster's own private key is, or will be."""
    return folder / "ssh_key"


def make_own_key(folder: Path, cluster: str) -> None:
    """Make the cluster's own key, unless it is there.  Raises LaunchError."""
    path = own_key_path(folder)
    if not path.exists():
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"rayhpc {cluster}"]
        _run([*words, "-f", str(path)])


def forget(folder: RecordFolder) -> None:
    """Remove what is remembered here of a cluster that is no more, with its key."""
    folder.remove_record()
    key = own_key_path(folder.path)
    for path in (key, key.with_name(f"{key.name}.pub"), folder.known_hosts):
        path.unlink(missing_ok=True)


def public_key(private: Path) -> str:
    """The public half of a key.  Raises LaunchError."""
    beside = private.with_name(f"{private.name}.pub")
    if beside.exists():
        return beside.read_text().strip()
    return _run(["ssh-keygen", "-y", "-P", "", "-f", str(private)]).strip()


def host_of(machine: Rented, config: ClusterConfig, auth: Auth) -> Host:
    """A machine that runs, as the launcher sees it."""
    kind = config.available_node_types.get(machine.node_type, NodeTypeConfig())
    head = is_head(machine)
    told = config.provider
    behind = bool(told.get("use_internal_ips") and told.get("use_external_head_ip"))
    labels = {} if head else {MACHINE_LABEL: machine.name}
    if machine.ends_at is not None:
        labels[END_LABEL] = str(int(machine.ends_at))
    return Host(
        name=machine.address or machine.name,
        login=machine.login or machine.address or machine.name,
        user=auth.ssh_user,
        node_type=machine.node_type,
        is_head=head,
        resources=kind.resources,
        labels={**kind.labels, **labels},
        identity=machine.identity,
        is_behind_head=not head and behind,
    )


def from_inside(host: Host) -> Host:
    """A machine as another one of the cluster's reaches it."""
    return replace(host, login=host.name, is_behind_head=False)


def ask(provider: MachineProvider, kind: NodeType, name: str) -> None:
    """Ask for one machine, and again under its name if no answer comes.

    Raises:
        ProviderError: refused, no capacity, or no answer.
    """
    for number in range(_ASK_TIMES):
        try:
            provider.ask(kind, [name])
            return
        except (RefusedError, CapacityError):
            raise
        except ProviderError:
            if number + 1 == _ASK_TIMES:
                raise
        time.sleep(_ASK_PAUSE_S * 2**number)  # the place wants us to come back later


def wait_until_there(
    provider: MachineProvider, names: Sequence[str], tell: Tell
) -> tuple[dict[str, Rented], list[MachineError]]:
    """Wait for machines to run; those that do not are told with the place's reason.

    Raises:
        ProviderError: the place does not answer for long.
    """
    there: dict[str, Rented] = {}
    failed: list[MachineError] = []
    open_names = list(names)
    began = time.monotonic()
    while open_names:
        found = {each.name: each for each in _listed(provider, began + _RUN_S)}
        for name in list(open_names):
            why = _why_not(found.get(name), time.monotonic() - began)
            if why is None:
                continue
            open_names.remove(name)
            if why:
                failed.append(MachineError(name, why))
            else:
                there[name] = found[name]
                tell(name, f"runs at {found[name].login}, {found[name].address}")
        if open_names:
            time.sleep(_LOOK_S)  # no place says when: it has to be asked
    return there, failed


def end_all(provider: MachineProvider, names: Sequence[str]) -> None:
    """End machines, and wait until the place says that they have ended.

    Raises:
        ProviderError: the place does not answer for long.
        LaunchError: they do not end.
    """
    deadline = time.monotonic() + _GONE_S
    _until(deadline, lambda: provider.release(names))
    wanted = set(names)
    while True:
        left = [
            x.name
            for x in _listed(provider, deadline)
            if x.name in wanted and x.state is not MachineState.ENDED
        ]
        if not left:
            return
        if time.monotonic() > deadline:
            raise LaunchError(f"{', '.join(left)} have not ended within {_GONE_S:g} s")
        time.sleep(_LOOK_S)


def remove_the_rest(provider: MachineProvider) -> Sequence[str]:
    """What the cluster had beside its machines; what does not go in time, in words.

    A machine may come up late: its place did not show it yet, or a head that has a role asked for
    it while it was being ended.
    """
    deadline = time.monotonic() + _GONE_S
    while left := _until(deadline, provider.dissolve):
        if time.monotonic() > deadline:
            return left
        found = _listed(provider, deadline)
        late = [each.name for each in found if each.state is not MachineState.ENDED]
        if late:
            _until(deadline, partial(provider.release, late))
        time.sleep(_LOOK_S)
    return []


def _why_not(machine: Rented | None, waited_s: float) -> str | None:
    """Empty: it is there; None: not yet; else what has become of it."""
    if machine is None:
        return "its place does not know it" if waited_s > _UNSEEN_S else None
    if machine.state is MachineState.ENDED:
        return f"it ended at once: {machine.reason}"
    if machine.state is MachineState.RUNNING and machine.login and machine.address:
        return ""
    return f"it does not run after {_RUN_S:g} s" if waited_s > _RUN_S else None


def _listed(provider: MachineProvider, deadline: float) -> Sequence[Rented]:
    return _until(deadline, provider.list)


def _until(deadline: float, action: Callable[[], T]) -> T:
    """Do it; if no answer comes, again."""
    while True:
        try:
            return action()
        except (RefusedError, CapacityError):
            raise
        except ProviderError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_LOOK_S)


def _run(words: Sequence[str]) -> str:
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        raise LaunchError(
            f"{words[0]}: {done.stderr.strip() or 'it failed'}", ExitCode.CONFIGURATION
        )
    return done.stdout
