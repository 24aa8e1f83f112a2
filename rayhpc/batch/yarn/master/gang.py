"""The decisions of the ApplicationMaster: events in, actions out, the clock passed in.

One reconcile step at the end of every event compares what is wanted with what there is; nothing
else asks, releases or starts.  So no ask is duplicated, in whatever order things happen.

- Every rank but 0 is one container on a host of its own, excluding the AM's host.
- Until the gang is complete for the first time containers are only held; if that takes too long all
  are released, since another job may hold what we lack, and it is tried again later.
- After that each rank is replaced individually, within a budget that counts only its own faults.
- A rank that is to leave is drained before its container is released.
- Ranks may be added by their numbers (`added`).  Whoever added one also says when it ends; one that
  has failed is not replaced, nor does it count as a failure.
- Containers of an earlier attempt are taken over: what ran in them has lost its head, and is
  replaced by a rank of ours.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from rayhpc.batch.yarn import talk
from rayhpc.batch.yarn.master import actions, events, exit_status
from rayhpc.batch.yarn.master.added import AddedRanks

_LONGEST_BACK_OFF_S = 120.0
# How long a host on which a container could not be started is avoided.
_BAD_HOST_S = 60.0


@dataclass(frozen=True)
class GangOptions:
    """The parameters of a gang; times in seconds.

    `size` and `needed` count rank 0: the gang is complete with `needed` of `size` ranks.
    `restarts` is how many containers may fail by their own fault before none is replaced any more.
    `gather_s` is how long an incomplete gang is held, `back_off_s` how long it then waits at first.
    """

    size: int
    needed: int
    restarts: int = 3
    gather_s: float = 60.0
    back_off_s: float = 5.0


class Phase(str, Enum):
    """The state of a container."""

    HELD = "held"
    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"


@dataclass
class _Container:
    host: str
    phase: Phase = Phase.HELD
    rank: int = 0
    inherited: bool = False


@dataclass
class Gang:
    """The ranks of one job and their containers.

    Args:
        options: its parameters.
        own_host: where the AM and rank 0 are.
        rng: for the back-off.
    """

    options: GangOptions
    own_host: str
    rng: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self._size = self.options.size
        self._added = AddedRanks()
        self._containers: dict[str, _Container] = {}
        self._asks: dict[int, int] = {}
        self._last_ask = 0
        self._avoided: set[str] = set()
        self._unusable: set[str] = set()
        self._bad_until: dict[str, float] = {}
        self._tries = 0
        self._failures = 0
        self._gather_until: float | None = None
        self._back_off_until: float | None = None
        self._head_ready = False
        self._complete = False
        self._ending = False
        self._actions: list[actions.Action] = []

    # -- what others may know
    @property
    def ranks(self) -> Mapping[int, str]:
        """The host of each started rank except 0."""
        started = [each for each in self._containers.values() if each.phase is not Phase.HELD]
        return {each.rank: each.host for each in started}

    @property
    def is_complete(self) -> bool:
        """Whether the needed number of ranks has been gathered once."""
        return self._complete

    @property
    def held(self) -> int:
        """The number of containers we have, started or not."""
        return len(self._containers)

    @property
    def open_asks(self) -> int:
        """The number of containers requested and not received."""
        return sum(self._asks.values())

    @property
    def missing(self) -> int:
        """The number of wanted ranks that have not been started."""
        started = [each for each in self._staying() if each.phase is not Phase.HELD]
        return self._wanted() - len(started)

    @property
    def added(self) -> list[talk.AddedRank]:
        """How the added ranks stand."""
        return self._added.states(self.ranks)

    @property
    def failures(self) -> int:
        """The number of containers that have failed by their own fault."""
        return self._failures

    def wake_at(self) -> float | None:
        """When `tick` is due; None: only after an event."""
        times = (self._gather_until, self._back_off_until, *self._bad_until.values())
        return min((each for each in times if each is not None), default=None)

    # -- what happens
    def start(self, now: float, inherited: Sequence[events.Inherited] = ()) -> list[actions.Action]:
        """The first actions; `inherited` containers are there already."""
        self._avoid(self.own_host)
        for event in inherited:
            self._take(event.container, event.host, inherited=True)
        return self._finish(now)

    def handle(self, event: events.Event, now: float) -> list[actions.Action]:
        """The actions after `event`."""
        match event:
            case events.Allocated():
                self._on_allocated(event)
            case events.Inherited():
                self._take(event.container, event.host, inherited=True)
            case events.Started():
                self._on_started(event.container)
            case events.StartFailed():
                self._on_start_failed(event, now)
            case events.Completed():
                self._on_completed(event)
            case events.HeadReady():
                self._head_ready = True
            case events.Resized():
                self._size = max(1, event.size)
            case events.RankAdded():
                self._added.want(event.rank)
            case events.RankRemoved():
                self._on_removed(event.rank)
            case events.RankCancelled():
                self._on_cancelled(event.rank)
            case events.Drained():
                self._on_drained(event.rank)
            case events.HostUnusable():
                self._unusable.add(event.host)
                self._avoid(event.host)
            case events.HostUsable():
                self._unusable.discard(event.host)
                self._bad_until.pop(event.host, None)
                self._readmit(event.host)
            case events.ProgramEnded():
                self._on_program_ended()
        return self._finish(now)

    def tick(self, now: float) -> list[actions.Action]:
        """The actions because time has passed."""
        if self._back_off_until is not None and now >= self._back_off_until:
            self._back_off_until = None
        if self._gather_until is not None and now >= self._gather_until:
            self._give_up_gathering(now)
        for host in [host for host, until in self._bad_until.items() if now >= until]:
            del self._bad_until[host]
            self._readmit(host)
        return self._finish(now)

    def _finish(self, now: float) -> list[actions.Action]:
        if not self._ending:
            self._reconcile(now)
        done, self._actions = self._actions, []
        return done

    # -- single events
    def _on_allocated(self, event: events.Allocated) -> None:
        if event.ask in self._asks:
            self._asks[event.ask] -= 1
            if self._asks[event.ask] == 0:
                del self._asks[event.ask]
        self._take(event.container, event.host)

    def _take(self, name: str, host: str, *, inherited: bool = False) -> None:
        """Keep a container, unless there is no use for it."""
        hosts = {each.host for each in self._containers.values()} | {self.own_host}
        unwanted = host in hosts or host in self._avoided
        pausing = self._ending or self._back_off_until is not None
        if pausing or unwanted or len(self._staying()) >= self._wanted():
            # For an ask that was cancelled too late, or a second one on a host.
            self._actions.append(actions.Release(name))
            return
        self._containers[name] = _Container(host, inherited=inherited)
        self._avoid(host)

    def _on_started(self, name: str) -> None:
        container = self._containers.get(name)
        if container is not None and container.phase is Phase.STARTING:
            container.phase = Phase.RUNNING

    def _on_start_failed(self, event: events.StartFailed, now: float) -> None:
        container = self._containers.pop(event.container, None)
        if container is None:
            return
        self._actions.append(actions.Release(event.container))
        if container.inherited:
            self._actions.append(
                actions.Say(
                    f"the container on {container.host} could not be taken over: {event.reason}"
                )
            )
            self._readmit(container.host)
            return
        self._bad_until[container.host] = now + _BAD_HOST_S  # another node will do better
        where = f"rank {container.rank} on {container.host}"
        self._note_failure(container.rank, f"{where} could not be started: {event.reason}")

    def _on_completed(self, event: events.Completed) -> None:
        container = self._containers.pop(event.container, None)
        if container is None:
            return  # one that we released
        self._readmit(container.host)
        if self._ending or container.phase in (Phase.HELD, Phase.DRAINING):
            return
        what = f"rank {container.rank} on {container.host} ended: "
        what += exit_status.describe(event.status)
        if event.status in exit_status.MEMORY and event.diagnostics:
            what += f" ({_first_sentence(event.diagnostics)})"
        costs_nothing = exit_status.is_clusters_fault(event.status)
        if costs_nothing and not self._added.is_wanted(container.rank):
            self._actions.append(actions.Say(what))
        else:
            self._note_failure(container.rank, what)

    def _on_cancelled(self, rank: int) -> None:
        if rank not in self.ranks:
            self._added.end(rank, "it was taken back before it had a container")

    def _on_removed(self, rank: int) -> None:
        self._on_cancelled(rank)
        if not self._added.is_wanted(rank):
            return
        self._added.end(rank, "it was given back")
        container = next(each for each in self._staying() if each.rank == rank)
        container.phase = Phase.DRAINING
        self._actions.append(actions.Drain(rank))

    def _on_drained(self, rank: int) -> None:
        for name, container in list(self._containers.items()):
            if container.rank == rank and container.phase is Phase.DRAINING:
                del self._containers[name]
                self._actions.append(actions.Release(name))
                self._readmit(container.host)

    def _on_program_ended(self) -> None:
        self._ending = True
        self._gather_until = self._back_off_until = None
        self._bad_until.clear()
        self._cancel_asks()
        for name, container in list(self._containers.items()):
            if container.phase is Phase.HELD:
                del self._containers[name]
                self._actions.append(actions.Release(name))

    def _note_failure(self, rank: int, what: str) -> None:
        """Of an added rank: whether another one is needed is for whoever added it to say."""
        if self._added.is_wanted(rank):
            self._added.end(rank, what)
            self._actions.append(actions.Say(what))
        else:
            self._count_failure(what)

    def _count_failure(self, what: str) -> None:
        self._failures += 1
        left = self.options.restarts - self._failures
        if left >= 0:
            self._actions.append(actions.Say(f"{what}; it is replaced ({left} more may fail)"))
        elif self._complete and self.held + 1 >= self.options.needed:
            self._actions.append(actions.Say(f"{what}; too many have failed, it is not replaced"))
        else:
            self._actions.append(actions.Fail(f"{what}; too many ranks have failed"))

    # -- the reconcile step
    def _reconcile(self, now: float) -> None:
        wanted = self._wanted()
        self._shrink(wanted)
        if not self._complete and self.held + 1 >= min(self.options.needed, self._size):
            self._complete = True
            self._gather_until = self._back_off_until = None
        if self._complete and self._head_ready:
            self._launch_held()
        missing = wanted - len(self._staying())
        if self._failures > self.options.restarts:
            missing = min(missing, len(self._added.wanted.difference(self.ranks)))
        if self.open_asks > max(0, missing):
            self._cancel_asks()
        if missing > self.open_asks and self._back_off_until is None:
            self._ask(missing - self.open_asks)
            if not self._complete and self._gather_until is None:
                self._gather_until = now + self.options.gather_s

    def _shrink(self, wanted: int) -> None:
        """Release what exceeds `wanted`: what is not started first, then the highest ranks."""
        staying = [n for n, c in self._containers.items() if c.phase is not Phase.DRAINING]
        staying.sort(key=lambda name: self._containers[name].rank)
        held = [name for name in staying if self._containers[name].phase is Phase.HELD]
        # Of an added rank it is said when it ends.
        others = [n for n in staying if not self._added.is_wanted(self._containers[n].rank)]
        for name in (held + others[::-1])[: max(0, len(staying) - wanted)]:
            container = self._containers[name]
            if container.phase is Phase.HELD:
                del self._containers[name]
                self._actions.append(actions.Release(name))
                self._readmit(container.host)
            else:
                container.phase = Phase.DRAINING
                self._actions.append(actions.Drain(container.rank))

    def _launch_held(self) -> None:
        used = set(self.ranks)
        others = (x for x in itertools.count(1) if x not in used and not self._added.is_known(x))
        free = itertools.chain(sorted(self._added.wanted - used), others)
        for name, container in self._containers.items():
            if container.phase is Phase.HELD:
                container.phase, container.rank = Phase.STARTING, next(free)
                self._actions.append(
                    actions.Launch(name, container.rank, container.host, container.inherited)
                )

    def _give_up_gathering(self, now: float) -> None:
        """Release all: two half gangs would wait for each other forever."""
        have, need = self.held + 1, min(self.options.needed, self._size)
        self._gather_until = None
        self._cancel_asks()
        for name, container in list(self._containers.items()):
            del self._containers[name]
            self._actions.append(actions.Release(name))
            self._readmit(container.host)
        longest = min(self.options.back_off_s * 2.0**self._tries, _LONGEST_BACK_OFF_S)
        pause = longest * self.rng.uniform(0.5, 1.0)
        self._tries += 1
        self._back_off_until = now + pause
        self._actions.append(
            actions.Say(
                f"{have} of {need} nodes came within {self.options.gather_s:g} s: given back, "
                f"asked for again in {pause:.0f} s"
            )
        )

    # -- small things
    def _wanted(self) -> int:
        """How many containers are wanted."""
        return self._size - 1 + len(self._added.wanted)

    def _staying(self) -> list[_Container]:
        """The containers that are not about to leave."""
        return [each for each in self._containers.values() if each.phase is not Phase.DRAINING]

    def _ask(self, count: int) -> None:
        self._last_ask += 1
        self._asks[self._last_ask] = count
        self._actions.append(actions.Ask(self._last_ask, count))

    def _cancel_asks(self) -> None:
        self._actions += [actions.Cancel(number) for number in self._asks]
        self._asks.clear()

    def _avoid(self, host: str) -> None:
        if host not in self._avoided:
            self._avoided.add(host)
            self._actions.append(actions.Avoid(host))

    def _readmit(self, host: str) -> None:
        """Readmit the host, unless something else rules it out."""
        taken = {each.host for each in self._containers.values()} | {self.own_host}
        against = taken | self._unusable | self._bad_until.keys()
        if host in self._avoided and host not in against:
            self._avoided.remove(host)
            self._actions.append(actions.Readmit(host))


def _first_sentence(text: str) -> str:
    return text.strip().partition("\n")[0].rstrip(".")[:300]
