"""The page of one function, and of one actor: the same views, of its runs only."""

from __future__ import annotations

import dataclasses

import msgspec
import numpy as np

from rayhpc.observe.snapshot import Column, Runs, Snapshot
from rayhpc.observe.views.actors import ActorRow, actors
from rayhpc.observe.views.failures import FailureRow, failures
from rayhpc.observe.views.functions import FunctionRow, LongRun, functions, latest, longest, waits


class FunctionPage(msgspec.Struct, frozen=True):
    """One function or method; `functions` has one row, or none if none of its runs is kept."""

    name: str
    functions: list[FunctionRow]
    longest: list[LongRun]
    latest: list[LongRun]
    failures: list[FailureRow]


class ActorPage(msgspec.Struct, frozen=True):
    """One actor; `actors` has one row, or none if it is unknown; `functions` has its methods."""

    actor: str
    actors: list[ActorRow]
    functions: list[FunctionRow]
    longest: list[LongRun]
    latest: list[LongRun]
    failures: list[FailureRow]


def function_page(snapshot: Snapshot, name: str) -> FunctionPage:
    """Everything about one function."""
    number = snapshot.functions.index(name) if name in snapshot.functions else -1
    own = _only(snapshot, snapshot.runs.function == number)
    return FunctionPage(
        name=name,
        functions=[x for x in functions(own) if x.name == name],
        longest=longest(own),
        latest=latest(own),
        failures=failures(own),
    )


def actor_page(snapshot: Snapshot, actor: str) -> ActorPage:
    """Everything about one actor, given its id in hex.  Raises ValueError if that is malformed."""
    key = bytes.fromhex(actor)
    number = snapshot.actor_ids.index(key) if key in snapshot.actor_ids else -2
    known = dataclasses.replace(snapshot, actors=[x for x in snapshot.actors if x.actor == key])
    own = _only(known, snapshot.runs.actor == number)
    return ActorPage(
        actor=actor,
        actors=actors(own).rows,
        functions=[x for x in functions(own) if x.count],
        longest=longest(own),
        latest=latest(own),
        failures=failures(own),
    )


def _only(snapshot: Snapshot, chosen: Column) -> Snapshot:
    """The same snapshot with only some of the runs, without the references they took."""
    runs = snapshot.runs
    columns = {x.name: getattr(runs, x.name) for x in dataclasses.fields(Runs)}
    kept = {name: column[chosen] for name, column in columns.items() if len(column) == len(chosen)}
    kept["sources"] = runs.sources[:0]
    kept["first_source"] = np.zeros(int(np.count_nonzero(chosen)) + 1, dtype=np.int64)
    own = dataclasses.replace(snapshot, runs=Runs(**kept))
    # What made their arguments is not among them.
    arguments, room = waits(snapshot)
    own.known[waits] = arguments[chosen], room[chosen]
    return own
