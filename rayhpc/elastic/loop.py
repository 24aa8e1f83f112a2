"""The reconcile loop: looks, has the planner decide, acts through the provider, and looks again.

Run by whatever starts an elastic cluster, in a thread of its own.  Demand and supply come from the
head, at one instant; what the planner remembers is written down there before anything is done, so
that another loop may go on where one was killed.  Decides nothing itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from rayhpc.elastic import answers
from rayhpc.elastic.book import COMING, GOING, Phase, State
from rayhpc.elastic.history import History
from rayhpc.elastic.plan import plan
from rayhpc.elastic.reading import seen_in
from rayhpc.elastic.types import Ask, Machine, NodeType, Plan
from rayhpc.providers.base import CapacityError, Provider, ProviderError, RefusedError
from rayhpc.wire.messages.common import Resources
from rayhpc.wire.messages.elastic import ElasticStatus, Moment
from rayhpc.wire.messages.load import ClusterLoad

# Between two looks at the head; each node makes them rarer by so much.
LOOK_S, LOOK_S_PER_NODE = 0.25, 0.002
# The status that `rayhpc status` shows is this old at most.
_STATUS_S = 2.0


class Head(Protocol):
    """What the loop needs of the head.  Each raises LaunchError when the cluster is over."""

    def load(self) -> ClusterLoad:
        """What waits, and what every node is in use for."""

    def floor(self) -> Sequence[Resources]:
        """Room that programs want in any case."""

    def resumed(self) -> Sequence[str]:
        """Node types whose trouble is over, says the user; each is told once."""

    def drain(self, node_id: str) -> None:
        """Have a node take no new work."""

    def undrain(self, node_id: str) -> None:
        """Have it take work again."""

    def remember(self, state: bytes) -> None:
        """Write down what the planner remembers."""

    def remembered(self) -> bytes | None:
        """What was written down last."""

    def show(self, status: ElasticStatus) -> None:
        """Leave word for `rayhpc status`."""

    def keep_history(self, moments: list[Moment]) -> None:
        """Leave the cluster's history for `rayhpc timeline --cluster`."""

    def history(self) -> list[Moment]:
        """What was left last."""


class Loop:
    """The loop, one turn at a time.

    Args:
        types: the node types there are.
        provider: where machines come from.
        head: the cluster.
        look_s: seconds between two looks at the provider while anything is pending there.
        say: takes a sentence for the user; each is said once.
        now: seconds since 1970.
        most: how many machines of all types together there may be; None: as the types say.
    """

    def __init__(
        self,
        types: Sequence[NodeType],
        provider: Provider,
        head: Head,
        look_s: float,
        say: Callable[[str], None],
        now: Callable[[], float] = time.time,
        most: int | None = None,
    ) -> None:
        self._types, self._provider, self._head = types, provider, head
        self._look_s, self._say, self._now, self._most = look_s, say, now, most
        written = head.remembered()
        self.state = State() if written is None else msgspec.json.decode(written, type=State)
        self._looked = float("-inf")
        self._shown = self._kept_at = float("-inf")
        self._said: frozenset[str] = frozenset()
        self._trouble = ""
        self._history, self._news = History(head.history()), False
        self._is_over = False

    def turn(self) -> float:
        """Look, decide, act; returns the seconds until the next turn.

        Raises:
            LaunchError: the cluster is over.
        """
        self._resume()
        machines = self._look()
        load = self._head.load()
        seen = seen_in(load, self._head.floor(), machines)
        before = self.state
        found, self.state = plan(seen, self._types, self._now(), before, self._most)
        if found.acts:
            self._head.remember(msgspec.json.encode(self.state))
            by_machine = {node.machine: node.node_id for node in seen.nodes if node.machine}
            self._act(found, by_machine)
        self._tell(found)
        self._keep(load)
        return LOOK_S + LOOK_S_PER_NODE * len(load.nodes)

    def stop(self) -> None:
        """Have a turn in progress, in another thread, ask for nothing more."""
        self._is_over = True

    def end(self) -> None:
        """The cluster ends: give everything back that is not known to be over."""
        self._try(lambda: self._provider.release(list(self.state.rows)))

    def _resume(self) -> None:
        troubled = {x for x, each in self.state.types.items() if each.paused or each.failures}
        if not troubled:
            return
        for name in troubled.intersection(self._head.resumed()):
            self.state = answers.resumed(self.state, self._types, name, self._now())
            self._said = frozenset()
            self._say(f"{name} is asked for again: the user has resumed it")

    # -- the provider ----------------------------------------------------------------------------
    def _look(self) -> list[Machine] | None:
        """The provider's truth: at first, and now and then while something is on its way."""
        moving = any(row.phase in (*COMING, *GOING) for row in self.state.rows.values())
        now = self._now()
        if now - self._looked < self._look_s or (self.state.adopted and not moving):
            return None
        self._looked = now
        try:
            return list(self._provider.list())
        except ProviderError as error:
            self._complain(str(error))
            return None

    def _act(self, found: Plan, by_machine: dict[str, str]) -> None:
        if found.releases:
            self._try(lambda: self._provider.release(found.releases))
        if found.cancels:
            self._try(lambda: self._provider.cancel(found.cancels))
        for ask in found.asks:
            if not self._is_over:
                self._ask(ask)
        for name in found.drains:
            self._head.drain(by_machine[name])
        for name in found.undrains:
            self._head.undrain(by_machine[name])

    def _ask(self, ask: Ask) -> None:
        kind = next(each for each in self._types if each.name == ask.node_type)
        args = self.state, self._types, ask, self._now()
        try:
            self._provider.ask(kind, ask.names)
        except RefusedError as error:
            self.state = answers.refused(*args, str(error))
        except CapacityError as error:
            self.state = answers.not_now(*args, str(error))
        except ProviderError as error:
            self.state = answers.unknown(*args, str(error))
        else:
            self.state = answers.accepted(*args)

    def _try(self, action: Callable[[], None]) -> None:
        """What fails is done again: the plan says it until the place confirms it."""
        try:
            action()
            self._trouble = ""
        except ProviderError as error:
            self._complain(str(error))

    def _complain(self, text: str) -> None:
        if text != self._trouble:
            self._trouble = text
            self._say(text)

    # -- in words --------------------------------------------------------------------------------
    def _tell(self, found: Plan) -> None:
        said = frozenset(line.text for line in found.explanation)
        for line in found.explanation:
            if line.is_news and line.text not in self._said:
                self._say(line.text)
        changed = said != self._said
        self._said = said
        now = self._now()
        if changed or now - self._shown >= _STATUS_S:
            self._shown = now
            lines = [(line.text, line.detail) for line in found.explanation]
            self._head.show(ElasticStatus(now, lines, self._counts()))

    def _keep(self, load: ClusterLoad) -> None:
        """Now and then, as it grows: it is not needed by the second."""
        coming = sum(row.phase in COMING for row in self.state.rows.values())
        waiting = sum(each.count for each in load.waiting)
        now = self._now()
        self._news |= self._history.note(Moment(now, len(load.nodes), coming, waiting))
        if self._news and now - self._kept_at >= _STATUS_S:
            self._news, self._kept_at = False, now
            self._head.keep_history(self._history.moments)

    def _counts(self) -> dict[str, tuple[int, int, int, int]]:
        rows = self.state.rows.values()
        found = {}
        for kind in self._types:
            mine = [row.phase for row in rows if row.node_type == kind.name]
            up = sum(phase in (Phase.UP, Phase.DRAINING) for phase in mine)
            found[kind.name] = (up, len(mine), kind.min_nodes, kind.max_nodes)
        return found
