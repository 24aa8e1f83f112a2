"""A machine at Azure with an identity of its own deletes itself; others are switched off."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from arm.lab.http_api import SUBSCRIPTION, FakeArm
from rayhpc.elastic.types import NodeType
from rayhpc.providers import registry
from rayhpc.providers.azure import provider as module
from rayhpc.providers.azure.own_end import METADATA, delete_itself
from rayhpc.providers.machines import MachineKind
from tests.providers.test_azure import KEY, OPTIONS, api, made, worker

MSI = "providers/Microsoft.ManagedIdentity/userAssignedIdentities"


@pytest.fixture
def arm() -> Iterator[FakeArm]:
    with FakeArm() as fake:
        yield fake


def end(arm: FakeArm, folder: Path, identity: str) -> str:
    """Have a machine do what ends it; what it has said to `shutdown`, and to everybody."""
    off = folder / "off"
    programs = folder / "bin"
    programs.mkdir()
    for name, text in {
        "shutdown": f'echo "$@" >{off}',
        "curl": f'echo "$@" >>{folder}/arguments; exec {shutil.which("curl")} "$@"',
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    script = delete_itself(identity, arm.root, f"{arm.root}/metadata")
    environ = {"PATH": f"{programs}:/usr/bin:/bin"}
    subprocess.run(["sh", "-c", script], env=environ, check=True)
    assert "lab-token" not in (folder / "arguments").read_text()
    return off.read_text()


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
@pytest.mark.parametrize("has_one", [True, False])
def test_a_machine_deletes_itself_if_it_may(arm: FakeArm, tmp_path: Path, has_one: bool) -> None:
    provider = made(arm, {**OPTIONS, **({"msi_name": "ender"} if has_one else {})})
    provider.ask(worker(), ["w-1"])
    (machine,) = arm.engine.some("virtualMachines", None)
    whole = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/ours/{MSI}/ender"
    ((body, _),) = arm.inserted
    told = base64.b64decode(body["properties"]["osProfile"]["customData"]).decode()
    assert ("userAssignedIdentities" in told.replace("%2F", "/")) is has_one
    assert (METADATA in told) is has_one
    assert "shutdown -h now" in told
    arm.asking = machine["id"]
    assert end(arm, tmp_path, whole) == "-h now\n"
    assert list(provider.list()) == [] if has_one else len(provider.list()) == 1


def test_an_identity_may_be_in_another_group(arm: FakeArm) -> None:
    options = {**OPTIONS, "msi_name": "ender", "msi_resource_group": "theirs"}
    made(arm, options).ask(worker(), ["w-1"])
    ((body, _),) = arm.inserted
    assert list(body["identity"]["userAssignedIdentities"]) == [
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/theirs/{MSI}/ender"
    ]


def test_sweep_ends_what_is_switched_off(arm: FakeArm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_api", lambda _: api(arm))
    provider = made(arm)
    provider.prepare(KEY, "ubuntu")
    provider.ask(NodeType("w"), ["w-1"])
    (machine,) = arm.engine.some("virtualMachines", None)
    arm.engine.stop(machine["properties"]["vmId"])
    kind = registry.provider("azure")
    assert isinstance(kind, MachineKind)
    (found,) = kind.watched(OPTIONS)
    assert found.is_stale(0.0)
    assert found.say(0.0) == "has ended, and is on the bill until it is deleted"
