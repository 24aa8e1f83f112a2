"""The key-value store and the other questions, as a process asks them."""

from __future__ import annotations

import msgspec

from rayhpc.wire.messages import cluster

from .fakes import World


def test_put_get_delete_and_keys() -> None:
    world = World()
    node = world.add_node()
    world.beat()

    def ask(question: object, kind: object) -> object:
        return world.ask(node, question, kind)

    assert ask(cluster.KvPut("s", b"a1", b"x"), bool) is True
    assert ask(cluster.KvPut("s", b"a1", b"y", overwrite=False), bool) is False
    assert ask(cluster.KvGet("s", b"a1"), bytes | None) == b"x"
    assert ask(cluster.KvPut("s", b"a1", b"z"), bool) is False
    assert ask(cluster.KvGet("s", b"a1"), bytes | None) == b"z"
    assert ask(cluster.KvGet("other", b"a1"), bytes | None) is None
    assert ask(cluster.KvPut("s", b"a2", b""), bool) is True
    assert ask(cluster.KvPut("s", b"b", b""), bool) is True
    assert ask(cluster.KvKeys("s", b"a"), list[bytes]) == [b"a1", b"a2"]
    assert ask(cluster.KvDelete("s", b"a", prefix=True), int) == 2
    assert ask(cluster.KvDelete("s", b"a1"), int) == 0
    assert ask(cluster.KvKeys("s", b""), list[bytes]) == [b"b"]


def test_waiting_for_a_key_is_answered_when_it_appears() -> None:
    world = World()
    node = world.add_node()
    world.beat()
    waiting, ended = world.process(node), world.process(node)
    for process in (waiting, ended):
        world.to_head(process, cluster.Request(5, cluster.KvGet("s", b"k", wait=True)))
    node.say(cluster.ProcessDied(ended, "signal 9", False))
    world.run(0.2)
    assert world.inbox == {}
    world.ask(node, cluster.KvPut("s", b"k", b"v"), bool)
    reply = world.last(waiting, cluster.Reply)
    assert (reply.token, msgspec.msgpack.decode(reply.data)) == (5, b"v")
    assert world.told(ended, cluster.Reply) == []


def test_a_question_that_is_not_the_heads_is_answered_with_an_error() -> None:
    world = World()
    node = world.add_node()
    asker = world.process(node)
    world.to_head(asker, cluster.Request(5, cluster.StoreObjects()))
    world.run(0.1)
    reply = world.last(asker, cluster.Reply)
    assert "StoreObjects" in reply.error
