"""A simulated place with machines, and a simulated cluster on them, under the real planner.

Used by the tests of this folder.  Everything is drawn from one seed.  The place loses requests and
answers, delays them, hears them twice, shows old states and forgets what has ended; machines
vanish; the planner's process is killed before and after what it asks.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field, replace

from rayhpc.elastic import answers
from rayhpc.elastic.book import Phase, State
from rayhpc.elastic.plan import plan
from rayhpc.elastic.types import (
    Ask,
    Demand,
    Gang,
    Machine,
    MachineState,
    NodeType,
    NodeView,
    Plan,
    Seen,
    Wanted,
)
from rayhpc.wire.feasibility import END_LABEL
from rayhpc.wire.messages.common import UNIT, Resources

TICK_S = 0.5
LOOK_S = 10.0
FORGOTTEN_S = 120.0


@dataclass
class Trouble:
    """How much goes wrong: chances for each request, or each second."""

    lost: float = 0.0
    answer_lost: float = 0.0
    late: float = 0.0
    twice: float = 0.0
    no_capacity: float = 0.0
    old_look: float = 0.0
    empty_look: float = 0.0
    vanish: float = 0.0
    killed: float = 0.0
    forgets: float = 0.0


@dataclass
class Thing:
    """A machine, as it really is."""

    name: str
    node_type: str
    starts: float
    joins: float
    ended: float | None = None
    draining: bool = False
    idle_since: float = 0.0
    tasks: list[Task] = field(default_factory=list)


@dataclass
class Task:
    """One task: what it needs, how long it runs; `left` while it runs."""

    resources: Resources
    seconds: float
    left: float = 0.0


class World:
    """One run.

    Args:
        types: the node types.
        seed: of all chance.
        trouble: what goes wrong.
        may_drain_busy: nodes whose time is nearly over drain while they work.
    """

    def __init__(
        self,
        types: list[NodeType],
        seed: int = 0,
        trouble: Trouble | None = None,
        *,
        may_drain_busy: bool = False,
    ) -> None:
        self.types = {each.name: each for each in types}
        self.random = random.Random(seed)
        self.trouble = trouble or Trouble()
        self.now = 1000.0
        self.things: dict[str, Thing] = {}
        self.late: list[tuple[float, str, str, tuple[str, ...]]] = []
        self.waiting: list[Task] = []
        self.gangs: list[Gang] = []
        self.floor: list[Resources] = []
        # What says how long it runs, and never gets room; how long machines last from their start.
        self.lasting: list[Demand] = []
        self.life = math.inf
        self.done = 0
        self.state = State()
        self.journal = State()
        self._looked = float("-inf")
        self._looks: list[list[Machine]] = []
        self.plans: list[Plan] = []
        self.requests = 0
        self.vanished = 0
        self.unanswered = 0
        self.kills = 0
        self.most = 0
        self.may_drain_busy = may_drain_busy

    # -- what tests do ---------------------------------------------------------------------------
    def submit(self, count: int, seconds: float = 5.0, **resources: float) -> None:
        """More tasks."""
        need = {name: round(n * UNIT) for name, n in (resources or {"CPU": 1}).items()}
        self.waiting += [Task(need, seconds) for _ in range(count)]

    def run(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds / TICK_S)):
            self.tick()

    def living(self, node_type: str | None = None) -> list[Thing]:
        """All machines that exist, there or pending."""
        found = [x for x in self.things.values() if x.ended is None]
        return found if node_type is None else [x for x in found if x.node_type == node_type]

    def nodes(self) -> list[Thing]:
        """Those that have joined."""
        return [x for x in self.living() if self.now >= x.joins]

    def tick(self) -> None:
        """One step of everything."""
        self.now += TICK_S
        self._work()
        self._vanish()
        self._deliver()
        self._plan()
        self.check()

    def check(self) -> None:
        """What must be true at every instant."""
        self.most = max(self.most, len(self.living()))
        for name, kind in self.types.items():
            assert len(self.living(name)) <= kind.max_nodes, f"{name} at {self.now}"

    # -- the cluster -----------------------------------------------------------------------------
    def _work(self) -> None:
        for thing in self.nodes():
            for task in thing.tasks:
                task.left -= TICK_S
            over = [task for task in thing.tasks if task.left <= 0]
            self.done += len(over)
            thing.tasks = [task for task in thing.tasks if task.left > 0]
            if over:
                thing.idle_since = self.now
            if not thing.draining:
                self._give(thing)

    def _give(self, thing: Thing) -> None:
        free = self._free(thing)
        if not self.waiting or not any(free.values()):
            return
        for task in self.waiting[:40]:
            if all(free.get(k, 0) >= n for k, n in task.resources.items()):
                self.waiting.remove(task)
                task.left = task.seconds
                thing.tasks.append(task)
                free = self._free(thing)

    def _free(self, thing: Thing) -> Resources:
        free = dict(self.types[thing.node_type].resources)
        for task in thing.tasks:
            for name, amount in task.resources.items():
                free[name] = free.get(name, 0) - amount
        return free

    def _vanish(self) -> None:
        for thing in self.living():
            if self.random.random() < self.trouble.vanish * TICK_S:
                self.vanished += 1
                self._end(thing)

    def _end(self, thing: Thing) -> None:
        thing.ended = self.now
        self.waiting += [replace(task, left=0.0) for task in thing.tasks]
        thing.tasks = []

    # -- the place -------------------------------------------------------------------------------
    def _hear(self, verb: str, node_type: str, names: tuple[str, ...]) -> None:
        for name in names:
            thing = self.things.get(name)
            if verb == "ask" and (thing is None or self._has_forgotten(thing)):
                starts = self.now + self.random.uniform(0.5, 5.0)
                joins = starts + self.random.uniform(0.5, 5.0)
                self.things[name] = Thing(name, node_type, starts, joins, idle_since=joins)
            elif verb == "cancel" and thing is not None and self.now < thing.starts:
                if thing.ended is None:
                    self._end(thing)
            elif verb == "release" and thing is not None and thing.ended is None:
                assert not thing.tasks, f"{name} was busy when it was given back"
                self._end(thing)

    def _has_forgotten(self, thing: Thing) -> bool:
        """Whether the place knows nothing of it any more: its name may be used again."""
        return thing.ended is not None and self.now - thing.ended > FORGOTTEN_S

    def _request(self, verb: str, node_type: str, names: tuple[str, ...]) -> str:
        """Something is asked of the place; what the asker learns."""
        answer = self._answer(verb, node_type, names)
        self.requests += 1
        self.unanswered += answer == "no answer"
        return answer

    def _answer(self, verb: str, node_type: str, names: tuple[str, ...]) -> str:
        chance, trouble = self.random.random, self.trouble
        if verb == "ask" and chance() < trouble.no_capacity:
            return "no capacity"
        if chance() < trouble.lost:
            return "no answer"
        if chance() < trouble.late:
            when = self.now + self.random.uniform(1.0, 20.0)
            self.late.append((when, verb, node_type, names))
            return "no answer"
        self._hear(verb, node_type, names)
        if chance() < trouble.twice:
            when = self.now + self.random.uniform(0.0, 20.0)
            self.late.append((when, verb, node_type, names))
        return "no answer" if chance() < trouble.answer_lost else "accepted"

    def _deliver(self) -> None:
        due = [each for each in self.late if each[0] <= self.now]
        self.late = [each for each in self.late if each[0] > self.now]
        self.random.shuffle(due)
        for _, verb, node_type, names in due:
            self._hear(verb, node_type, names)

    def _look(self) -> list[Machine] | None:
        if self.now - self._looked < LOOK_S:
            return None
        self._looked = self.now
        found = []
        for thing in self.things.values():
            if self._has_forgotten(thing):
                continue
            state = MachineState.ENDED if thing.ended is not None else MachineState.RUNNING
            if thing.ended is None and self.now < thing.starts:
                state = MachineState.PENDING
            found.append(Machine(thing.name, thing.node_type, state))
        self._looks.append(found)
        fresh = self.state.adopted
        if fresh and self.random.random() < self.trouble.empty_look:
            return []
        if fresh and len(self._looks) > 1 and self.random.random() < self.trouble.old_look:
            return self._looks[-2]
        return found

    # -- the planner's process -------------------------------------------------------------------
    def seen(self) -> Seen:
        """What the head would show."""
        kinds: dict[tuple[tuple[str, int], ...], int] = {}
        for task in self.waiting:
            key = tuple(sorted(task.resources.items()))
            kinds[key] = kinds.get(key, 0) + 1
        nodes = [
            NodeView(
                thing.name,
                dict(self.types[thing.node_type].resources),
                self._free(thing),
                thing.name,
                thing.node_type,
                {END_LABEL: str(thing.starts + self.life)},
                busy="tasks run" if thing.tasks else "",
                idle_seconds=0.0 if thing.tasks else self.now - thing.idle_since,
                draining=thing.draining,
            )
            for thing in self.nodes()
        ]
        tasks = (*(Demand(dict(key), count) for key, count in kinds.items()), *self.lasting)
        return Seen(Wanted(tasks, tuple(self.gangs), tuple(self.floor)), nodes, self._look())

    def _plan(self) -> None:
        if self.random.random() < self.trouble.killed * TICK_S:
            self._restart()
        types = list(self.types.values())
        found, self.state = plan(self.seen(), types, self.now, self.state)
        self.journal = self.state
        self.plans.append(found)
        self._check_plan(found)
        for ask in found.asks:
            self._ask(ask)
        for verb, names in (("cancel", found.cancels), ("release", found.releases)):
            if names:
                self._request(verb, "", names)
        for name in (*found.drains, *found.undrains):
            if name in self.things:
                self.things[name].draining = name in found.drains

    def _ask(self, ask: Ask) -> None:
        types = list(self.types.values())
        learnt = self._request("ask", ask.node_type, ask.names)
        if self.random.random() < self.trouble.killed:
            self._restart()  # before the answer is known
        elif learnt == "accepted":
            self.state = answers.accepted(self.state, types, ask, self.now)
        elif learnt == "no capacity":
            self.state = answers.not_now(self.state, types, ask, self.now, "no capacity")
        else:
            self.state = answers.unknown(self.state, types, ask, self.now, "no answer")

    def _restart(self) -> None:
        """Another process goes on, with what was written down, or with nothing at all."""
        self.kills += 1
        self.state = self.journal
        if self.random.random() < self.trouble.forgets:
            self.late, self.state = [], State()
            self._looked = float("-inf")

    def _check_plan(self, found: Plan) -> None:
        for ask in found.asks:
            assert ask.why, "an ask without a reason"
            assert any(ask.names[0] in line.text for line in found.explanation)
        is_wanted = self.waiting or self.gangs or self.floor or self.lasting
        if found.drains and not is_wanted and not self.may_drain_busy:
            going = {self.things[name].node_type for name in found.drains}
            rows = [x for x in self.state.rows.values() if x.node_type in going]
            coming = [x.name for x in rows if x.phase in (Phase.ASKED, Phase.PENDING)]
            assert not coming, f"{found.drains} drained while {coming} could have been cancelled"
        for name in found.drains:
            assert self.may_drain_busy or not self.things[name].tasks, f"{name} was drained busy"
