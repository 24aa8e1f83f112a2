"""`rayhpc up` on YARN, on the fake: everywhere."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayhpc.batch.errors import OptionError
from rayhpc.clusters.errors import ClusterFileError
from rayhpc.clusters.read import read
from rayhpc.exit_codes import ExitCode
from rayhpc.launch.batch_cluster.cluster import batch_cluster
from tests.yarn.cluster_of_up import FILE, from_nothing_to_nothing
from tests.yarn.fake.cluster import FakeYarn
from tests.yarn.terminal import Terminal


@pytest.fixture(scope="module")
def yarn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeYarn]:
    """Containers run as the user whose they are, as with LinuxContainerExecutor."""
    cluster = FakeYarn(tmp_path_factory.mktemp("yarn"), nodes=3)
    for node in cluster.nodes:
        node.user = pwd.getpwuid(os.geteuid()).pw_name
    yield cluster
    cluster.close()


@pytest.fixture
def user(yarn: FakeYarn, tmp_path: Path) -> Terminal:
    environ = {"HADOOP_CONF_DIR": str(yarn.configuration), "XDG_STATE_HOME": str(tmp_path / "s")}
    return Terminal(environ, tmp_path / "home")


def test_a_cluster_from_nothing_to_nothing(user: Terminal, yarn: FakeYarn) -> None:
    from_nothing_to_nothing(user, 3, lambda: yarn.running() == [])


WRONG = [
    ("{type: yarn}", "{type: yarn, head: here}", "the head is the first part of the job"),
    ("vcores: 1", "vcors: 1", "node type head: --yarn: unrecognized arguments: --vcors=1"),
    ("vcores: 1", "vcores: many", "node type head: vcores is 'many': write a whole number"),
    ("768M", "much", "node type head: memory 'much' is not an amount of memory"),
    ("vcores: 1", "unmanaged: true", "leave unmanaged out"),
    (
        "min_workers: 1",
        "node_config: {memory: 2G}",
        "line 12: with YARN all nodes are parts of the head's job and have its size",
    ),
    (
        "max_workers: 3",
        "setup_commands: [module load cuda]",
        "line 3: YARN runs no commands before a node starts",
    ),
]


@pytest.mark.parametrize(("old", "new", "says"), WRONG)
def test_what_cannot_be_is_refused_before_anything_is_done(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    text = FILE.format(most=3).replace(old, new, 1)
    with pytest.raises((OptionError, ClusterFileError)) as caught:
        batch_cluster(read(text, "cluster.yaml"), tmp_path)
    assert says in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("queue: default", "queue: nosuch", "--partition nosuch: this cluster has no queue"),
        ("768M", "9G", "memory: 9216 MiB asked, at most 8192 MiB per container"),
    ],
)
def test_what_yarn_refuses_leaves_nothing(
    user: Terminal, yarn: FakeYarn, old: str, new: str, says: str
) -> None:
    user.write("cluster.yaml", FILE.format(most=3).replace(old, new, 1))
    done = user.run("up", "-y", "cluster.yaml")
    assert done.returncode == ExitCode.CONFIGURATION, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    left = Path(user.environ["XDG_STATE_HOME"]).rglob("*")
    assert {each.name for each in left if each.is_file()} <= {"lock"}
    assert yarn.running() == []


def test_where_containers_share_a_uid_there_is_no_cluster_for_others(
    user: Terminal, yarn: FakeYarn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for node in yarn.nodes:
        monkeypatch.setattr(node, "user", "nobody")
    user.write("cluster.yaml", FILE.format(most=3))
    done = user.run("up", "-y", "cluster.yaml")
    assert done.returncode == ExitCode.HEAD_LOST
    assert "programs from outside could not be let in" in done.stderr
    assert user.run("down", "-y", "cluster.yaml").returncode == 0
    assert yarn.running() == []
