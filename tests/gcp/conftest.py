"""Compute Engine's API with real machines behind it, where it can be had, shared by tests here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gcp.lab.lab import GceLab
from ssh.lab import packages
from tests.clusters.rented_desk import Desk


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GceLab]:
    """Its machines' login shells have rayhpc on their PATH, and a pip that has everything."""
    pytest.importorskip("google.auth", reason="google-auth is not installed")
    reason = packages.why_not()
    if reason:
        pytest.skip(reason)
    programs = tmp_path_factory.mktemp("image")
    pip = programs / "pip"
    pip.write_text('#!/bin/sh\necho "$@" >>~/pip.log\n')
    pip.chmod(0o755)
    lab = GceLab(f"export PATH={programs}:{Path(sys.executable).parent}:$PATH\n")
    try:
        yield lab
    finally:
        lab.down()


@pytest.fixture
def desk(cloud: GceLab, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Desk]:
    """Where a user sits; the cluster is ended afterwards."""
    made = Desk(cloud, tmp_path, f"c{abs(hash(request.node.name)) % 10**8}")
    cloud.go_wrong()
    yield made
    cloud.go_wrong()
    made.rayhpc("down", "-y", str(made.file))
