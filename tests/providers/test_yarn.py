"""What the provider says to the ApplicationMaster, which is the other end of a socket here."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayhpc.batch.errors import OptionError
from rayhpc.batch.yarn import talk
from rayhpc.batch.yarn.resizer import YarnResizer
from rayhpc.elastic.types import Machine, MachineState, NodeType
from rayhpc.providers.base import ClusterFacts, ProviderError
from rayhpc.providers.yarn.provider import PROVIDER, YarnProvider

WORKER = NodeType("worker", max_nodes=8)
PENDING, RUNNING, ENDED = talk.RankState.PENDING, talk.RankState.RUNNING, talk.RankState.ENDED


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The ApplicationMaster's, and rank 0's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def master(ends: tuple[socket.socket, socket.socket]) -> socket.socket:
    return ends[0]


@pytest.fixture
def resizer(ends: tuple[socket.socket, socket.socket]) -> YarnResizer:
    return YarnResizer(ends[1])


@pytest.fixture
def provider(resizer: YarnResizer) -> YarnProvider:
    """Of a job that began with two ranks."""
    return YarnProvider(resizer, ["worker"], 2)


def heard(master: socket.socket) -> talk.FromRankZero:
    return talk.from_rank_zero(master.recv(1 << 16))


def answering(master: socket.socket, rows: list[talk.AddedRank]) -> threading.Thread:
    """Answers questions about these ranks until the last part has been given."""

    def answer() -> None:
        while True:
            question = heard(master)
            assert isinstance(question, talk.LookAtRanks)
            part = [each for each in rows if each.rank > question.after][: talk.MOST_ROWS]
            master.send(talk.encode(talk.Ranks(question.number, part)))
            if len(part) < talk.MOST_ROWS:
                return

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    return thread


def test_machines_are_ranks_after_the_first(master: socket.socket, provider: YarnProvider) -> None:
    provider.ask(WORKER, ["worker-1", "worker-2"])
    for rank in (2, 3):
        labels = {"rayhpc.io/machine": f"worker-{rank - 1}", "rayhpc.io/node-type": "worker"}
        assert heard(master) == talk.AddRank(rank, labels)
    provider.cancel(["worker-1"])
    provider.release(["worker-2"])
    assert heard(master) == talk.RemoveRank(2, if_pending=True)
    assert heard(master) == talk.RemoveRank(3)


def test_they_are_listed_as_the_master_has_them(
    master: socket.socket, provider: YarnProvider
) -> None:
    rows = [
        talk.AddedRank(2, RUNNING, "h1"),
        talk.AddedRank(3, PENDING, reason="the queue is full"),
        talk.AddedRank(4, ENDED, reason="killed"),
    ]
    answering(master, rows)
    assert provider.list() == [
        Machine("worker-1", "worker", MachineState.RUNNING, "h1"),
        Machine("worker-2", "worker", MachineState.PENDING, None, "the queue is full"),
        Machine("worker-3", "worker", MachineState.ENDED, None, "killed"),
    ]
    answering(master, rows)
    assert provider.explain("worker-2") == "worker-2 is pending: the queue is full"
    answering(master, rows)
    assert provider.explain("worker-9") == "there is no container for worker-9 (any more)"


def test_many_are_listed_in_parts(master: socket.socket, provider: YarnProvider) -> None:
    answering(master, [talk.AddedRank(rank, RUNNING, "h") for rank in range(2, 252)])
    assert [each.name for each in provider.list()] == [f"worker-{n}" for n in range(1, 251)]


def test_what_is_to_leave_is_heard_between_answers(
    master: socket.socket, resizer: YarnResizer, provider: YarnProvider
) -> None:
    master.send(talk.encode(talk.Drain(7)))
    answering(master, [])
    assert provider.list() == []
    assert resizer.leaving(5.0) == 7
    assert resizer.leaving(0.0) is None


def test_a_master_that_is_gone_is_said(
    master: socket.socket, resizer: YarnResizer, provider: YarnProvider
) -> None:
    master.close()
    with pytest.raises(ProviderError, match="the ApplicationMaster is gone"):
        provider.list()
    with pytest.raises(EOFError):
        resizer.leaving(5.0)


def test_outside_a_job_of_ours_there_is_no_provider(tmp_path: Path) -> None:
    facts = ClusterFacts("rayhpc-5", "10.0.0.1:7", tmp_path / "key", tmp_path, "/tmp")
    with pytest.raises(OptionError, match="YARN adds nodes only to a job of its own"):
        PROVIDER.open(facts, [WORKER])


def test_machines_of_several_types_take_turns_and_have_their_types_options(
    master: socket.socket, resizer: YarnResizer
) -> None:
    provider = YarnProvider(resizer, ["small", "big"], 1, alike=False)
    big = NodeType("big", {"CPU": 40_000, "disk": 10_000}, {"team": "a, b"})
    provider.ask(big, ["big-1", "big-2"])
    options = ["--num-cpus=4", '--resources={"disk": 1.0}', '--labels={"team": "a, b"}']
    for rank in (2, 4):
        added = heard(master)
        assert isinstance(added, talk.AddRank)
        assert (added.rank, added.options) == (rank, options)
    answering(master, [talk.AddedRank(1, PENDING), talk.AddedRank(4, RUNNING, "h")])
    assert [each.name for each in provider.list()] == ["small-1", "big-2"]


def test_a_node_types_options_are_the_requests() -> None:
    options = {"queue": "q", "memory": "4 GiB", "vcores": 2, "gpus": 1, "node_label": "fast"}
    kind = NodeType("head", options={**options, "archive": "env.tar.gz"})
    assert PROVIDER.job_fields(kind) == {
        "partition": "q",
        "mem": "4G",
        "cpus_per_node": 2,
        "gpus_per_node": "1",
        "constraint": "fast",
        "further": {"yarn": ("--archive=env.tar.gz",)},
    }
    assert PROVIDER.job_words(kind)[:2] == ["--queue=q", "--memory=4 GiB"]
