"""What a head is told of its cluster: where its files are there, and nothing of the user's own."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from rayhpc.clusters import head_plan
from rayhpc.clusters.machine_plan import machine_types
from rayhpc.clusters.read import read
from rayhpc.elastic.types import NodeType
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.providers.machines import MachineKind, MachineProvider, Watched, print_of

TEXT = """
cluster_name: c
max_workers: 3
provider: {type: aws, region: us-west-2, profile: mine}
auth: {ssh_user: me, ssh_private_key: ~/.ssh/mine, ssh_proxy_command: nc %h}
file_mounts: {~/project: /home/me/project}
setup_commands: [pip install x]
available_node_types:
    ray.head.default: {resources: {CPU: 0}, node_config: {IamInstanceProfile: {Name: grows}}}
    w: {idle_timeout_s: 5, node_config: {InstanceType: [m5.large, m6i.large]}}
"""


class Kind(MachineKind):
    """A place whose credentials are a profile."""

    name = "aws"
    role_option = "IamInstanceProfile"

    def rent(
        self, cluster: str, options: Mapping[str, object], types: Sequence[NodeType]
    ) -> MachineProvider:
        raise NotImplementedError

    def watched(self, options: Mapping[str, object]) -> Sequence[Watched]:
        raise NotImplementedError

    def end(self, options: Mapping[str, object], identities: Sequence[str]) -> None:
        raise NotImplementedError

    def options_there(self, options: Mapping[str, object]) -> dict[str, object]:
        return {key: options[key] for key in options if key != "profile"}


def test_a_plan_has_the_heads_own_places_and_nothing_of_the_users(tmp_path: Path) -> None:
    file = read(TEXT, "c.yaml")
    head_plan.write(tmp_path, head_plan.encode(file.config, Kind(), "ssh-ed25519 AAAA me"))
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for word in ("mine", "nc %h", "/home/me"):
        assert word not in path.read_text()
    found, users_key = head_plan.load(tmp_path)
    assert users_key == "ssh-ed25519 AAAA me"
    assert found.config.file_mounts == {"~/project": "~/project"}
    assert found.config.auth.ssh_user == "me"
    # The same machines: one that the head has asked for is not replaced by the next `up`.
    ours, theirs = machine_types(file), machine_types(found)
    assert ours == theirs
    assert [print_of(x) for x in ours.all] == [print_of(x) for x in theirs.all]


def test_a_head_without_a_plan_says_who_writes_it(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="`rayhpc up` writes it") as caught:
        head_plan.load(tmp_path)
    assert caught.value.code == ExitCode.CONFIGURATION
    with pytest.raises(LaunchError, match="no plan for a head"):
        head_plan.write(tmp_path, b"{}")


def test_a_role_is_what_the_file_gives_a_machine() -> None:
    types = machine_types(read(TEXT, "c.yaml"))
    assert Kind().has_role(types.head)
    assert not any(Kind().has_role(each) for each in types.workers)
