"""`init`, `shutdown` and what workers print: programs whose driver is on the far node."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rayhpc as ray
from rayhpc.compat import shim
from tests.api.actors.counter import wait_for
from tests.api.names import programs
from tests.api.names.naming import Two, covers, get, until_idle

REPOSITORY = Path(__file__).parent.parent.parent.parent
PATH = os.pathsep.join(x for x in (str(REPOSITORY), os.environ.get("PYTHONPATH")) if x)


def run(name: str, *words: str, **environ: str) -> tuple[str, str]:
    """What a program of `programs` writes to stdout and stderr."""
    done = subprocess.run(
        [sys.executable, "-m", programs.__name__, name, *words],
        env={**os.environ, "PYTHONPATH": PATH, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


# -- joining ---------------------------------------------------------------------------------------
@covers(
    "init: address",
    "init: namespace",
    "init: runtime_env",
    "init: ignore_reinit_error",
    "init: logging_level",
    "init: its context",
    "is_initialized",
    "shutdown",
    "actors: detached",
)
def test_a_program_on_the_other_node(two: Two) -> None:
    run("joins", two.session(two.far), two.far, two.near)
    # What it left behind is what it said that it would.
    kept = ray.get_actor("kept", namespace="of a program")
    assert get([kept.add.remote(), kept.node.remote()]) == [6, two.near]

    def is_lost() -> bool:
        try:
            ray.get_actor("lost", namespace="of a program")
        except ValueError:
            return True
        return False

    wait_for(is_lost)
    ray.kill(kept)


@covers("init: address", 'init: address="auto"', "init: RAYHPC_ADDRESS")
def test_finding_the_cluster(two: Two) -> None:
    out, _ = run("finds", two.cluster.address)
    for here, near, far in json.loads(out):
        assert here in two.both
        assert (near, far) == (two.near, two.far)


@covers(
    "init: num_cpus",
    "init: num_gpus",
    "init: memory",
    "init: object_store_memory",
    "init: resources",
    "init: labels",
)
def test_sizes_of_a_cluster_that_another_node_joins() -> None:
    run("sizes")


@covers("before init", "init: no address", "shutdown")
def test_a_cluster_that_starts_by_itself_is_joined() -> None:
    run("first_call")


@covers(
    "ray._private.state.actors",
    "ray._private.state.state.placement_group_table",
    "ray._private.state.available_resources_per_node",
    "ray._private.services.get_node_ip_address",
    "ray.experimental.state.api.get_actor",
    "ray.autoscaler.sdk.request_resources",
)
def test_modules_of_ray(two: Two) -> None:
    run("as_ray", two.session(two.far), two.near, **_served())


def _served() -> dict[str, str]:
    """The environment of a program that `rayhpc run` starts."""
    return shim.environment({**os.environ, "PYTHONPATH": PATH}, as_ray=True)


# -- output ----------------------------------------------------------------------------------------
@covers("init: log_to_driver", "output: stdout", "output: stderr", "output: name, pid, node")
def test_output_comes_from_the_other_node(two: Two) -> None:
    out, err = run("prints", two.session(two.far))
    prefix = rf"\(.*speaker of heard.* pid=\d+, ip={re.escape(two.ip(two.near))}\)"
    assert re.search(prefix + " heard on stdout", out)
    assert re.search(prefix + " heard on stderr", err)
    assert "unheard" not in out + err


@pytest.mark.parametrize("folded", [True, False])
@covers("output: repeated lines are folded")
def test_lines_that_many_workers_print(two: Two, folded: bool) -> None:
    until_idle()
    out, _ = run("repeats", two.cluster.address, **({} if folded else {"RAYHPC_DEDUP_LOGS": "0"}))
    found = json.loads(out.splitlines()[-1])
    assert {node for _, node in found} == two.both
    if folded:
        assert out.count("the same line") == 2
        assert "[repeated 3x across cluster" in out
    else:
        assert sorted(int(x) for x in re.findall(r"the same line of (\d+)", out)) == sorted(
            pid for pid, _ in found
        )
