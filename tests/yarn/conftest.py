"""Real YARNs where Java and Maven are; each is started when the first test wants it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.yarn.labs import PROTECTION, lab_of
from yarn.lab import jars
from yarn.lab.lab import Lab


@pytest.fixture(scope="session", params=jars.VERSIONS)
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Each version, one after the other, each with another protection."""
    version: str = request.param
    with lab_of(version, nodes=4, gpus=2, expiry_s=15, protection=PROTECTION[version]) as lab:
        yield lab
