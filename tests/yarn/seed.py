"""The program that the project began with, for tests on the real YARN: where its tasks run."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import rayhpc
from yarn.lab import network
from yarn.lab.lab import Lab

ADDRESSES = Path(rayhpc.__file__).with_name("examples").joinpath("addresses.py").read_text()


def check_addresses(lab: Lab, printed: str) -> None:
    """It was on every node of the lab, and each has another address.

    Skips the test, after it, where all nodes share the machine's loopback.
    """
    found = ast.literal_eval(printed)
    if lab.layout.options.net != network.NET:
        assert len(found) == 1
        pytest.skip(f"all nodes have one address: {network.why_not()}")
    assert found == {lab.layout.address(name) for name in lab.layout.node_managers}
