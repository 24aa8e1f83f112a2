"""Ray's cluster YAML is read as it stands; what is wrong in it is named with its line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from rayhpc.clusters.errors import ClusterFileError
from rayhpc.clusters.read import read, read_file
from rayhpc.clusters.schema import Auth, ClusterConfig, Docker, NodeTypeConfig
from tests.cached_environment import NotThereError
from tests.clusters import files
from tests.engines import environment


@pytest.mark.parametrize("which", files.EXAMPLES, ids="-".join)
def test_files_in_the_shape_of_rays_examples_are_read(which: tuple[str, str]) -> None:
    config = read(files.EXAMPLES[which], "c.yaml").config
    assert config.provider_type == which[0]


@files.with_rays
@pytest.mark.parametrize("which", files.EXAMPLES, ids="-".join)
def test_their_shape_is_that_of_rays_examples(which: tuple[str, str]) -> None:
    """A minimal one has their keys and no others; a full one has all of theirs."""
    theirs = keys_in(yaml.safe_load(files.rays_own(*which).read_text()))
    ours = keys_in(yaml.safe_load(files.EXAMPLES[which]))
    assert theirs <= ours
    assert which[1] == "full" or theirs == ours


def keys_in(value: object, at: str = "") -> set[str]:
    """The keys in it, each with those that it is below."""
    if isinstance(value, list):
        return {key for each in value for key in keys_in(each, at)}
    if not isinstance(value, dict):
        return set()
    here = {f"{at}/{key}": each for key, each in value.items()}
    return {*here, *(key for path, each in here.items() for key in keys_in(each, path))}


def test_everything_in_a_file_arrives() -> None:
    config = read(files.AWS_FULL, "c.yaml").config
    worker = config.available_node_types["ray.worker.default"]
    assert (worker.min_workers, worker.max_workers) == (1, 2)
    assert worker.resources == {"CPU": 2, "special": 1}
    assert worker.node_config["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert config.head_start_ray_commands[1].startswith("ray start --head --port=6379")
    assert config.rsync_filter == [".gitignore"]
    assert config.docker.image == "somebody/with-ray:1"
    assert config.file_mounts == {}


@pytest.fixture
def autoscaler() -> Path:
    """The folder of the newest real Ray with its files for clusters."""
    try:
        return environment.autoscaler()
    except NotThereError as error:
        pytest.skip(str(error))


def test_the_files_that_ray_comes_with_are_read(autoscaler: Path) -> None:
    found = {path.parent.name: path.read_text() for path in autoscaler.glob("*/defaults.yaml")}
    assert found.keys() >= {"aws", "azure", "gcp", "local"}
    found["local"] += "provider: {type: local, head_ip: 192.0.2.1, worker_ips: [192.0.2.2]}\n"
    for name, text in found.items():
        assert read(text, name).config.provider_type == name


# `no_restart` is set by Ray's command and by no file; the other is for Amazon's session manager.
NOT_KNOWN = {"no_restart", "ssh_proxy_use_node_id"}


def test_all_keys_of_rays_schema_are_known(autoscaler: Path) -> None:
    keys: dict[str, Any] = json.loads((autoscaler / "ray-schema.json").read_text())["properties"]
    (node_type,) = keys["available_node_types"]["patternProperties"].values()
    of_each = [
        (ClusterConfig, keys),
        (Auth, keys["auth"]["properties"]),
        (Docker, keys["docker"]["properties"]),
        (NodeTypeConfig, node_type["properties"]),
    ]
    for struct, theirs in of_each:
        ours = {field.name for field in msgspec.structs.fields(struct)}
        assert theirs.keys() - ours <= NOT_KNOWN, struct


@files.with_rays
def test_rays_own_examples_are_read() -> None:
    """The variable names a folder of Ray's example-*.yaml, searched recursively."""
    found = sorted(Path(os.environ["RAYHPC_RAY_EXAMPLES"]).rglob("*example-*.yaml"))
    assert found
    for path in found:
        try:
            read_file(str(path))
        except ClusterFileError as error:
            # Lists of machines have words of Ray's where yours belong.
            assert all("stands for a value of yours" in text for _, text in error.faults), path


WRONG = {
    "max_worker: 2": (7, "did you mean 'max_workers'?"),
    "max_workers: two": (7, "max_workers: expected a whole number"),
    "max_workers: -1": (7, "must be 0 or more"),
    "setup_commands: [pip install x, {a: b}]": (7, "setup_commands.1: expected a text"),
    "auth: {ssh_usr: me}": (7, "there is no 'ssh_usr' in auth; did you mean 'ssh_user'?"),
    "min_workers: 3\nmax_workers: 2": (7, "min_workers 3 is more than max_workers 2"),
    "head_node_type: gone": (7, "there is no node type 'gone'"),
    "available_node_types: {a: {}}": (7, "head_node_type is missing"),
    "available_node_types: {a: {max_workrs: 1}}\nhead_node_type: a": (7, "'max_workers'?"),
    "available_node_types:\n  a: {max_workers: x}\nhead_node_type: a": (8, "a.max_workers"),
    "available_node_types:\n  a:\n    resources: {GPU: -1}\nhead_node_type: a": (9, "GPU is -1"),
    "setup_commands: [": (8, ""),
    "cluster_name: again": (7, "'cluster_name' stands here and on line 1"),
    "max_workers: YOUR_NUMBER": (7, "YOUR_NUMBER stands for a value of yours"),
}
_START = files.LOCAL_MINIMAL.replace("auth:\n    ssh_user: me\n", "\n")


@pytest.mark.parametrize("more", WRONG)
def test_what_is_wrong_is_named_with_its_line(more: str) -> None:
    line, sentence = WRONG[more]
    with pytest.raises(ClusterFileError) as caught:
        read(_START + more + "\n", "c.yaml")
    assert f"c.yaml, line {line}: " in str(caught.value)
    assert sentence in str(caught.value)


def test_what_ray_had_before_node_types_may_be_there_if_it_is_empty() -> None:
    read(files.LOCAL_MINIMAL + "head_node: {}\nworker_nodes: {}\n", "c.yaml")
    with pytest.raises(ClusterFileError, match="line 8: there is no 'head_node'"):
        read(files.LOCAL_MINIMAL + "head_node: {InstanceType: m5.large}\n", "c.yaml")


def test_all_typos_are_named_at_once() -> None:
    with pytest.raises(ClusterFileError) as caught:
        read(files.LOCAL_MINIMAL + "max_worker: 1\nsetup_command: []\n", "c.yaml")
    assert [line for line, _ in caught.value.faults] == [8, 9]


@pytest.mark.parametrize("text", ["", "[]", "nothing", "provider: {type: aws}", "cluster_name: a"])
def test_what_is_no_clusters_file_is_refused(text: str) -> None:
    with pytest.raises(ClusterFileError):
        read(text, "c.yaml")


def test_no_tag_runs_code() -> None:
    with pytest.raises(ClusterFileError, match="line 1"):
        read("cluster_name: !!python/object/apply:os.getcwd []", "c.yaml")


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"cluster_name: a\n\xff\n")
    with pytest.raises(ClusterFileError, match="line 2: this is not UTF-8"):
        read_file(str(path))


def test_what_has_no_effect_is_said_and_what_is_absent_is_not() -> None:
    assert read(files.LOCAL_MINIMAL, "c.yaml").ignored == ()
    more = "docker: {image: box}\nidle_timeout_minutes: 5\n"
    (docker, idle) = read(files.LOCAL_MINIMAL + more, "c.yaml").ignored
    assert docker.startswith("docker (line 8) has no effect: ")
    assert idle.startswith("idle_timeout_minutes (line 9) has no effect: ")


def test_switches_of_a_place_that_nothing_here_turns_are_told() -> None:
    told = "\n    unique_id: x\n    cache_stopped_nodes: false\n    location:"
    file = read(files.AZURE_FULL.replace("\n    location:", told), "c.yaml")
    ignored = [sentence.partition(" has no effect: ")[0] for sentence in file.ignored]
    assert ignored == ["docker (line 4)", "unique_id (line 12)"]
