"""References are counted by their owner, borrowers included; nothing is told too early."""

from __future__ import annotations

import random
from typing import Any

import pytest

from rayhpc.exceptions import RaySystemError
from rayhpc.runtime.owner import failures
from rayhpc.runtime.owner.entries import ERROR, INLINE, PENDING, STORED, Entry
from rayhpc.runtime.owner.ownership import Ownership
from rayhpc.runtime.owner.pending import Pending
from rayhpc.runtime.values.errors import load_error
from rayhpc.wire.address import NONCE_BYTES, make_address, make_object_id, raylet_of
from rayhpc.wire.messages import leases, objects
from tests.runtime.fakes import no_values

ME, THEM, THIRD = make_address(1, 1), make_address(1, 2), make_address(2, 5)
MINE, THEIRS = make_object_id(ME, 1), make_object_id(THEM, 1)


class Table(Ownership):
    """An `Ownership` that notes what it sends."""

    def __init__(self, me: int = ME, again: bool = False) -> None:
        self.sent: list = []
        send = self._note
        error = None if again else failures.lost(objects.LOST, MINE)
        inline = no_values(send)
        super().__init__(me, bytes(NONCE_BYTES), send, inline, lambda _, __: error, failures.lost)
        self.events.clear()

    def _note(self, to: int, message: Any) -> None:
        self.sent.append((to, message))

    def take(self, kind: type) -> list:
        found = [x for x in self.sent if isinstance(x[1], kind)]
        self.sent = [x for x in self.sent if not isinstance(x[1], kind)]
        return found


@pytest.fixture
def table() -> Table:
    return Table()


def born(table: Table, oid: bytes, value: bytes | None = None) -> None:
    table.events.append((oid, value, False, 0))
    table.settle()


def dies(table: Table, oid: bytes) -> None:
    table.events.append(oid)
    table.settle()


def test_a_stored_object_is_freed_with_its_last_reference(table: Table) -> None:
    table.add(MINE, Entry())
    table.resolve(MINE, STORED, 1, 10)
    born(table, MINE)
    dies(table, MINE)
    assert table.take(objects.Free) == []
    dies(table, MINE)
    assert table.take(objects.Free) == [(raylet_of(1), objects.Free([MINE]))]
    assert table.table == {}


def test_a_reference_that_dies_before_its_result_leaves_nothing(table: Table) -> None:
    table.add(MINE, Entry())
    dies(table, MINE)
    assert MINE in table.table
    table.resolve(MINE, STORED, 1, 10)
    table.settle()
    assert table.table == {}
    assert table.take(objects.Free)


def test_a_borrower_keeps_the_object_until_it_returns_it(table: Table) -> None:
    table.add(MINE, Entry())
    table.resolve(MINE, INLINE, b"v")
    table.on_borrow(objects.Borrow(4, [MINE], THIRD))
    assert table.take(objects.Borrowed) == [(THIRD, objects.Borrowed(4))]
    assert table.take(leases.Watch) == [(raylet_of(2), leases.Watch(THIRD, ME))]
    dies(table, MINE)
    assert MINE in table.table
    table.on_return(objects.Return([MINE], THIRD))
    assert table.table == {}


def test_a_return_that_overtakes_its_borrow_cancels_it(table: Table) -> None:
    table.add(MINE, Entry())
    table.resolve(MINE, INLINE, b"v")
    table.on_return(objects.Return([MINE], THIRD))
    table.on_borrow(objects.Borrow(1, [MINE], THIRD))
    dies(table, MINE)
    assert table.table == {}


def test_a_borrowers_death_drops_its_claims(table: Table) -> None:
    table.add(MINE, Entry())
    table.resolve(MINE, INLINE, b"v")
    table.on_borrow(objects.Borrow(1, [MINE], THIRD))
    dies(table, MINE)
    table.on_node_gone(2)
    assert table.table == {}


def test_nothing_is_given_back_while_a_claim_is_not_acknowledged(table: Table) -> None:
    other = make_object_id(THEM, 2)
    born(table, THEIRS)
    born(table, other)
    (_, first), (_, second) = table.take(objects.Borrow)
    dies(table, other)
    table.after_borrows(THIRD, objects.Unpin([]))
    assert table.take(objects.Return) == []
    table.on_borrowed(objects.Borrowed(first.token))
    assert table.take(objects.Return) == []
    table.on_borrowed(objects.Borrowed(second.token))
    assert [type(m) for _, m in table.sent if not isinstance(m, leases.Watch)] == [
        objects.Return,
        objects.Unpin,
    ]


def test_what_came_and_went_between_two_looks_is_told_to_nobody(table: Table) -> None:
    table.events.append((THEIRS, None, False, 0))
    table.events.append(THEIRS)
    table.settle()
    assert table.sent == []
    assert table.table == {}


def test_a_small_value_travels_with_the_reference(table: Table) -> None:
    born(table, THEIRS, b"value")
    assert table.table[THEIRS].state == INLINE
    assert table.travelling_value(THEIRS) == (b"value", False, 0)


def test_a_raylet_that_asks_early_is_told_when_it_is_known(table: Table) -> None:
    table.add(MINE, Entry())
    table.on_ask(objects.Ask(MINE))
    assert table.take(objects.Tell) == []
    table.resolve(MINE, INLINE, b"v")
    assert table.take(objects.Tell) == [(raylet_of(1), objects.Tell(MINE, objects.VALUE, b"v"))]
    table.on_ask(objects.Ask(make_object_id(ME, 99)))
    assert table.take(objects.Tell)[0][1].kind == objects.FREED


def test_a_lost_object_is_made_again_or_becomes_an_error() -> None:
    for again, state in ((True, PENDING), (False, ERROR)):
        table = Table(again=again)
        table.add(MINE, Entry(task=Pending(MINE, b"", None, 1, 0, "f")))
        table.resolve(MINE, STORED, 1, 10)
        table.on_copies_lost(objects.CopiesLost([MINE]))
        assert table.table[MINE].state == state


@pytest.mark.parametrize("seed", range(50))
def test_three_processes_that_pass_references_around_end_with_nothing(seed: int) -> None:
    """Messages between each pair keep their order; everything else is reordered at random."""
    rng = random.Random(seed)
    people = {a: Table(a) for a in (ME, THEM, THIRD)}
    queues: dict[tuple[int, int], list] = {}
    held: list[tuple[int, bytes]] = []
    for i, owner in enumerate(people):
        oid = make_object_id(owner, i + 1)
        people[owner].add(oid, Entry())
        people[owner].resolve(oid, INLINE, b"v")
        held.append((owner, oid))

    def collect() -> None:
        for source, table in people.items():
            table.settle()
            for to, message in table.sent:
                if to in people:
                    queues.setdefault((source, to), []).append(message)
            table.sent = []

    def deliver() -> None:
        ready = [k for k, q in queues.items() if q]
        if not ready:
            return
        source, to = key = rng.choice(ready)
        message = queues[key].pop(0)
        handler = {
            objects.Borrow: "on_borrow",
            objects.Borrowed: "on_borrowed",
            objects.Return: "on_return",
        }.get(type(message))
        if handler is not None:
            people[source and to].__getattribute__(handler)(message)
        collect()

    # `events` is one queue per process; here three tables share it, so each gets its own.
    for table in people.values():
        table.events = type(table.events)()
    for _ in range(200):
        action = rng.random()
        if action < 0.4 and held:
            _, oid = rng.choice(held)
            # Given by somebody who holds it and goes on holding it until the claim stands.
            receiver = rng.choice(list(people))
            people[receiver].events.append((oid, None, False, 0))
            held.append((receiver, oid))
            collect()
            while people[receiver].borrows_pending():
                deliver()
        elif action < 0.7 and held:
            holder, oid = held.pop(rng.randrange(len(held)))
            people[holder].events.append(oid)
            collect()
        else:
            deliver()
        for holder, oid in held:
            assert oid in people[holder].table, "freed while somebody held it"
            assert people[holder].table[oid].state != ERROR
    for holder, oid in held:
        people[holder].events.append(oid)
    collect()
    while any(queues.values()):
        deliver()
    assert all(not table.table for table in people.values()), f"seed {seed} leaks"


def test_a_value_that_travels_is_taken_by_a_claim_that_was_there_before(table: Table) -> None:
    born(table, THEIRS)
    assert table.table[THEIRS].state == PENDING
    seen = []
    table.table[THEIRS].when_ready(lambda: seen.append(1))
    born(table, THEIRS, b"value")
    entry = table.table[THEIRS]
    assert (entry.state, entry.value, entry.count, seen) == (INLINE, b"value", 2, [1])
    born(table, THEIRS, b"value")
    assert len(table.take(objects.Borrow)) == 1


def test_a_copy_of_a_run_that_died_goes_with_the_small_value_of_the_next(table: Table) -> None:
    task = Pending(MINE, b"", None, 1, 1, "f")
    task.leftover = True
    table.add(MINE, Entry(task))
    table.resolve(MINE, INLINE, b"v")
    dies(table, MINE)
    assert table.take(objects.Free) == [(raylet_of(1), objects.Free([MINE]))]


def test_a_return_that_comes_after_its_senders_end_does_not_stay(table: Table) -> None:
    table.add(MINE, Entry())
    table.resolve(MINE, STORED, 1, 10)
    table.on_borrow(objects.Borrow(1, [MINE], THIRD))
    table.on_process_died(THIRD)
    table.take(leases.Watch)
    table.on_return(objects.Return([MINE], THIRD))
    assert table.take(leases.Watch) == [(raylet_of(2), leases.Watch(THIRD, ME))]
    table.on_process_died(THIRD)
    dies(table, MINE)
    assert table.table == {}


def test_a_reference_of_another_cluster_is_an_error_and_nobody_is_asked(table: Table) -> None:
    for owner in (ME, THEM):
        foreign = make_object_id(owner, 1, b"another one!")
        born(table, foreign, b"value")
        with pytest.raises(RaySystemError, match="has left"):
            raise load_error(table.table[foreign].value)
        dies(table, foreign)
        assert foreign not in table.table
        with pytest.raises(RaySystemError, match="has left"):
            table.travelling_value(foreign)
    assert table.sent == []
