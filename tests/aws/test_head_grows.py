"""A head whose machine has a role adds and ends workers itself, after `up` has returned."""

from __future__ import annotations

import json
import time

from aws.lab.role import PROFILE
from ssh.lab.lab import Lab
from tests.aws.programs import TWO_NODES
from tests.clusters.rented_desk import Desk

FILE = """\
max_workers: 2
provider: {type: aws, region: us-west-2}
file_mounts: {~/told: TOLD}
setup_commands: ["cat ~/told"]
available_node_types:
    ray.head.default:
        resources: {CPU: 0}
        node_config: {InstanceType: m5.large, IamInstanceProfile: {Name: PROFILE}}
    w: {idle_timeout_s: 1, resources: {CPU: 1}, node_config: {InstanceType: m5.large}}
""".replace("PROFILE", PROFILE)
GROWS = "up to 2 of them: the head sees to it, with the role of its machine (IamInstanceProfile)"


def _loops(desk: Desk) -> int:
    """How many there are on the head's machine."""
    lines = Lab.load(desk.cloud.hosts.folder).processes(_host_of_head(desk))
    return sum("_machine keep" in line for line in lines)


def _host_of_head(desk: Desk) -> str:
    head = desk.living()["head-1"]
    return next(str(x["host"]) for x in desk.cloud.living() if x["id"] == head)


def _kill_head(desk: Desk) -> None:
    """Its node's process, which its machine outlives."""
    host = _host_of_head(desk)
    (record,) = (desk.cloud.hosts.folder / host / "tmp").rglob("session.json")
    pid = json.loads(record.read_text())["pid"]
    done = Lab.load(desk.cloud.hosts.folder).inside(host, f"kill -9 {pid}")
    assert done.returncode == 0, done.stderr


def _check_that_no_private_key_has_left(desk: Desk) -> None:
    (users,) = (desk.folder / "state").rglob("ssh_key")
    secret = users.read_text().splitlines()[2].encode()
    there = desk.cloud.hosts.folder / _host_of_head(desk)
    assert not any(secret in x.read_bytes() for x in there.rglob("*") if x.is_file())
    (own,) = there.rglob("ssh_key")
    (plan,) = there.rglob("growing.json")
    assert [x.stat().st_mode & 0o077 for x in (own, plan)] == [0, 0]


def test_workers_come_and_go_after_up_has_returned(desk: Desk) -> None:
    told = desk.folder / "told"
    told.write_text("something\n")
    desk.write(FILE.replace("TOLD", str(told)))
    done = desk.up()
    assert done.returncode == 0, done.stderr
    assert GROWS in done.stderr
    assert list(desk.living()) == ["head-1"]
    program = desk.folder / "growing.py"
    program.write_text(TWO_NODES)
    done = desk.rayhpc("submit", desk.name, str(program))
    assert len(set(done.stdout.split("'")[1::2])) == 2, done.stderr
    explained = json.loads(desk.rayhpc("explain", desk.name, "--json").stdout)
    assert {x.get("machine") for x in explained} >= {"head-1", "w-1", "w-2"}
    _check_that_no_private_key_has_left(desk)
    while sorted(desk.living()) != ["head-1"]:
        time.sleep(0.1)  # the place tells nobody when a machine has gone
    # What stays in the foreground takes the cluster over; the next `up` gives it back.
    with desk.begin("up", "-y", "--stay", str(desk.file)) as staying:
        desk.read_until(staying, "Ctrl-C leaves the cluster as it is")
        assert _loops(desk) == 0
        staying.kill()
        staying.communicate()
    done = desk.up()
    assert "is as its file says" in done.stderr, done.stderr
    assert GROWS in done.stderr
    assert _loops(desk) == 1
    _kill_head(desk)
    while _loops(desk):
        time.sleep(0.1)  # it notices, and tells nobody
    done = desk.rayhpc("down", "-y", desk.name)
    assert done.stdout.endswith("; nothing of it is left at Amazon EC2.\n"), done.stderr
    assert desk.living() == {}


def test_a_head_that_may_not_leaves_it_to_whoever_stays(desk: Desk) -> None:
    desk.write(FILE.replace("TOLD", str(desk.file)))
    desk.cloud.go_wrong(deny=["DeleteTags"])
    done = desk.up()
    assert done.returncode == 0, done.stderr
    assert "only while `rayhpc up --stay` runs: the head cannot do it" in done.stderr
    assert _loops(desk) == 0
