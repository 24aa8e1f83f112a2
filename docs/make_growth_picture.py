"""Makes `docs/images/growth.svg` from a real run: 200 tasks on a cluster that grows to eight nodes.

`python -m docs.make_growth_picture`, in the repository's folder, as root: it brings up the SLURM of
`slurm/lab`.  Prints what the run came to, and fails if a task was lost, if the cluster did not get
its eight nodes, or if it was not back at its minimum within a minute of the last task.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from tests.slurm.lab_cluster import LabCluster, why_not
from tests.slurm.user import User

PICTURE = Path(__file__).parent / "images" / "growth.svg"
NODES = 8
CLUSTER = f"""
cluster_name: growth
max_workers: {NODES}
idle_timeout_minutes: 0.5
provider: {{type: slurm, head: job}}
head_node_type: head
available_node_types:
    head: {{resources: {{CPU: 0}}, node_config: {{cpus-per-task: 8}}}}
    worker: {{resources: {{CPU: 4}}, node_config: {{cpus-per-task: 8}}}}
"""
PROGRAM = """
import subprocess, time
import ray

ray.init()

@ray.remote
def work():
    time.sleep(5)
    return ray.get_runtime_context().get_node_id()

def alive():
    return sum(node["Alive"] for node in ray.nodes())

done = ray.get([work.remote() for _ in range(200)])
ended = time.time()
while alive() > 1:
    time.sleep(0.5)
print("tasks", len(done), "nodes", len(set(done)), "back", round(time.time() - ended, 1))
time.sleep(5)
subprocess.run(["rayhpc", "timeline", "--cluster", "-o", "growth.svg"], check=True)
"""


def main() -> None:
    """Run it, and keep the picture."""
    if why_not():
        sys.exit(why_not())
    lab = LabCluster(NODES + 1, SLURMLAB_PREFIX="grow")
    try:
        user = User(lab, Path(lab.home, "growth"))
        user.write("cluster.yaml", CLUSTER)
        user.write("program.py", PROGRAM)
        user.rayhpc("up", "-y", "cluster.yaml", check=True)
        try:
            done = user.rayhpc("submit", "growth", "program.py", timeout=200, check=True)
        finally:
            user.rayhpc("down", "-y", "growth", check=True)
        shutil.copyfile(user.directory / "growth.svg", PICTURE)
    finally:
        lab.close()
    print(done.stdout, end="")
    found = re.search(r"tasks (\d+) nodes (\d+) back ([\d.]+)", done.stdout)
    if found is None or (found[1], found[2]) != ("200", str(NODES)) or float(found[3]) > 60:
        sys.exit(1)


if __name__ == "__main__":
    main()
