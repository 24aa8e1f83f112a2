"""`rayhpc up` on Azure's API and real machines: from nothing to nothing."""

from __future__ import annotations

import pytest

from tests.clusters import files
from tests.clusters.rented_desk import EXAMPLES, Desk


def test_a_cluster_from_rays_full_file_from_nothing_to_nothing(desk: Desk) -> None:
    desk.write_rays_own("azure", files.AZURE_FULL)
    done = desk.up("--min-workers", "2")
    assert done.returncode == 0, done.stderr
    assert f"Cluster {desk.name}: 3 of 3 nodes run." in done.stdout
    before = desk.living()
    assert sorted(before) == ["head-1", "ray.worker.default-1", "ray.worker.default-2"]
    desk.run_seed()
    _check_secrets(desk)
    done = desk.rayhpc("explain", desk.name)
    assert done.stdout.count(" is running") == 3, done.stderr
    desk.down("Microsoft Azure")


def _check_secrets(desk: Desk) -> None:
    """The user's private key is in nothing that a machine is told, and on no machine."""
    assert desk.home is not None
    keys = (desk.home / ".ssh").glob("id_*")
    secrets = [x.read_text().splitlines()[2].encode() for x in keys if x.suffix != ".pub"]
    assert len(secrets) == 2
    for row in desk.cloud.living():
        folder = desk.cloud.hosts.folder / row["host"]
        assert "shutdown -h now" in (folder / "user-data").read_text()
        for path in (x for x in folder.rglob("*") if x.is_file()):
            assert not any(secret in path.read_bytes() for secret in secrets), path


@pytest.mark.parametrize("which", EXAMPLES)
def test_rays_examples_bring_up_three_nodes(desk: Desk, which: str) -> None:
    # Azure's minimal example has one worker at most.
    desk.try_an_example("azure", which, "--max-workers", "2")
    assert desk.cloud.living() == []
