"""Clusters of `rayhpc up` on a real SLURM whose jobs are cancelled or killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.slurm.test_up import queue, workers, write
from tests.slurm.user import User, eventually

pytestmark = pytest.mark.slow


@contextmanager
def cluster(user: User, name: str) -> Iterator[None]:
    """Brought up, and in the end taken down."""
    user.rayhpc("up", "-y", "cluster.yaml", check=True)
    try:
        yield
    finally:
        ended = user.rayhpc("down", "-y", name)
    assert ended.returncode == 0, ended.stderr
    assert not queue(user)


def tasks(user: User, name: str) -> list[str]:
    """The jobs of its workers that run."""
    words = ["--noheader", f"--name=rayhpc-{name}-worker", "--states=R", "--format=%i"]
    return user.run("squeue", *words, check=True).stdout.split()


def test_jobs_that_are_cancelled(lab_user: User) -> None:
    name = write(lab_user, "job", least=1)
    with cluster(lab_user, name):
        assert eventually(lambda: tasks(lab_user, name), 30)
        (first,) = tasks(lab_user, name)
        assert eventually(lambda: workers(lab_user, name) == 1, 30)
        lab_user.run("scancel", first, check=True)
        assert eventually(lambda: tasks(lab_user, name) not in ([], [first]), 40)
        # All workers end with the head, and another `up` begins anew.
        lab_user.run("scancel", f"--name=rayhpc-{name}-head", check=True)
        assert eventually(lambda: not queue(lab_user), 30), queue(lab_user)
        gone = lab_user.rayhpc("status", name)
        assert "not running" in gone.stdout
        lab_user.rayhpc("up", "-y", name, check=True)
        assert eventually(lambda: workers(lab_user, name) == 1, 40)


def test_a_head_that_is_killed_leaves_nothing(lab_user: User) -> None:
    name = write(lab_user, "job", least=2)
    with cluster(lab_user, name):
        assert eventually(lambda: workers(lab_user, name) == 2, 40)
        lab_user.run("scancel", "--signal=KILL", "--full", f"--name=rayhpc-{name}-head", check=True)
        assert eventually(lambda: not queue(lab_user), 60), queue(lab_user)
