"""`rayhpc up` on the real YARN."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.yarn.cluster_of_up import from_nothing_to_nothing
from tests.yarn.labs import SLOW_ON, within
from tests.yarn.terminal import Terminal
from yarn.lab.lab import Lab
from yarn.lab.processes import of_containers


@pytest.mark.parametrize("lab", SLOW_ON, indirect=True)
@within(150)
def test_a_cluster_from_nothing_to_nothing(lab: Lab, tmp_path: Path) -> None:
    environ = {**lab.client_environment(), "XDG_STATE_HOME": str(tmp_path / "state")}
    user = Terminal(environ, tmp_path / "home")
    write_ssh(lab, tmp_path / "bin")
    user.environ["PATH"] += f":{tmp_path / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin"
    from_nothing_to_nothing(user, 4, lambda: not of_containers(lab.layout.run))


def write_ssh(lab: Lab, folder: Path) -> None:
    """What sshd does on the lab's hosts, which have none: all words to a shell there."""
    folder.mkdir()
    lines = ["#!/bin/bash", 'while [[ "$1" == -* ]]; do shift; done', 'host="$1"; shift']
    lines += ['[ "$1" = -- ] && shift', 'case "$host" in']
    for name in lab.layout.node_managers:
        there = shlex.join(lab.host_command(name, ["/bin/bash", "-c"]))
        lines.append(f'    {lab.layout.address(name)}) exec {there} "$*" ;;')
    path = folder / "ssh"
    path.write_text("\n".join([*lines, "esac", 'echo "ssh: no host $host" >&2; exit 255', ""]))
    path.chmod(0o700)
