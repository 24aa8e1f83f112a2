"""The local batch system's decisions: addresses, shares, what it cannot do."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

import pytest

from rayhpc.batch.errors import OptionError
from rayhpc.batch.folder import JobFolder
from rayhpc.batch.local import share as local_share
from rayhpc.batch.local.jobs import LocalJobs, address
from rayhpc.batch.registry import system
from rayhpc.batch.request import JobRequest, left_out


def test_every_rank_has_an_address_of_its_own() -> None:
    found = [address(rank) for rank in range(1000)]
    assert found[:3] == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    assert len(set(found)) == 1000
    assert all(ipaddress.ip_address(each).is_loopback for each in found)
    assert not any(each.endswith((".0", ".255")) for each in found)


def test_shares_add_up_to_the_machine() -> None:
    whole = local_share.share_of(os.environ, JobRequest(("x",), nodes=1))
    part = local_share.share_of(os.environ, JobRequest(("x",), nodes=2))
    assert part.cpus == max(1, whole.cpus // 2)
    assert part.memory == whole.memory // 2
    many = local_share.share_of(os.environ, JobRequest(("x",), nodes=1000))
    assert many.cpus == 1


def test_gpus_are_dealt_out(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {**os.environ, "CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b,GPU-c"}
    share = local_share.share_of(environ, JobRequest(("x",), nodes=2, gpus_per_node="1"))
    assert [share.environ(rank) for rank in (0, 1)] == [
        {"CUDA_VISIBLE_DEVICES": "GPU-a"},
        {"CUDA_VISIBLE_DEVICES": "GPU-b"},
    ]
    with pytest.raises(OptionError, match="3 GPUs"):
        local_share.share_of(environ, JobRequest(("x",), nodes=2, gpus_per_node="2"))


def test_more_memory_than_there_is() -> None:
    with pytest.raises(OptionError, match="--mem 9999T"):
        local_share.share_of(os.environ, JobRequest(("x",), nodes=2, mem="9999T"))


@pytest.mark.parametrize(
    "changes", [{"array": "0-3"}, {"dependency": "afterok:1"}, {"container": "a#b"}]
)
def test_what_needs_a_batch_system_says_so(changes: dict[str, str]) -> None:
    with pytest.raises(OptionError, match="needs"):
        system("local").jobs().render(JobRequest(("x",), **changes), JobFolder(Path("/j")))  # type: ignore[arg-type]


def test_what_means_nothing_here_is_named() -> None:
    request = JobRequest(("x",), partition="p", time="5", exclusive=True, cpus_per_node=2)
    assert left_out(request, LocalJobs.without) == ["--time", "--partition", "--exclusive"]
