"""An error inside the raylet or the head ends at most what it concerned, and is shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

# Read by every process of the cluster when it starts.
FAULTS = """
    import sys
    if any("rayhpc.launch.node" in x for x in sys.orig_argv):
        from rayhpc.head import actors, kv
        from rayhpc.raylet import reporting, leases
        def raising(cls, name, when):
            right = getattr(cls, name)
            def wrong(self, *args):
                if when(*args):
                    raise RuntimeError("made by a test")
                return right(self, *args)
            setattr(cls, name, wrong)
        raising(reporting.Answers, "_rows", lambda q: type(q).__name__ == "StoreObjects")
        raising(leases.Leases, "on_request", lambda m: m.wanted.resources.get("wrong"))
        raising(actors.Actors, "on_create", lambda s, m: m.spec.class_name == "Wrong")
        raising(kv.Kv, "keys", lambda space, prefix: prefix == b"wrong")
"""
PROGRAM = """
    import json, os, subprocess, sys, time, rayhpc
    from rayhpc.cluster_utils import Cluster
    from rayhpc.util.state import list_objects
    cluster = Cluster(initialize_head=True, head_node_args={"resources": {"wrong": 1}})
    if NODES == 2:
        cluster.add_node(num_cpus=1)
    rayhpc.init(cluster.address)
    cluster.wait_for_nodes()

    @rayhpc.remote
    def double(x): return 2 * x
    @rayhpc.remote
    class Wrong:
        def f(self): return 1
    @rayhpc.remote
    class Right:
        def f(self): return 1

    def outcome(action):
        try:
            return action()
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    found = {
        "task": outcome(lambda: rayhpc.get(
            double.options(resources={"wrong": 1}).remote(1), timeout=20)),
        "actor": outcome(lambda: rayhpc.get(Wrong.remote().f.remote(), timeout=20)),
        "named": outcome(lambda: Wrong.options(name="wrong").remote()),
        "objects": outcome(lambda: list_objects()),
        "others": rayhpc.get([double.remote(x) for x in range(20)] + [Right.remote().f.remote()]),
    }
    rayhpc_command = os.path.join(os.path.dirname(sys.executable), "rayhpc")
    status = [rayhpc_command, "status", "--address", cluster.address]
    end = time.monotonic() + 60  # a heartbeat brings it
    while "node" not in found.get("status", "") and time.monotonic() < end:
        found["status"] = subprocess.run(status, capture_output=True, text=True).stdout
    print(json.dumps(found, default=str))
    rayhpc.shutdown()
    cluster.shutdown()
"""


@pytest.mark.parametrize("nodes", [1, 2])
def test_only_what_it_concerned_fails_and_status_says_so(tmp_path: Path, nodes: int) -> None:
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(FAULTS))
    done = subprocess.run(
        [sys.executable, "-c", f"NODES = {nodes}\n" + textwrap.dedent(PROGRAM)],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert "made by a test" in found["task"]
    assert "made by a test" in found["actor"]
    assert "made by a test" in found["named"]
    assert found["others"] == [*range(0, 40, 2), 1]
    assert "inside rayhpc" in found["status"]
    assert "RuntimeError: made by a test" in found["status"]
