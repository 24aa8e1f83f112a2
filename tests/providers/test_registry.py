"""Where providers come from: ours, and a package that a site installs."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rayhpc.batch.errors import OptionError
from rayhpc.elastic.types import NodeType
from rayhpc.providers import registry
from rayhpc.providers.base import ClusterFacts, Provider, ProviderKind

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]


class Acme(ProviderKind):
    """A site's own."""

    name = "acme"
    title = "Acme"

    def open(self, cluster: ClusterFacts, types: Sequence[NodeType]) -> Provider:
        """Not needed here."""
        raise NotImplementedError


PROVIDER = Acme()
NOT_ONE = "acme"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> None:
    """A site's package is installed, with a good entry point and a bad one."""
    ours = importlib.metadata.entry_points
    points = [
        importlib.metadata.EntryPoint("acme", f"{__name__}:PROVIDER", registry.GROUP),
        importlib.metadata.EntryPoint("broken", f"{__name__}:NOT_ONE", registry.GROUP),
    ]

    def entry_points(**params: Any) -> Any:
        if params.get("group") != registry.GROUP:
            return ours(**params)
        return [x for x in points if params.get("name", x.name) == x.name]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)


def test_ours_are_declared_as_a_site_declares_its_own() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = project["entry-points"].get(registry.GROUP, {})
    assert declared == {name: f"{module}:PROVIDER" for name, module in registry.OURS.items()}


@pytest.mark.usefixtures("site")
def test_a_sites_own_is_found() -> None:
    assert registry.provider("acme") is PROVIDER
    assert "acme" in registry.names()


@pytest.mark.usefixtures("site")
def test_what_is_no_provider_is_said() -> None:
    with pytest.raises(OptionError, match="'broken'.*it is a str"):
        registry.provider("broken")


@pytest.mark.usefixtures("site")
def test_a_misspelt_one_is_told_the_nearest() -> None:
    with pytest.raises(OptionError, match="no provider 'acne'.*did you mean 'acme'"):
        registry.provider("acne")
