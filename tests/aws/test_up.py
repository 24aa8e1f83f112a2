"""`rayhpc up` on EC2's API and real machines: from nothing to nothing, and what goes wrong."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from aws.lab.lab import Ec2Lab
from tests.aws.programs import TWO_NODES
from tests.clusters import files
from tests.clusters.rented_desk import EXAMPLES, Desk


def test_a_cluster_from_rays_full_file_from_nothing_to_nothing(desk: Desk) -> None:
    desk.write_rays_own("aws", files.AWS_FULL)
    done = desk.up("--min-workers", "2")
    assert done.returncode == 0, done.stderr
    assert f"Cluster {desk.name}: 3 of 3 nodes run." in done.stdout
    assert "To log in to its head:" in done.stdout
    before = desk.living()
    names = ["head-1", "ray.worker.default-1", "ray.worker.default-2"]
    assert sorted(before) == names
    # A second time nothing is asked for; by its name alone, too.
    done = desk.up("--min-workers", "2")
    assert "is as its file says" in done.stderr, done.stdout
    assert desk.living() == before
    desk.run_seed()
    status = json.loads(desk.rayhpc("status", desk.name, "--json").stdout)
    assert [each["state"] for each in status["machines"]] == ["running"] * 3
    assert len(status["head"]["nodes"]) == 3
    _check_secrets(desk)
    desk.down("Amazon EC2")
    assert [x for x in desk.folder.rglob("*key*") if x.is_file()] == []
    done = desk.rayhpc("down", "-y", str(desk.file))
    assert "0 machines ended; nothing of it is left" in done.stdout


def _check_secrets(desk: Desk) -> None:
    """No key of the cluster, nor of the user, is in what a machine is told at its start."""
    (key,) = (desk.folder / "state").rglob("ssh_key")
    private = key.read_text().splitlines()[2]
    for row in desk.cloud.living():
        folder = desk.cloud.hosts.folder / row["host"]
        assert "shutdown -h now" in (folder / "user-data").read_text()
        secrets = [private, *_cluster_secrets(desk)]
        for path in (folder / "user-data", *(x for x in folder.rglob("*") if x.is_file())):
            if "keys" in path.parts and row["tags"]["rayhpc-machine"] == "head-1":
                continue  # the head's own, readable by its user alone
            text = path.read_bytes()
            assert not any(secret.encode() in text for secret in secrets), path


def _cluster_secrets(desk: Desk) -> list[str]:
    (head,) = [x for x in desk.cloud.living() if x["tags"]["rayhpc-machine"] == "head-1"]
    home = desk.cloud.hosts.folder / head["host"] / "home"
    (file,) = home.glob(".config/rayhpc/keys/*")
    return [json.loads(file.read_text())["node"]["secret"]]


@pytest.mark.parametrize("which", EXAMPLES)
def test_rays_examples_bring_up_three_nodes(cloud: Ec2Lab, tmp_path: Path, which: str) -> None:
    Desk(cloud, tmp_path, "").try_an_example("aws", which)
    assert cloud.living() == []


def test_what_goes_wrong_while_machines_are_asked_for(desk: Desk) -> None:
    zones = "availability_zone: 'us-west-2a,us-west-2b'"
    desk.write(
        f"provider: {{type: aws, region: us-west-2, {zones}}}\n"
        "available_node_types:\n"
        "    ray.head.default: {node_config: {InstanceType: m5.large}}\n"
        "    w: {min_workers: 1, node_config: {InstanceType: m5.metal}}\n"
    )
    # One zone is full, replies are lost, calls are refused for being too many, machines are not
    # seen at once; of one type there is none.
    full = ["us-west-2a", "m5.metal"]
    desk.cloud.go_wrong(full=full, lose=1, throttle=1, hide_s=2.0)
    before = len(desk.cloud.instances())
    refused = desk.cloud.requests("RunInstances").count("500")
    done = desk.up()
    assert done.returncode == 72, done.stderr
    assert (
        "w-1: EC2 has none now: m5.metal in us-west-2a (InsufficientInstanceCapacity), "
        "m5.metal in us-west-2b (InsufficientInstanceCapacity)"
    ) in done.stderr
    assert "1 of 2 nodes run, 1 not: `rayhpc up` tries them again" in done.stdout
    assert list(desk.living()) == ["head-1"]
    assert len(desk.cloud.instances()) == before + 1
    # Each place is asked once.
    assert desk.cloud.requests("RunInstances").count("500") == refused + 3
    done = desk.rayhpc("explain", desk.name)
    assert done.stdout.startswith("head-1 (i-"), done.stderr
    assert " is running; its console:" in done.stdout
    # Half a cluster is ended as a whole one is, from any machine, though its record is gone.
    done = desk.rayhpc("down", "-y", str(desk.file), XDG_STATE_HOME=str(desk.folder / "other"))
    assert "1 machine ended; nothing of it is left" in done.stdout, done.stderr
    assert desk.living() == {}


REFUSED = {
    "permission": "no permission for ec2:RunInstances: User: arn:aws:iam::123456789012:user/lab",
    "capacity": "EC2 has none now: m5.large in any zone (InsufficientInstanceCapacity)",
    "type": "ec2:RunInstances: InvalidParameterValue: Invalid value 'm5.imaginary'",
    "credentials": "AWS takes no credentials from here",
}


def test_a_refusal_is_said_and_leaves_nothing_behind(desk: Desk) -> None:
    before = len(desk.cloud.instances())
    for what, sentence in REFUSED.items():
        faults = {"permission": {"deny": ["RunInstances"]}, "capacity": {"full": [""]}}
        desk.cloud.go_wrong(**faults.get(what, {}))
        kind = "m5.imaginary" if what == "type" else "m5.large"
        desk.write(
            "provider: {type: aws, region: us-west-2}\n"
            f"available_node_types: {{ray.head.default: {{node_config: {{InstanceType: {kind}}}}}}}"
        )
        none = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": str(desk.folder)}
        environ = none if what == "credentials" else {}
        done = desk.rayhpc("up", "-y", str(desk.file), **environ)
        assert done.returncode == 75, done.stderr
        assert sentence in done.stderr, done.stderr
        assert len(done.stderr.strip().splitlines()) <= 3, done.stderr
    assert len(desk.cloud.instances()) == before
    assert desk.cloud.requests("CreateSecurityGroup").count("200") == desk.cloud.requests(
        "DeleteSecurityGroup"
    ).count("200")


def _row(desk: Desk, name: str) -> dict[str, Any]:
    """What the lab has of a machine, also of one that has gone."""
    mine = (x for x in desk.cloud.instances() if x["tags"].get("rayhpc-cluster") == desk.name)
    return next(x for x in mine if x["tags"]["rayhpc-machine"] == name)


def test_workers_come_with_the_work_and_go_with_it(desk: Desk) -> None:
    desk.write(
        "max_workers: 1\n"
        "provider: {type: aws, region: us-west-2, use_internal_ips: true, "
        "use_external_head_ip: true}\n"
        "available_node_types:\n"
        "    ray.head.default: {resources: {CPU: 1}, node_config: {InstanceType: m5.large}}\n"
        "    w: {idle_timeout_s: 1, resources: {CPU: 1}, node_config: {InstanceType: m5.large}}\n"
    )
    program = desk.folder / "growing.py"
    program.write_text(TWO_NODES)
    with desk.begin("up", "-y", "--stay", str(desk.file)) as staying:
        assert staying.stderr is not None
        said = desk.read_until(staying, "Ctrl-C leaves the cluster as it is")
        assert list(desk.living()) == ["head-1"], said
        done = desk.rayhpc("submit", desk.name, str(program))
        assert len(set(done.stdout.split("'")[1::2])) == 2, done.stderr
        said = desk.read_until(staying, "giving back w-1: idle for 1 s")
        assert "asked for w-1: " in said
        # The worker, which has no address outside, was set up through the head.
        head, worker = (_row(desk, name) for name in ("head-1", "w-1"))
        assert desk.rayhpc("get-head-ip", desk.name).stdout.strip() != head["address"]
        log = (desk.cloud.hosts.folder / worker["host"] / "log").read_text()
        assert f"Accepted publickey for ubuntu from {head['address']} " in log
        while "w-1" in desk.living():
            time.sleep(0.1)  # the place tells nobody when a machine has gone
        staying.send_signal(signal.SIGINT)
        rest = staying.communicate(timeout=30)[1]
        assert "runs on, and keeps its size" in rest
    assert staying.returncode == 0
    assert list(desk.living()) == ["head-1"]
    done = desk.rayhpc("sweep", "-y", str(desk.file))
    assert f"{desk.name}  head-1  of " in done.stdout, done.stderr
    assert "ends itself when no node runs there" in done.stdout
    assert "there is nothing to end" in done.stderr
    done = desk.rayhpc("sweep", "--region", "us-west-2", "-y", "--cluster", desk.name)
    assert done.stdout.endswith("1 machine ended.\n"), done.stderr
    while desk.living():
        time.sleep(0.1)  # as above
