"""A machine that was asked for before the head's process was killed joins when it is back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from rayhpc.elastic.types import NodeType
from rayhpc.kubernetes.client import Client
from rayhpc.kubernetes.objects import JOB
from rayhpc.launch import growth_file, sessions
from rayhpc.launch.growth_file import GrowthFile
from rayhpc.providers.kubernetes import names
from rayhpc.providers.kubernetes.provider import HEAD_JOB, OWNER
from rayhpc.wire.messages.common import UNIT
from tests.ends.head_process import Head, until
from tests.kubernetes.fake.server import FakeApi
from tests.kubernetes.test_client import job as job_manifest

RAYHPC = [sys.executable, "-m", "rayhpc.cli.main"]
PROGRAM = """
import rayhpc as ray

ray.init()

@ray.remote(num_cpus=1)
def where():
    return ray.get_runtime_context().get_node_id()

print("ran elsewhere:", ray.get(where.remote()) != ray.get_runtime_context().get_node_id())
"""
POD = {"spec": {"containers": [{"name": "ray-node", "image": "any/image:1"}]}}


def test_its_token_is_still_good(api: FakeApi, client: Client, tmp_path: Path) -> None:
    head_job = client.create(JOB, job_manifest("demo-head"))
    secrets = api.store.watch("secrets")
    growth = GrowthFile(
        cluster="demo",
        provider="kubernetes",
        options={HEAD_JOB: "demo-head", OWNER: "me"},
        types=[NodeType("worker", {"CPU": UNIT}, max_nodes=1, options=POD)],
        most=1,
        work_dir=str(tmp_path),
    )
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    told = str(growth_file.write_growth(tmp_path, growth))
    alone = ["--rank=0", "--size=1", "--no-report", "--num-cpus=0", "--node-ip-address=127.0.0.1"]
    environ = {**os.environ, "KUBECONFIG": str(api.kubeconfig())}
    with subprocess.Popen(
        [*RAYHPC, "run", *alone, "--growth", told, "--", sys.executable, str(program)],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        try:
            _, secret = secrets.get(timeout=60)
            address = _kill_head(tmp_path)
            job = names.machine_job("rayhpc-demo", head_job.metadata.uid, "worker-1")
            assert secret["metadata"]["name"] == job
            api.run(job, "127.0.0.1")
            with _joined(tmp_path, address, secret) as node:
                said, _ = run.communicate(timeout=60)
                node.terminate()
        finally:
            run.kill()
    assert said == "ran elsewhere: True\n"


def _kill_head(folder: Path) -> str:
    """Returns where its next life serves."""
    until(lambda: growth_file.read_note(folder) is not None)
    note = growth_file.read_note(folder)
    assert note is not None
    record = sessions.read_record(Path(note.session_dir))
    assert record is not None
    head = Head(record.pid)
    pid = head.kill()
    until(lambda: head.is_another_than(pid))
    return note.address


def _joined(folder: Path, address: str, secret: dict[str, Any]) -> subprocess.Popen[bytes]:
    """What the pod does: a node that has the token and nothing else."""
    token = folder / "token"
    token.write_text(secret["stringData"]["token"])
    labels = '--labels={"rayhpc.io/machine": "worker-1", "rayhpc.io/node-type": "worker"}'
    words = ["start", f"--address={address}", f"--join-token={token}", "--block", labels]
    return subprocess.Popen([*RAYHPC, *words, "--num-cpus=1", "--node-ip-address=127.0.0.1"])
