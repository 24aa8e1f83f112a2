"""`rayhpc up` on Compute Engine's API and real machines: from nothing to nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gcp.lab.lab import GceLab
from tests.clusters import files
from tests.clusters.rented_desk import EXAMPLES, Desk


def test_a_cluster_from_rays_full_file_from_nothing_to_nothing(desk: Desk) -> None:
    desk.write_rays_own("gcp", files.GCP_FULL)
    done = desk.up("--min-workers", "2")
    assert done.returncode == 0, done.stderr
    assert f"Cluster {desk.name}: 3 of 3 nodes run." in done.stdout
    before = desk.living()
    assert sorted(before) == ["head-1", "ray_worker_small-1", "ray_worker_small-2"]
    # A second time nothing is asked for.
    done = desk.up("--min-workers", "2")
    assert "is as its file says" in done.stderr, done.stdout
    assert desk.living() == before
    desk.run_seed()
    _check_secrets(desk)
    done = desk.rayhpc("explain", desk.name)
    assert done.stdout.count(" is RUNNING; its console:") == 3, done.stderr
    desk.down("Google Compute Engine")
    assert [x for x in desk.folder.rglob("*key*") if x.is_file()] == []


def _check_secrets(desk: Desk) -> None:
    """No private key, and none of the user's credentials, is in what a machine is told."""
    (key,) = (desk.folder / "state").rglob("ssh_key")
    account = Path(desk.cloud.environ()["GOOGLE_APPLICATION_CREDENTIALS"]).read_text()
    secrets = [key.read_text().splitlines()[2], json.loads(account)["private_key"].split("\n")[2]]
    for row in desk.cloud.living():
        folder = desk.cloud.hosts.folder / row["host"]
        assert "shutdown -h now" in (folder / "user-data").read_text()
        for path in (x for x in folder.rglob("*") if x.is_file()):
            assert not any(secret.encode() in path.read_bytes() for secret in secrets), path


@pytest.mark.parametrize("which", EXAMPLES)
def test_rays_examples_bring_up_three_nodes(cloud: GceLab, tmp_path: Path, which: str) -> None:
    Desk(cloud, tmp_path, "").try_an_example("gcp", which)
    assert cloud.living() == []
