"""`rayhpc run` where ranks are missing, fail or find what an earlier start has left."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from rayhpc.exit_codes import ExitCode
from tests.launch.processes import family, left_of, names_in, until
from tests.launch.ranks import Ranks, finished, python


def test_a_signal_while_ranks_are_missing_gives_up(ranks: Ranks) -> None:
    head = ranks.start(0, 2, program=["true"])
    until(lambda: names_in(ranks.meeting) != [])
    known = ranks.family()
    head.send_signal(signal.SIGTERM)
    code, _, err = finished(head)
    assert code == ExitCode.CANCELLED
    assert "SIGTERM" in err
    assert left_of(known) == []
    assert names_in(ranks.base) == []


def test_too_few_nodes_in_time_says_who_is_missing(ranks: Ranks) -> None:
    head = ranks.start(0, 3, "--start-timeout", "2", program=["true"])
    other = ranks.start(1, 3, program=["true"])
    code, _, err = finished(head)
    assert code == ExitCode.TOO_FEW_NODES
    assert "2 of 3 nodes joined" in err
    assert "node 2: no word from it" in err
    assert finished(other)[0] == 0


def test_min_nodes_is_enough(ranks: Ranks) -> None:
    head = ranks.start(0, 3, "--min-nodes", "2", program=python("print('ran')"))
    other = ranks.start(1, 3, program=["true"])
    code, out, err = finished(head)
    assert (code, out) == (0, "ran\n")
    assert "2 of 3 nodes" in err
    assert finished(other)[0] == 0


def test_a_rank_that_cannot_start_ends_the_wait_at_once(ranks: Ranks) -> None:
    """`finished` waits for half of --start-timeout."""
    head = ranks.start(0, 2, program=["true"])
    other = ranks.start(1, 2, "--object-store-memory", "800T", program=["true"])
    code, _, err = finished(head)
    assert code == ExitCode.TOO_FEW_NODES
    assert "does not fit" in err
    code, _, err = finished(other)
    assert code == ExitCode.CONFIGURATION
    assert "does not fit" in err


def test_a_head_that_cannot_start_tells_the_others(ranks: Ranks) -> None:
    other = ranks.start(1, 2, program=["true"])
    head = ranks.start(0, 2, "--object-store-memory", "800T", program=["true"])
    assert finished(head)[0] == ExitCode.CONFIGURATION
    code, _, err = finished(other)
    assert code == ExitCode.CONFIGURATION
    assert "rank 0" in err
    assert "does not fit" in err


def test_no_rank_waits_for_rank_0_if_that_was_killed(ranks: Ranks) -> None:
    """Before it has written anything, or before all have read it."""
    other = ranks.start_as_step(1, 3, program=["true"])
    head = ranks.start_as_step(0, 3, program=["true"])
    until(lambda: ranks.meeting.exists() or head.poll() is not None)
    os.kill(head.pid, signal.SIGKILL)
    late = ranks.start_as_step(2, 3, program=["true"])
    for process in (other, late):
        code, _, err = finished(process)
        assert code == ExitCode.HEAD_LOST
        assert "was killed before all nodes had joined" in err


def test_no_rank_waits_where_rank_0_cannot_say_that_it_failed(ranks: Ranks) -> None:
    place = "/not/there/meeting"
    ranks.meeting = Path(place)
    others = [ranks.start(rank, 3, program=["true"]) for rank in (1, 2)]
    head = ranks.start(0, 3, program=["true"])
    assert finished(head)[0] == ExitCode.RENDEZVOUS
    # Within 60 s: not the 120 s of --start-timeout.
    for other in others:
        code, _, err = finished(other)
        assert code == ExitCode.RENDEZVOUS
        assert place in err
        assert "--rendezvous" in err


def test_a_head_whose_node_has_a_rank_that_cannot_start_tells_the_others(ranks: Ranks) -> None:
    """Two ranks of its node see their GPUs by different variables; there is no head yet."""
    first = ranks.start_as_step(0, 4, local=2, program=["true"], CUDA_VISIBLE_DEVICES="0")
    second = ranks.start_as_step(1, 4, local=2, program=["true"], ROCR_VISIBLE_DEVICES="0")
    others = [ranks.start_as_step(rank, 4, local=2, program=["true"]) for rank in (2, 3)]
    for process in (first, second, *others):
        code, _, err = finished(process)
        assert code == ExitCode.CONFIGURATION, err


def test_a_program_that_is_not_there(ranks: Ranks) -> None:
    head = ranks.start(0, 1, program=["pithon"])
    code, _, err = finished(head)
    assert code == ExitCode.CONFIGURATION
    assert "pithon" in err
    assert names_in(ranks.base) == []


def _told(record: Path) -> str:
    """What is in a file that others remove and write anew."""
    try:
        return record.read_text()
    except FileNotFoundError:
        return ""


def test_a_stale_record_of_a_head_that_is_gone(ranks: Ranks) -> None:
    """The record of an earlier start that had no time to remove it."""
    first = ranks.start(0, 2, program=["true"])
    record = ranks.meeting / "local.0.0.key"
    until(record.exists)
    stale = record.read_bytes()
    known = family(first.pid)
    first.kill()
    first.wait()
    # While it ends, the head may still take a node, which then ends with it.
    assert not left_of(known)
    until(lambda: "was killed" in _told(record))
    record.write_bytes(stale)
    record.chmod(0o600)

    other = ranks.start(1, 2, program=["true"])
    until(lambda: len(family(other.pid)) > 1)
    head = ranks.start(0, 2, program=python("print('ran')"))
    code, out, err = finished(head)
    assert (code, out) == (0, "ran\n"), err
    assert finished(other)[0] == 0
