"""Several ranks of one node hand what they have to the first of them."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import replace

import pytest

from rayhpc.allocation.local_ranks import LocalFacts
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.launch import leftovers, local_ranks
from rayhpc.launch.election import Role
from rayhpc.launch.local_ranks import FirstRank
from rayhpc.machine import scratch
from rayhpc.machine.gpus import Gpus

ROLE = Role("7.0.0", 0, 2, 0, 3, 0, 1, ())


def pause(seconds: float) -> None:
    threading.Event().wait(min(seconds, 0.002))


def lender(environ: dict[str, str], rank: int, codes: dict[int, int]) -> threading.Thread:
    def run() -> None:
        role = replace(ROLE, rank=rank, local_rank=rank)
        facts = LocalFacts(frozenset({rank}), Gpus((str(rank),)), 3, None)
        with local_ranks.lend(role, environ, facts, 10.0, pause) as connection:
            codes[rank] = local_ranks.end_of(connection)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_the_first_gathers_and_releases_the_others(environ: dict[str, str]) -> None:
    codes: dict[int, int] = {}
    threads = [lender(environ, rank, codes) for rank in (1, 2)]
    first = FirstRank(ROLE, environ)
    found = first.gather(10.0, pause)
    assert {cpu for facts in found for cpu in facts.affinity} == {1, 2}
    assert sorted(facts.gpus.ids for facts in found) == [("1",), ("2",)]
    assert all(facts.cpus == 3 for facts in found)
    assert codes == {}
    first.release(0)
    for thread in threads:
        thread.join(60)
    assert codes == {1: 0, 2: 0}
    assert list(scratch.session_base(environ).iterdir()) == []


def test_who_only_looks_whether_it_lives_is_no_rank(environ: dict[str, str]) -> None:
    """As `leftovers.sweep` of another start on this node does."""
    codes: dict[int, int] = {}
    first = FirstRank(replace(ROLE, local_size=2), environ)
    (path,) = scratch.session_base(environ).iterdir()
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))
    thread = lender(environ, 1, codes)
    assert [facts.affinity for facts in first.gather(10.0, pause)] == [{1}]
    first.release(0)
    thread.join(60)
    assert codes == {1: 0}


def test_a_socket_that_does_not_listen_yet_stays(environ: dict[str, str]) -> None:
    path = scratch.session_base(environ) / "r0123456789ab"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        assert leftovers.sweep(environ) == []
    os.utime(path, (1, 1))
    assert leftovers.sweep(environ) == [path]


def test_the_first_ranks_death_frees_the_others(environ: dict[str, str]) -> None:
    codes: dict[int, int] = {}
    thread = lender(environ, 1, codes)
    first = FirstRank(replace(ROLE, local_size=2), environ)
    first.gather(10.0, pause)
    for connection in first._others:
        connection.close()
    thread.join(60)
    assert codes == {1: ExitCode.NODE_LOST}
    first.release(0)


def test_a_rank_that_does_not_come_is_missed(environ: dict[str, str]) -> None:
    first = FirstRank(ROLE, environ)
    with pytest.raises(LaunchError, match="2 of this node's 3 ranks"):
        first.gather(0.0, pause)
    first.release(1)


def test_no_first_rank(environ: dict[str, str]) -> None:
    facts = LocalFacts(frozenset({0}), Gpus())
    with pytest.raises(LaunchError, match="first rank"):
        local_ranks.lend(replace(ROLE, local_rank=1), environ, facts, 0.0, pause)


def test_ranks_of_another_step_do_not_meet(environ: dict[str, str]) -> None:
    first = FirstRank(ROLE, environ)
    facts = LocalFacts(frozenset({0}), Gpus())
    with pytest.raises(LaunchError):
        local_ranks.lend(replace(ROLE, name="7.1.0", local_rank=1), environ, facts, 0.0, pause)
    first.release(0)
