"""Azure's API with real machines behind it, where it can be had, shared by all tests here."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from arm.lab.lab import ArmLab
from ssh.lab import packages
from tests.clusters.rented_desk import Desk, image, lab


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArmLab]:
    """It runs while the tests do; the images that Ray's files name have conda."""
    pytest.importorskip("azure.identity", reason="azure-identity is not installed")
    profile = image(tmp_path_factory.mktemp("image"), "conda")
    yield from lab(ArmLab, profile, packages.why_not())


@pytest.fixture
def desk(cloud: ArmLab, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Desk]:
    """Where a user sits, who has keys; the cluster is ended afterwards."""
    made = Desk(cloud, tmp_path, f"c{abs(hash(request.node.name)) % 10**8}")
    made.home = tmp_path / "home"
    keys = made.home / ".ssh"
    keys.mkdir(parents=True, mode=0o700)
    for name in ("id_rsa", "id_ed25519"):
        words = ["ssh-keygen", "-q", "-t", name[3:], "-N", "", "-f", str(keys / name)]
        subprocess.run(words, check=True)
    yield from made.use()
