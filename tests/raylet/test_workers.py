"""The worker pool: how many are started, who gets which, and when they end."""

from __future__ import annotations

import errno

import pytest

from rayhpc.raylet import forkserver_messages as fork
from rayhpc.raylet import workers as pool
from rayhpc.raylet.ended_workers import EndedWorkers
from rayhpc.raylet.workers import Waiter, WorkerProcess
from rayhpc.wire.address import make_address
from rayhpc.wire.messages import leases
from tests.raylet.doubles import JOB, NODE, Node, job


class Wish:
    """Somebody who wants a worker."""

    def __init__(
        self, node: Node, number: int = JOB, environment: bytes = b"", **what: bool
    ) -> None:
        self.worker: WorkerProcess | None = None
        self.error = ""
        self.waiter = Waiter((number, environment), self.got, self.failed, **what)
        node.workers.acquire(self.waiter)

    def got(self, worker: WorkerProcess) -> None:
        self.worker = worker

    def failed(self, text: str) -> None:
        self.error = text


def node(**more: int) -> Node:
    made = Node(**more)
    made.jobs.add(job())
    return made


def test_at_most_two_plain_workers_wait_on_an_idle_node() -> None:
    n = node(prestart=2, CPU=16)
    n.workers.advance()
    n.workers.advance()
    assert len(n.boot()) == 2
    n.pass_time(100)
    assert not n.spawned


def test_a_plain_worker_becomes_a_jobs_and_stays_it() -> None:
    n = node(prestart=1)
    n.workers.advance()
    n.boot()
    wish = Wish(n)
    assert wish.worker is not None
    assert [m.job.number for m in n.take(leases.AssignJob)] == [JOB]
    n.workers.release(wish.worker)
    n.jobs.add(job(8))
    other = Wish(n, 8)
    assert other.worker is None
    again = Wish(n)
    assert again.worker is wish.worker
    assert n.take(leases.AssignJob) == []


def test_environments_get_workers_of_their_own_with_their_variables() -> None:
    n = node(prestart=1)
    n.workers.advance()
    n.boot()
    environment = b'{"env_vars": {"A": "1"}}'
    wish = Wish(n, environment=environment)
    assert wish.worker is None
    ((_, config, prepared, _),) = n.spawned
    assert prepared.environ == {"A": "1"}
    assert config.facts.environment == environment
    n.boot()
    assert wish.worker is not None
    assert wish.worker.key == (JOB, environment)


def test_the_worker_used_last_is_used_next() -> None:
    n = node()
    wishes = [Wish(n) for _ in range(3)]
    n.boot()
    for wish in wishes:
        n.time += 1
        assert wish.worker is not None
        n.workers.release(wish.worker)
    assert Wish(n).worker is wishes[2].worker


def test_workers_beyond_the_cpus_are_asked_to_end_after_a_while() -> None:
    n = node(CPU=1)
    wishes = [Wish(n) for _ in range(3)]
    n.boot()
    for wish in wishes:
        assert wish.worker is not None
        n.workers.release(wish.worker)
    n.pass_time(5)
    assert n.take(leases.ExitIfIdle) == []
    n.pass_time(6)
    assert len(n.take(leases.ExitIfIdle)) == 2
    leaving = [x for x in n.workers.by_address.values() if x.state == pool.LEAVING]
    # One of them owns what others hold: it stays, and another is asked in its place.
    n.workers.on_still_needed(leaving[0].address)
    n.pass_time(1)
    assert n.take(leases.ExitIfIdle, leaving[0].address) == []
    assert len(n.take(leases.ExitIfIdle)) == 1
    n.workers.on_leaving(leaving[1].address, "idle")
    n.workers.on_ended(leaving[1], "it ended by itself")
    assert n.workers.count() == 2


def test_workers_that_die_at_start_fail_their_waiters_instead_of_being_started_for_ever() -> None:
    n = node()
    wish = Wish(n)
    for _ in range(pool.START_FAILURES_MAX):
        number = n.spawned.popleft()[0]
        worker = n.workers._with_number(number)
        assert worker is not None
        n.workers.on_ended(worker, "it ended with exit code 1")
    assert "exit code 1" in wish.error
    assert not n.spawned


def test_a_worker_that_could_not_be_forked_is_tried_again_later() -> None:
    n = node()
    wish = Wish(n)
    number = n.spawned.popleft()[0]
    n.workers.on_spawn_failed(number, "Resource temporarily unavailable")
    n.workers.advance()
    assert not n.spawned
    n.pass_time(1.1)
    n.boot()
    assert wish.worker is not None


def test_a_worker_for_which_no_descriptor_is_left_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    n = node()

    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(n, "spawn", refuse)
        wish = Wish(n)
    assert n.workers.by_address == {}
    n.pass_time(1.1)
    n.boot()
    assert wish.worker is not None


def test_a_worker_that_is_never_ready_is_killed() -> None:
    n = node()
    Wish(n)
    n.pass_time(61)
    assert n.killed == [1]


def test_slots_are_not_given_to_two() -> None:
    n = node(slots=2)
    wishes = [Wish(n) for _ in range(3)]
    workers = n.boot()
    assert sorted(x.slot for x in workers) == [0, 1]
    assert wishes[2].worker is None
    n.workers.on_ended(workers[0], "gone")
    (third,) = n.boot()
    assert third.slot == workers[0].slot
    assert wishes[2].worker is third


def test_the_end_of_a_job_ends_the_workers_that_nobody_waits_for() -> None:
    n = node()
    idle = Wish(n)
    n.boot()
    assert idle.worker is not None
    n.workers.release(idle.worker)
    waits = Wish(n, environment=b'{"env_vars": {"A": "1"}}')
    waits.waiter.is_cancelled = True
    n.jobs.end(JOB)
    n.workers.on_job_over(JOB)
    assert len(n.take(leases.ExitIfIdle, idle.worker.address)) == 1
    assert len(n.killed) == 1


def test_one_that_stays_for_what_it_has_submitted_hears_of_the_end_of_its_job() -> None:
    n = node()
    wish = Wish(n)
    n.boot()
    assert wish.worker is not None
    n.workers.on_leaving(wish.worker.address, "max_calls reached")
    n.jobs.end(JOB)
    n.workers.on_job_over(JOB)
    assert [x.job_over for x in n.take(leases.ExitIfIdle, wish.worker.address)] == [True]


@pytest.mark.parametrize("drained", [False, True])
def test_one_that_was_sent_sigterm_ends_unless_the_node_is_drained(drained: bool) -> None:
    n = node()
    wish = Wish(n)
    n.boot()
    assert wish.worker is not None
    n.workers.sigterms.note(wish.worker.address)
    deadline = n.workers.deadline()
    assert deadline is not None
    n.pass_time(1.0)
    assert n.killed == []
    n.workers.sigterms.are_for_all = drained
    n.pass_time(deadline - n.time)
    assert n.killed == ([] if drained else [wish.worker.number])
    ended = EndedWorkers()
    ended.note(wish.worker, wish.worker.death, -9)
    assert [x.exit_type for x in ended.rows()] == ["SYSTEM_ERROR"]
    assert drained or "SIGTERM" in wish.worker.death


def test_many_short_tasks_get_the_workers_that_become_free_instead_of_as_many_processes() -> None:
    n = node(CPU=4)
    wishes = [Wish(n) for _ in range(50)]
    assert len(n.spawned) == 8
    other = Wish(n, environment=b'{"env_vars": {"A": "1"}}')
    assert len(n.spawned) == 9, "another kind must not wait for all of these"
    while not all(wish.worker for wish in wishes):
        number = n.spawned.popleft()[0]
        n.workers.on_spawned(number, 5000 + number)
        n.workers.on_ready(make_address(NODE, number), 5000 + number)
        assert len(n.spawned) <= 9
        for worker in list(n.workers.by_address.values()):
            n.workers.release(worker)  # its task is short
    assert n.workers.count() < 25
    n.boot()
    assert other.worker is not None


def test_what_outlives_its_job_still_gets_workers() -> None:
    """A detached actor that is started again, or its tasks."""
    n = node()
    waits = Wish(n)
    n.jobs.end(JOB)
    n.workers.on_job_over(JOB)
    assert n.killed == []
    n.boot()
    assert waits.worker is not None
    later = Wish(n, environment=b'{"env_vars": {"A": "1"}}')
    assert len(n.boot()) == 1
    assert later.worker is not None
    assert not n.spawned
    n.workers.release(later.worker)
    assert len(n.take(leases.ExitIfIdle, later.worker.address)) == 1


def test_nobody_is_forked_while_a_job_and_mostly_its_cluster_ends() -> None:
    n = node(prestart=1)
    n.workers.advance()
    n.boot()
    wish = Wish(n)
    assert wish.worker is not None
    n.workers.release(wish.worker)
    n.workers.on_job_over(JOB)
    n.workers.on_ended(wish.worker, "gone")
    n.workers.advance()
    assert not n.spawned
    due = n.workers.deadline()
    assert due is not None
    n.pass_time(due - n.time)
    assert len(n.boot()) == 1


def test_a_cancelled_wish_leaves_its_worker_to_others() -> None:
    n = node()
    first, second = Wish(n), Wish(n)
    first.waiter.is_cancelled = True
    n.boot()
    assert first.worker is None
    assert second.worker is not None


# -- templates ------------------------------------------------------------------------------------
def test_workers_wait_for_the_template_that_imports_what_the_driver_had() -> None:
    n = Node()
    n.jobs.add(job(preload=["numpy"]))
    wish = Wish(n)
    (made,) = n.templates_made
    assert (made.preload, made.path) == (["numpy"], ["/driver"])
    assert not n.spawned
    template = n.templates._templates[JOB, b""]
    n.templates.on_ready(template, fork.Ready())
    n.workers.advance()
    assert n.spawned[0][3] is template
    n.boot()
    assert wish.worker is not None


def test_an_unfit_template_is_done_without(caplog: object) -> None:
    n = Node()
    n.jobs.add(job(preload=["threads"]))
    Wish(n)
    template = n.templates._templates[JOB, b""]
    n.templates.on_unfit(template, fork.Unfit("threads", "it started a thread"))
    n.templates.on_gone(template)
    n.workers.advance()
    assert n.spawned[0][3] is None
    assert "threads" in caplog.text  # type: ignore[attr-defined]
    assert len(n.templates_made) == 1


def test_a_slow_template_is_not_waited_for_for_ever() -> None:
    n = Node()
    n.jobs.add(job(preload=["slow"]))
    Wish(n)
    deadline = n.workers.deadline()
    assert deadline is not None
    n.pass_time(deadline - n.time + 0.001)
    assert n.spawned[0][3] is None


def test_a_template_leaves_with_the_last_worker_of_its_job() -> None:
    n = Node()
    n.jobs.add(job(preload=["numpy"]))
    wish = Wish(n)
    template = n.templates._templates[JOB, b""]
    n.templates.on_ready(template, fork.Ready())
    n.workers.advance()
    n.boot()
    n.jobs.end(JOB)
    n.workers.on_job_over(JOB)
    assert not template.channel.is_closed  # type: ignore[attr-defined]
    assert wish.worker is not None
    n.workers.on_ended(wish.worker, "gone")
    assert template.channel.is_closed  # type: ignore[attr-defined]


def test_templates_of_many_environments_do_not_pile_up() -> None:
    n = Node(slots=1000)
    n.jobs.add(job(preload=["numpy"]))
    for i in range(30):
        wish = Wish(n, environment=b'{"env_vars": {"A": "%d"}}' % i)
        template = n.templates.with_channel(n.channels[-1])
        assert template is not None
        n.templates.on_ready(template, fork.Ready())
        n.workers.advance()
        n.boot()
        assert wish.worker is not None
        n.workers.on_ended(wish.worker, "gone")
    assert sum(not x.is_closed for x in n.channels) <= 8


def test_an_actor_gets_a_process_that_has_run_nothing() -> None:
    n = node(CPU=2)
    task = Wish(n)
    n.boot()
    assert task.worker is not None
    n.workers.release(task.worker)
    actor, second = Wish(n, fresh=True), Wish(n)
    assert second.worker is task.worker
    n.boot()
    assert actor.worker is not None
    assert actor.worker is not task.worker
    n.workers.release(second.worker)
    others = [Wish(n, fresh=True) for _ in range(2)]
    n.boot()
    assert len({x.worker.number for x in (task, actor, *others) if x.worker}) == 4


def test_who_gets_gpus_gets_no_process_that_has_seen_none() -> None:
    n = node(CPU=2)
    seeing = Wish(n, gpus=True)
    n.boot()
    assert seeing.worker is not None
    n.workers.release(seeing.worker)
    again = Wish(n, gpus=True)
    assert again.worker is seeing.worker
    n.workers.release(again.worker)
    blind = Wish(n)
    assert blind.worker is seeing.worker
    n.workers.release(blind.worker)
    later = Wish(n, gpus=True)
    assert later.worker is None
    n.boot()
    assert later.worker is not seeing.worker
    assert later.worker is not None


def test_where_there_can_be_no_more_workers_one_that_idles_goes() -> None:
    n = node(slots=2, CPU=4)
    first, second = Wish(n), Wish(n)
    n.boot()
    assert first.worker is not None
    assert second.worker is not None
    n.workers.release(first.worker)
    actor = Wish(n, fresh=True)
    assert [a for a, m in n.sent if isinstance(m, leases.ExitIfIdle)] == [first.worker.address]
    n.workers.on_ended(first.worker, "idle")
    n.boot()
    assert actor.worker is not None
    assert actor.worker.number not in (first.worker.number, second.worker.number)


def test_and_who_waits_in_vain_is_told_so_once() -> None:
    n = node(slots=1, CPU=4)
    first = Wish(n)
    n.boot()
    texts: list[str] = []
    second = Wish(n)
    second.waiter.crowded = texts.append
    n.pass_time(pool.CROWDED_AFTER_S / 2)
    assert texts == []
    assert n.workers.deadline() == n.time + pool.CROWDED_AFTER_S / 2
    n.pass_time(pool.CROWDED_AFTER_S / 2)
    n.pass_time(pool.CROWDED_AFTER_S)
    assert len(texts) == 1
    assert "1 workers and can have no more" in texts[0]
    assert first.worker is not None
    n.workers.release(first.worker)
    assert second.worker is first.worker
