"""A cluster from Ray's YAML on real hosts: up, a program, changes, down."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from rayhpc.clusters.read import read
from ssh.lab.lab import USER
from tests.cached_environment import NotThereError
from tests.clusters import files
from tests.engines import environment
from tests.ssh.desk import Desk

SEED = """
import time
import ray

ray.init()

@ray.remote
def f():
    time.sleep(0.01)
    return ray.util.get_node_ip_address()

print(sorted(set(ray.get([f.remote() for _ in range(300)]))))
"""
EXAMPLE = """
max_workers: 2
upscaling_speed: 1.0
idle_timeout_minutes: 5
docker:
    image: "somebody/with-ray:1"
    run_options: ["--ulimit nofile=4096:4096"]
file_mounts: {{"~/data": "{folder}/data"}}
cluster_synced_files: ["~/made-on-the-head"]
rsync_exclude: ["**/.git", "**/.git/**"]
rsync_filter: [".gitignore"]
initialization_commands: ["echo initialization >>~/order"]
setup_commands: ["cat ~/data/kept && echo setup >>~/order"]
head_setup_commands: ["echo head >>~/order; echo synced >~/made-on-the-head"]
worker_setup_commands: ["echo worker >>~/order"]
head_start_ray_commands:
    - ray stop
    - ulimit -c unlimited && ray start --head --port=6379 --autoscaling-config=~/x.yaml
worker_start_ray_commands:
    - ray stop
    - ray start --address=$RAY_HEAD_IP:6379 --object-manager-port=8076
"""


def test_a_cluster_of_three_hosts_from_nothing_to_nothing(desk: Desk) -> None:
    data = desk.folder / "data"
    data.mkdir()
    for name, text in (("kept", "k"), ("left.o", "l"), (".gitignore", "*.o\n")):
        (data / name).write_text(text)
    desk.write(EXAMPLE.format(folder=desk.folder))
    done = desk.up()
    assert done.returncode == 0, done.stderr
    assert "docker (line 8) has no effect" in done.stderr
    assert "Cluster lab: 3 of 3 nodes run." in done.stdout
    _check_hosts(desk)
    (desk.folder / "seed.py").write_text(SEED)
    done = desk.rayhpc("submit", "lab", str(desk.folder / "seed.py"))
    assert done.stdout.strip() == "['10.88.0.1', '10.88.0.2', '10.88.0.3']", done.stderr
    _check_verbs(desk)
    _check_updates(desk, data)
    done = desk.rayhpc("down", "-y", "--workers-only", "lab")
    assert (done.returncode, done.stdout) == (0, "Cluster lab: 1 node ended.\n"), done.stderr
    assert desk.lab.processes("h1")
    assert not desk.lab.processes("h2")
    done = desk.rayhpc("down", "-y", "lab")
    assert (done.returncode, done.stdout) == (0, "Cluster lab: 1 node ended.\n"), done.stderr
    assert desk.processes() == []
    assert not (desk.state / "rayhpc/clusters/lab/cluster.json").exists()
    for name in desk.lab.names:
        assert not list(desk.lab.home(name).glob(".local/state/rayhpc/clusters/*"))
        assert not list(desk.lab.home(name).glob(".config/rayhpc/keys/*"))


def _check_hosts(desk: Desk) -> None:
    """Ray's order of the commands; files where they belong; no key of the cluster on a worker."""
    for name, role in (("h1", "head"), ("h2", "worker"), ("h3", "worker")):
        home = desk.lab.home(name)
        assert (home / "order").read_text().split() == ["initialization", "setup", role]
        assert (home / "data/kept").read_text() == "k"
        assert not (home / "data/left.o").exists()
        assert (home / "made-on-the-head").read_text() == "synced\n"
        assert len(list(home.glob(".config/rayhpc/keys/*"))) == (name == "h1")
    (key_file,) = desk.lab.home("h1").glob(".config/rayhpc/keys/*")
    encoded = json.loads(key_file.read_text())["node"]["secret"]
    for name in desk.lab.names:
        told = desk.lab.inside(
            name, "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | base64"
        ).stdout
        known = base64.b64decode(told)
        assert b"rayhpc" in known
        assert encoded.encode() not in known
        assert base64.b64decode(encoded) not in known


def _check_verbs(desk: Desk) -> None:
    done = desk.rayhpc("exec", "lab", "echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert desk.rayhpc("get-head-ip", "lab").stdout == "10.88.0.1\n"
    assert desk.rayhpc("get-worker-ips", "lab").stdout == "10.88.0.2\n10.88.0.3\n"
    status = json.loads(desk.rayhpc("status", "lab", "--json").stdout)
    assert [each["state"] for each in status["machines"]] == ["running"] * 3
    assert len(status["head"]["nodes"]) == 3
    there, back = desk.folder / "there", desk.folder / "back"
    there.write_text("there and back")
    assert desk.rayhpc("rsync-up", "-A", "lab", str(there), "~/in/a").returncode == 0
    assert (desk.lab.home("h3") / "in/a").read_text() == "there and back"
    assert desk.rayhpc("rsync-down", "lab", "~/in/a", str(back)).returncode == 0
    assert back.read_text() == "there and back"


def _check_updates(desk: Desk, data: Path) -> None:
    (data / "kept").touch()
    done = desk.rayhpc("up", "--dry-run", str(desk.file))
    assert done.stdout.count("keep         nothing has changed") == 3, done.stdout
    (data / "kept").write_text("changed")
    done = desk.rayhpc("up", "--dry-run", str(desk.file))
    assert done.stdout.count("restart      changed: file_mounts") == 3, done.stdout
    done = desk.up("--no-restart")
    assert done.returncode == 0, done.stderr
    assert (desk.lab.home("h2") / "data/kept").read_text() == "changed"
    done = desk.up("--max-workers", "1", "--min-workers", "1")
    assert "10.88.0.3  worker  stop" in done.stdout, done.stdout + done.stderr
    assert desk.lab.processes("h3") == []


def test_machines_behind_a_jump_host_are_reached(desk: Desk) -> None:
    options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    through = f"ssh -i {desk.lab.key} {options} -l hpc -W %h:%p 10.88.0.1"
    key = f"ssh_user: hpc, ssh_private_key: {desk.lab.key}"
    desk.file.write_text(
        "cluster_name: lab\n"
        "provider: {type: local, head_ip: 10.88.0.2, worker_ips: [10.88.0.3]}\n"
        f"auth: {{{key}, ssh_proxy_command: '{through}'}}\n"
    )
    log = desk.lab.folder / "h1/log"
    before = log.read_text().count("Accepted publickey")
    done = desk.rayhpc("up", "--dry-run", str(desk.file))
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("no node has been started there") == 2
    assert log.read_text().count("Accepted publickey") == before + 2


def test_the_file_that_ray_comes_with_brings_up_a_list_of_hosts(desk: Desk) -> None:
    """Unchanged but for what it leaves to its reader: the hosts, and how to log in to them."""
    try:
        rays = (environment.autoscaler() / "local" / "defaults.yaml").read_text()
    except NotThereError as error:
        pytest.skip(str(error))
    mine = desk.file.read_text().partition("\n")[2]
    desk.file.write_text(rays.replace("auth: {}\n", mine))
    _from_nothing_to_nothing(desk, "default")


# What Ray's examples for lists of machines leave to their reader, who has to fill it in there, too.
_LEFT_TO_THE_READER = {
    "YOUR_HEAD_NODE_HOSTNAME": "10.88.0.1",
    "WORKER_NODE_1_HOSTNAME, WORKER_NODE_2_HOSTNAME, ... ": "10.88.0.2, 10.88.0.3",
    "YOUR_USERNAME": USER,
    "TYPICALLY_THE_NUMBER_OF_WORKER_IPS": "2",
}


@files.with_rays
@pytest.mark.parametrize("which", ["minimal-manual", "full"])
def test_rays_own_examples_bring_up_three_hosts(desk: Desk, which: str) -> None:
    text = files.rays_own("local", which).read_text()
    for theirs, mine in _LEFT_TO_THE_READER.items():
        text = text.replace(theirs, mine)
    desk.file.write_text(text)
    with desk.agent():  # nothing in these files says which key
        _from_nothing_to_nothing(desk, read(text, which).config.cluster_name)


def _from_nothing_to_nothing(desk: Desk, name: str) -> None:
    done = desk.up()
    assert f"Cluster {name}: 3 of 3 nodes run." in done.stdout, done.stderr
    (desk.folder / "seed.py").write_text(SEED)
    done = desk.rayhpc("submit", name, str(desk.folder / "seed.py"))
    assert done.stdout.strip() == "['10.88.0.1', '10.88.0.2', '10.88.0.3']", done.stderr
    done = desk.rayhpc("down", "-y", name)
    assert (done.returncode, done.stdout) == (0, f"Cluster {name}: 3 nodes ended.\n"), done.stderr
    assert desk.processes() == []
