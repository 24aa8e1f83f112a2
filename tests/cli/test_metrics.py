"""`rayhpc metrics`, printed and for a collector."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.cli.shell import FREE, Shell

PROGRAM = """
import rayhpc as ray
from rayhpc.util import metrics
ray.init()
metrics.Counter("my_items", "done", tag_keys=("kind",)).inc(3, tags={"kind": "a"})
metrics.publish()
print("ready", flush=True)
input()
"""


def test_a_clusters_figures_and_a_programs_own(shell: Shell, tmp_path: Path) -> None:
    record = shell.start(*FREE)
    environ = {**os.environ, "RAYHPC_ADDRESS": record.address}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", PROGRAM], env=environ, **pipes) as program:  # type: ignore[call-overload]
        assert program.stdout.readline() == "ready\n"
        done = shell("metrics", "--address", record.address)
        program.communicate("\n")
    assert done.returncode == 0, done.stderr
    assert f'rayhpc_programs{{cluster="{record.cluster_id}"}} 1' in done.stdout
    assert 'resource="CPU"} 1.0' in done.stdout
    assert 'my_items{kind="a"} 3.0' in done.stdout
    done = shell("metrics", "--textfile", str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "")
    (path,) = tmp_path.iterdir()
    assert path.name == f"rayhpc-{record.cluster_id[:8]}.prom"
    assert path.stat().st_mode & 0o044 == 0o044
    assert "rayhpc_nodes" in path.read_text()
