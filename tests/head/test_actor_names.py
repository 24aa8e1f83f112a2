"""Names of actors: one actor for each, in each namespace, and free again once it has ended."""

from __future__ import annotations

from rayhpc.wire.messages import actors, cluster
from rayhpc.wire.messages.actors import ALIVE

from .fakes import cluster_of


def test_a_taken_name_is_refused_in_words_and_another_namespace_is_free() -> None:
    world, _, driver = cluster_of(1)
    world.create(driver, name="n", namespace="a")
    world.create(driver, name="n", namespace="b")
    world.run(0.1)
    second = world.create(driver, name="n", namespace="a")
    world.run()
    refused = [m for m in world.told(driver, actors.ActorCreated) if m.error]
    assert [m.actor for m in refused] == [second]
    assert "'n' is already taken" in refused[0].error
    assert world.state(second) == ""


def test_get_if_exists_from_many_at_once_gives_exactly_one() -> None:
    world, nodes, _ = cluster_of(3)
    creators = [world.process(n) for n in nodes for _ in range(5)]
    for creator in creators:
        world.create(creator, name="one", namespace="a", get_if_exists=True)
    world.run()
    answers = [world.last(c, actors.ActorCreated) for c in creators]
    assert all(a.error == "" for a in answers)
    assert len({a.actor for a in answers}) == 1
    assert sum(a.existing is None for a in answers) == 1
    existing = next(a.existing for a in answers if a.existing is not None)
    assert existing.methods == b"methods"
    assert existing.args == b""
    assert sum(len(n.living) for n in nodes) == 1


def test_a_name_is_free_again_after_kill_and_after_the_last_handle() -> None:
    world, nodes, driver = cluster_of(1)
    killed = world.create(driver, name="k", namespace="a")
    dropped = world.create(driver, name="d", namespace="a")
    world.run()
    names = world.ask(nodes[0], cluster.NamedActors(""), list[tuple[str, str]])
    assert sorted(names) == [("a", "d"), ("a", "k")]
    world.to_head(driver, actors.KillActor(killed))
    world.to_head(driver, actors.ActorUnreferenced(dropped))
    found = world.ask(nodes[0], cluster.FindActor("k", "a"), actors.ActorRow | None)
    assert found is None
    again = [world.create(driver, name=n, namespace="a") for n in ("k", "d")]
    world.run()
    assert [world.state(a) for a in again] == [ALIVE, ALIVE]
    row = world.ask(nodes[0], cluster.FindActor("d", "a"), actors.ActorRow | None)
    assert (row.spec.actor, row.spec.methods) == (again[1], b"methods")
