"""What `up` decides for each machine, and why."""

from __future__ import annotations

from rayhpc.clusters.plan import Action, Found, Prints, Row, Wanted, Wishes, make_plan

NOW = Prints(files="f", setup="s", start="t")
WANTED = [Wanted("h", "head", True, NOW), Wanted("w", "worker", False, NOW)]
RUNS = Found(NOW, True, "id1")


def rows(head: Found, worker: Found, **wishes: bool) -> tuple[Row, Row]:
    one, two = make_plan(WANTED, [], {"h": head, "w": worker}, Wishes(**wishes))
    return one, two


def old(**changed: str) -> Found:
    from dataclasses import replace

    return Found(replace(NOW, **changed), True, "id1")


def test_a_new_cluster_is_set_up_and_started() -> None:
    for row in rows(Found(), Found()):
        assert (row.action, row.sync, row.setup) == (Action.START, True, True)
        assert row.why == "no node has been started there"


def test_what_is_as_it_should_be_is_kept() -> None:
    assert [row.action for row in rows(RUNS, RUNS)] == [Action.KEEP, Action.KEEP]


def test_a_node_that_has_ended_is_started_without_a_set_up() -> None:
    _, worker = rows(RUNS, Found(NOW, False, "id1"))
    assert (worker.action, worker.sync, worker.setup) == (Action.START, False, False)
    assert worker.why == "its node has ended"


def test_changes_restart_a_node_and_say_which() -> None:
    _, worker = rows(RUNS, old(start="other"))
    assert (worker.action, worker.setup) == (Action.RESTART, False)
    assert worker.why == "changed: start commands, resources or labels"
    _, worker = rows(RUNS, old(files="other"))
    assert (worker.action, worker.sync, worker.setup) == (Action.RESTART, True, True)


def test_no_restart_sets_up_and_leaves_the_node() -> None:
    _, worker = rows(RUNS, old(setup="other"), no_restart=True)
    assert (worker.action, worker.setup, worker.starts) == (Action.UPDATE, True, False)
    _, worker = rows(RUNS, old(start="other"), no_restart=True)
    assert worker.action is Action.KEEP


def test_restart_only_restarts_all_and_sets_nothing_up() -> None:
    for row in rows(RUNS, old(setup="other"), restart_only=True):
        assert (row.action, row.sync, row.setup) == (Action.RESTART, False, False)


def test_a_new_head_takes_its_workers_along() -> None:
    head, worker = rows(old(start="other"), RUNS)
    assert (head.action, worker.action) == (Action.RESTART, Action.RESTART)
    assert worker.why == "the head is to restart"
    _, worker = rows(RUNS, Found(NOW, True, "id0"))
    assert (worker.action, worker.why) == (Action.RESTART, "it belongs to an earlier head")


def test_another_kind_of_machine_replaces() -> None:
    _, worker = rows(RUNS, old(launch="other"))
    assert (worker.action, worker.why) == (Action.REPLACE, "changed: node_config")


def test_a_machine_that_cannot_be_asked_concerns_no_other() -> None:
    head, worker = rows(RUNS, Found(trouble="no route"))
    assert (head.action, worker.action, worker.why) == (Action.KEEP, Action.UNKNOWN, "no route")
    assert not worker.acts


def test_what_the_file_no_longer_has_is_stopped_if_it_runs() -> None:
    found = {"h": RUNS, "w": RUNS, "x": RUNS, "y": Found(NOW)}
    rows = make_plan(WANTED, ["x", "y", "z"], found)
    assert [(row.name, row.action) for row in rows[2:]] == [("x", Action.STOP)]
