"""Real YARNs where Java and Maven are; each is started when the first test wants it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.yarn.labs import PROTECTION, lab_of
from yarn.lab import jars
from yarn.lab.lab import Lab

# No test here has a master that hangs: only a busy machine would make one silent for 15 s.
_PATIENT = {"yarn.am.liveness-monitor.expiry-interval-ms": "60000"}


@pytest.fixture(autouse=True)
def _on_the_clients_host(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test is somebody on a machine of the cluster's network."""
    with contextlib.ExitStack() as stack:
        for name in {"lab", "ha_lab"}.intersection(request.fixturenames):
            stack.enter_context(request.getfixturevalue(name).on_clients_host())
        yield


@pytest.fixture(scope="session", params=jars.VERSIONS)
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Each version, one after the other, each with another protection."""
    version: str = request.param
    options = {"nodes": 4, "gpus": 2, "expiry_s": 15, "protection": PROTECTION[version]}
    with lab_of(version, yarn_site=_PATIENT, **options) as lab:
        yield lab
