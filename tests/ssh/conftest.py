"""Three hosts with a real sshd each, where they can be had, shared by all tests here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ssh.lab import packages
from ssh.lab.lab import Lab
from tests.ssh.desk import Desk


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The hosts h1, h2, h3; rayhpc is on the PATH of their login shells."""
    reason = packages.why_not()
    if reason:
        pytest.skip(reason)
    lab = Lab.up(3)
    try:
        yield lab
    finally:
        lab.down()


@pytest.fixture
def desk(lab: Lab, tmp_path: Path) -> Iterator[Desk]:
    """Where a user sits who can reach them; the cluster is ended afterwards."""
    for name in lab.names:
        if not lab.alive(name):
            lab.boot(name)
            lab.wait_for(name)
    made = Desk(lab, tmp_path)
    made.welcome()
    yield made
    made.rayhpc("down", "-y", str(made.file))
