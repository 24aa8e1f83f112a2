"""Where the lab cannot be had, it says so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kubernetes.lab import packages
from kubernetes.lab.errors import LabError
from kubernetes.lab.lab import Lab


def test_without_a_build_the_reason_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("another reason comes first for who is not root")
    monkeypatch.setenv("KUBELAB_HOME", str(tmp_path))
    assert "`python -m kubernetes.lab build`" in packages.why_not()
    with pytest.raises(LabError, match="has not been built here"):
        Lab.up()
    assert list(tmp_path.iterdir()) == []
