"""What `up` does to each machine, and why: a pure function.

Called by `launcher` with what the file wants and what the machines say about themselves; its rows
are what `up` shows before it does anything.  Knows no ssh and no clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum


class Action(Enum):
    """What happens to one machine."""

    START = "start"
    KEEP = "keep"
    UPDATE = "update"
    RESTART = "restart"
    REPLACE = "replace"
    STOP = "stop"
    UNKNOWN = "cannot tell"


@dataclass(frozen=True)
class Prints:
    """What a machine's set-up is made of, each as a hash; empty: never done.

    `launch` is what it was asked for with, `files` the contents of what is copied there, `setup`
    its set-up commands, `start` how its node is started.
    """

    launch: str = ""
    files: str = ""
    setup: str = ""
    start: str = ""


@dataclass(frozen=True)
class Wanted:
    """A machine that the file wants."""

    name: str
    node_type: str
    is_head: bool
    prints: Prints


@dataclass(frozen=True)
class Found:
    """What a machine says about itself.

    Attributes:
        prints: what has been done there so far.
        alive: a node of this cluster runs there.
        cluster_id: the id of the running head that the node belongs to; it changes with each start
            of the head.
        trouble: why the machine cannot be asked; everything else is then unknown.
    """

    prints: Prints = Prints()
    alive: bool = False
    cluster_id: str = ""
    trouble: str = ""


@dataclass(frozen=True)
class Wishes:
    """The options of `up`: leave running nodes alone, or only restart them."""

    no_restart: bool = False
    restart_only: bool = False


@dataclass(frozen=True)
class Row:
    """One machine of the plan.

    `sync` and `setup` say whether files are copied and set-up commands run; the node is (re)started
    unless the action is KEEP, UPDATE, STOP or UNKNOWN.
    """

    name: str
    node_type: str
    is_head: bool
    action: Action
    why: str
    sync: bool = False
    setup: bool = False

    @property
    def starts(self) -> bool:
        """Whether a node is started there."""
        return self.action in (Action.START, Action.RESTART, Action.REPLACE)

    @property
    def acts(self) -> bool:
        """Whether anything is done there."""
        return self.action not in (Action.KEEP, Action.UNKNOWN)


def make_plan(
    wanted: Sequence[Wanted],
    surplus: Sequence[str],
    found: Mapping[str, Found],
    wishes: Wishes = Wishes(),
) -> list[Row]:
    """Decide for every machine.

    Args:
        wanted: what the file wants, the head first.
        surplus: machines that belong to the cluster but not, or no longer, to what is wanted.
        found: what each machine says; one that is missing was never heard of.
        wishes: the options of `up`.

    Returns:
        A row per wanted machine, in the same order, then one per surplus machine with a node.
    """
    rows: list[Row] = []
    head: Row | None = None
    for each in wanted:
        seen = found.get(each.name, Found())
        row = _decide(each, seen, wishes)
        if each.is_head:
            head = row
        elif head is not None:
            row = _with_its_head(row, seen, head, found.get(head.name, Found()))
        rows.append(row)
    rows += [_stop(name, found[name]) for name in surplus if name in found and found[name].alive]
    return rows


def _decide(each: Wanted, seen: Found, wishes: Wishes) -> Row:
    def row(action: Action, why: str, sync: bool = False, setup: bool = False) -> Row:
        return Row(each.name, each.node_type, each.is_head, action, why, sync, setup)

    if seen.trouble:
        return row(Action.UNKNOWN, seen.trouble)
    changed = _changes(each.prints, seen.prints)
    if not seen.alive:
        first = seen.prints == Prints()
        why = "no node has been started there" if first else "its node has ended"
        if wishes.restart_only and not first:
            return row(Action.START, why)
        return row(Action.START, why, sync="files" in changed, setup=_needs_setup(changed))
    if wishes.restart_only:
        return row(Action.RESTART, "--restart-only")
    if not changed:
        return row(Action.KEEP, "nothing has changed")
    why = "changed: " + ", ".join(changed.values())
    sync, setup = "files" in changed, _needs_setup(changed)
    if wishes.no_restart:
        action = Action.UPDATE if sync or setup else Action.KEEP
        return row(action, f"{why}; --no-restart", sync, setup)
    action = Action.REPLACE if "launch" in changed else Action.RESTART
    return row(action, why, sync, setup)


def _changes(now: Prints, before: Prints) -> dict[str, str]:
    """What differs, in the file's own words, by field."""
    words = {"launch": "node_config", "files": "file_mounts", "setup": "set-up commands"}
    words["start"] = "start commands, resources or labels"
    return {
        name: text for name, text in words.items() if getattr(now, name) != getattr(before, name)
    }


def _needs_setup(changed: Mapping[str, str]) -> bool:
    """As in Ray: set-up commands may read what is copied, so new files run them again."""
    return "setup" in changed or "files" in changed


def _with_its_head(row: Row, seen: Found, head: Row, head_seen: Found) -> Row:
    """A worker's row, given what happens to the head: a new head needs new workers."""
    if row.action not in (Action.KEEP, Action.UPDATE):
        return row
    if head.starts:
        return replace(row, action=Action.RESTART, why=f"the head is to {head.action.value}")
    if head_seen.cluster_id and seen.cluster_id != head_seen.cluster_id:
        return replace(row, action=Action.RESTART, why="it belongs to an earlier head")
    return row


def _stop(name: str, seen: Found) -> Row:
    return Row(name, "", False, Action.STOP, "the file does not want it, or not so many workers")
