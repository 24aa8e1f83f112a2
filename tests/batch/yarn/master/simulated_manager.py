"""A ResourceManager for `Gang` in one process: it may be slow, unfair, and lose nodes.

It takes the gang's actions as `loop` does and makes the events that follow, in an order that the
test's randomness chooses.  After every step it checks what must always hold.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

from rayhpc.batch.yarn.master.actions import (
    Action,
    Ask,
    Avoid,
    Cancel,
    Drain,
    Fail,
    Launch,
    Readmit,
    Release,
    Say,
)
from rayhpc.batch.yarn.master.events import (
    Allocated,
    Completed,
    Drained,
    Event,
    HostUnusable,
    HostUsable,
    Inherited,
    Started,
    StartFailed,
)
from rayhpc.batch.yarn.master.gang import Gang


@dataclass
class SimulatedManager:
    """Hosts, asks and containers; `rng` decides what happens next."""

    gang: Gang
    hosts: list[str]
    rng: random.Random
    now: float = 0.0
    asks: dict[int, int] = field(default_factory=dict)
    containers: dict[str, str] = field(default_factory=dict)
    launched: dict[str, int] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    avoided: set[str] = field(default_factory=set)
    said: list[str] = field(default_factory=list)
    failed: str = ""
    used_asks: set[int] = field(default_factory=set)
    _under_way: deque[Event] = field(default_factory=deque)
    _last: int = 0

    def begin(self, inherited: int = 0) -> None:
        """Start; so many containers of an earlier attempt are there, or end right then."""
        left = [Inherited(f"before{n}", self.rng.choice(self.hosts)) for n in range(inherited)]
        self.containers.update({each.container: each.host for each in left})
        self.take(self.gang.start(self.now, left))
        for each in left:
            if each.container in self.containers and self.rng.random() < 0.2:
                self.end(each.container, 71)

    def tell(self, event: Event) -> None:
        """An event from outside."""
        self.take(self.gang.handle(event, self.now))

    def step(self, *, losses: bool = False, slow: bool = False) -> None:
        """Something happens: an allocation, the news of one, a failure, or time passes."""
        choices = ["allocate", "deliver", "deliver", "time"]
        choices += ["fail", "lose", "return"] * losses + ["time"] * 4 * slow
        match self.rng.choice(choices):
            case "allocate":
                self._allocate()
            case "deliver" if self._under_way:
                self.tell(self._under_way.popleft())
            case "fail" if self.launched:
                name = self.rng.choice(sorted(self.launched))
                self.end(name, self.rng.choice([-100, -102, -1, 1]))
            case "lose":
                self._lose(self.rng.choice(self.hosts))
            case "return" if self.lost:
                self.bring_back(self.rng.choice(sorted(self.lost)))
            case _:
                self._pass_time()

    def settle(self, steps: int = 400) -> None:
        """Let everything happen that was begun, and nothing new."""
        for _ in range(steps):
            self._allocate()
            while self._under_way:
                self.tell(self._under_way.popleft())
            self._pass_time()

    def end(self, name: str, status: int, diagnostics: str = "") -> None:
        """A container ends."""
        del self.containers[name]
        self.launched.pop(name, None)
        self._under_way.append(Completed(name, status, diagnostics))

    def bring_back(self, host: str) -> None:
        self.lost.remove(host)
        self._under_way.append(HostUsable(host))

    def take(self, actions: list[Action]) -> None:
        for action in actions:
            self._take_one(action)
        self.check()

    def check(self) -> None:
        """What must hold at every moment."""
        gang = self.gang
        hosts = list(gang.ranks.values())
        assert len(set(hosts)) == len(hosts), "two ranks on one host"
        assert gang.own_host not in hosts, "a rank beside the AM"
        assert 0 not in gang.ranks
        staying = gang.held - self._draining()
        assert gang.open_asks == 0 or staying + gang.open_asks <= gang._wanted(), "asked twice"
        assert gang.open_asks == sum(self._open_by_gangs_count().values())

    def _open_by_gangs_count(self) -> dict[int, int]:
        """Open asks, allocations under way counted as open: the gang has not heard of them."""
        found = dict(self.asks)
        for event in self._under_way:
            if isinstance(event, Allocated) and event.ask in self.gang._asks:
                found[event.ask] = found.get(event.ask, 0) + 1
        return {number: count for number, count in found.items() if count}

    def _draining(self) -> int:
        return sum(each.phase == "draining" for each in self.gang._containers.values())

    def _take_one(self, action: Action) -> None:
        match action:
            case Ask(number, count):
                assert number not in self.used_asks
                assert count > 0
                self.used_asks.add(number)
                self.asks[number] = count
            case Cancel(number):
                self.asks.pop(number, None)
            case Release(name):
                self.containers.pop(name, None)
                self.launched.pop(name, None)
            case Avoid(host):
                assert host not in self.avoided
                self.avoided.add(host)
            case Readmit(host):
                self.avoided.remove(host)
            case Launch(name, rank, host, _):
                self._launch(name, rank, host)
            case Drain(rank):
                self._under_way.append(Drained(rank))
            case Say(text):
                self.said.append(text)
            case Fail(reason):
                self.failed = reason

    def _launch(self, name: str, rank: int, host: str) -> None:
        if name not in self.containers or host in self.lost:
            self._under_way.append(StartFailed(name, "no route to host"))
            return
        assert rank not in self.launched.values() or self._is_dying(rank), "a rank twice"
        self.launched[name] = rank
        self._under_way.append(Started(name))

    def _is_dying(self, rank: int) -> bool:
        return rank not in self.gang.ranks or bool(self._under_way)

    def _allocate(self) -> None:
        if not self.asks:
            return
        number = self.rng.choice(sorted(self.asks))
        # The blacklist may reach the scheduler late; a host may get a second container.
        free = [h for h in self.hosts if h not in self.lost and h not in self.avoided]
        if self.rng.random() < 0.1:
            free = [h for h in self.hosts if h not in self.lost]
        if not free:
            return
        self.asks[number] -= 1
        if self.asks[number] == 0:
            del self.asks[number]
        self._last += 1
        name = f"c{self._last}"
        host = self.rng.choice(free)
        self.containers[name] = host
        self._under_way.append(Allocated(name, host, number))

    def _lose(self, host: str) -> None:
        if host in self.lost or host == self.gang.own_host:
            return
        self.lost.add(host)
        for name in [name for name, place in self.containers.items() if place == host]:
            self.end(name, -100)
        self._under_way.append(HostUnusable(host))

    def _pass_time(self) -> None:
        due = self.gang.wake_at()
        self.now = max(self.now + self.rng.choice([0.1, 1.0, 10.0]), self.now)
        if due is not None and due <= self.now:
            self.take(self.gang.tick(self.now))
