"""What workers printed, read through the listings; what actors that show themselves are called."""

from __future__ import annotations

import itertools
import sys
from typing import Any

import pytest

import rayhpc
from rayhpc.util import state
from tests.util.test_state import until

pytestmark = pytest.mark.usefixtures("cluster")


@rayhpc.remote
class Speaker:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name

    def say(self, *words: str) -> None:
        for word in words:
            print(word, flush=True)


def text_of(**whose: Any) -> str:
    return "".join(str(x) for x in state.get_log(**whose))


def test_the_lines_of_an_actor_a_worker_and_a_node() -> None:
    (speaker, other) = [Speaker.remote(f"speaker {i}") for i in range(2)]
    rayhpc.get([speaker.say.remote("one", "two", "three"), other.say.remote("none of it")])
    actor = speaker._actor_id.hex()
    assert until(lambda: text_of(actor_id=actor), lambda x: "three" in x) == "one\ntwo\nthree\n"
    assert text_of(actor_id=actor, tail=2) == "two\nthree\n"
    row = state.get_actor(actor)
    assert row is not None
    assert text_of(node_id=row.node_id, pid=row.pid) == "one\ntwo\nthree\n"
    whole = text_of(node_id=row.node_id, filename="node.log")
    assert f"(speaker 0 pid={row.pid}) two\n" in whole
    assert "none of it" in whole
    (data,) = state.get_log(node_id=row.node_id, filename="node.log", encoding=None)
    assert isinstance(data, bytes)


def test_the_lines_of_a_task_and_what_follows_them() -> None:
    @rayhpc.remote
    def speaks(word: str) -> tuple[str, int]:
        import os

        print(word, file=sys.stderr, flush=True)
        return rayhpc.get_runtime_context().get_task_id(), os.getpid()

    task, pid = rayhpc.get(speaks.options(name="speaks").remote("here"))
    until(lambda: state.get_task(task), lambda x: x is not None and x.worker_pid)
    assert until(lambda: text_of(task_id=task)) == "here\n"
    (node,) = state.list_nodes()
    lines = state.get_log(node_ip=node.node_ip, pid=pid, follow=True, _interval=0.01)
    assert "here" in next(lines)
    again = [rayhpc.get(speaks.remote(f"again {i}"))[1] for i in range(3)]
    wanted = [f"again {i}\n" for i, by in enumerate(again) if by == pid]
    found = "".join(itertools.islice((str(x) for x in lines), 1 if wanted else 0))
    assert "".join(wanted).startswith(found)


def test_what_there_is_and_what_there_is_not() -> None:
    (node,) = state.list_nodes()
    assert state.list_logs(node_id=node.node_id) == {"raylet": ["node.log"]}
    assert state.list_logs(node_ip=node.node_ip, glob_filter="worker*") == {}
    with pytest.raises(ValueError, match="list_nodes"):
        state.list_logs(node_id="f" * 56)
    with pytest.raises(ValueError, match="At least one of node ip and node id"):
        state.get_log(filename="node.log")
    with pytest.raises(ValueError, match=r"'\.\./record' is no log file"):
        state.get_log(node_id=node.node_id, filename="../record")
    with pytest.raises(ValueError, match="no actor"):
        state.get_log(actor_id="f" * 32)


def test_calls_are_listed_by_what_their_actor_shows() -> None:
    speaker = Speaker.remote("Anna")
    ref = speaker.say.remote()
    named = speaker.say.options(name="another name").remote()
    rayhpc.get([ref, named])

    def names() -> set[str]:
        rows = state.list_tasks(filters=[("actor_id", "=", speaker._actor_id.hex())])
        return {x.name for x in rows}

    wanted = {"Anna.say", "another name", "Speaker.__init__"}
    assert until(names, lambda x: len(x) == len(wanted)) == wanted
    task = ref.task_id().hex()
    (row,) = state.list_tasks(filters=[("task_id", "=", task)])
    assert row.func_or_class_name == "Speaker.say"
