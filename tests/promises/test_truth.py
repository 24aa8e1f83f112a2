"""Promises about what a node is: what the allocation gave, not what the machine has."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from rayhpc.allocation.local_ranks import local_facts, merge_local_ranks
from rayhpc.allocation.sizing import NodeSize, size_node
from rayhpc.batch.detect import detect
from rayhpc.machine import gpus as gpu_ids
from rayhpc.machine.facts import MachineFacts
from rayhpc.machine.limits import DESCRIPTORS, LimitPair, Limits, check_budget, read_limits
from tests.promises import recorded
from tests.promises.machines import GIB, machine, with_v1, with_v2
from tests.slurm.user import User

SLURM_GROUP = "/system.slice/slurmstepd.scope/job_1/step_0"


def size(environ: dict[str, str], here: MachineFacts) -> NodeSize:
    return size_node(here, detect(environ, here))


@pytest.mark.parametrize(
    ("section", "task", "rank", "ranks", "nodes", "cpus", "gpus"),
    [
        (recorded.BATCH, None, 0, 1, 4, 4, ("0", "1")),
        (recorded.STEP, 0, 0, 4, 4, 4, ("0", "1")),
        (recorded.STEP, 3, 3, 4, 4, 4, ("0", "1")),
        (recorded.ONE_NODE, None, 0, 1, 1, 4, ("0", "1")),
        # A step of its own size on a part of the nodes: the job's variables would mislead.
        (recorded.EXACT, 1, 1, 3, 3, 2, ("0",)),
        (recorded.LOGIN, None, 0, 4, 4, 4, ("0", "1")),
    ],
    ids=["batch", "step-0", "step-3", "overlap", "exact", "login"],
)
def test_whole_node_detection(
    section: str,
    task: int | None,
    rank: int,
    ranks: int,
    nodes: int,
    cpus: int,
    gpus: tuple[str, ...],
) -> None:
    environ = recorded.recorded(section, task)
    # Of each machine with 128 processors and 8 GPUs the job got a few.
    here = machine(environ, gpus=8)
    found = detect(environ, here)
    assert (found.rank.value, found.size.value, found.num_nodes.value) == (rank, ranks, nodes)
    assert found.job_id.value in ("1", "2")
    own = size_node(here, found)
    assert (own.cpus.value, own.gpus.value.ids) == (cpus, gpus)
    assert own.memory.value == int(512 * GIB * max(cpus / 128, len(gpus) / 8))


def test_whole_node_detection_with_two_tasks_a_node() -> None:
    common = recorded.recorded(recorded.STEP, 1)
    environ = {**common, **recorded.recorded(recorded.TWO_A_NODE, 3)}
    first = machine(environ, affinity=frozenset({0, 1}))
    second = dataclasses.replace(first, affinity=frozenset({2, 3}))
    found = detect(environ, second)
    assert (found.rank.value, found.size.value) == (3, 8)
    assert (found.local_rank.value, found.local_size.value, found.node_index.value) == (1, 2, 1)
    union = merge_local_ranks([local_facts(first, found), local_facts(second, found)])
    assert size_node(first, found, union).cpus.value == 4


@pytest.mark.parametrize(
    ("limits", "cpus", "memory"),
    [
        ({}, 4, 16 * GIB),
        ({f"{SLURM_GROUP}/cpu.max": "150000 50000"}, 3, None),
        ({f"{SLURM_GROUP}/cpuset.cpus.effective": "8-9"}, 2, None),
        # A limit may be set at any level of the group's parents.
        ({"system.slice/slurmstepd.scope/job_1/memory.max": str(6 * GIB)}, 4, 6 * GIB),
        ({f"{SLURM_GROUP}/memory.high": str(2 * GIB), "memory.max": "max"}, 4, 2 * GIB),
    ],
    ids=["none", "quota", "cpuset", "parent", "high"],
)
def test_whole_node_detection_in_cgroup_v2(
    tmp_path: Path, limits: dict[str, str], cpus: int, memory: int | None
) -> None:
    files = {name.lstrip("/"): text for name, text in limits.items()}
    environ = recorded.recorded(recorded.STEP, 0) | {"SLURM_MEM_PER_NODE": str(16 * 1024)}
    own = size(environ, machine(environ, with_v2(tmp_path, SLURM_GROUP, files)))
    assert own.cpus.value == cpus
    assert memory is None or own.memory.value == memory


@pytest.mark.parametrize(
    ("limits", "cpus", "memory"),
    [
        ({}, 4, 16 * GIB),
        ({"cpu,cpuacct{}/cpu.cfs_quota_us": "200000"}, 2, None),
        ({"cpuset{}/cpuset.cpus": "4,6,8"}, 3, None),
        ({"memory/slurm/memory.limit_in_bytes": str(5 * GIB)}, 4, 5 * GIB),
        # What v1 writes where nothing is limited.
        ({"memory{}/memory.limit_in_bytes": "9223372036854771712"}, 4, 16 * GIB),
    ],
    ids=["none", "quota", "cpuset", "parent", "unlimited"],
)
def test_whole_node_detection_in_cgroup_v1(
    tmp_path: Path, limits: dict[str, str], cpus: int, memory: int | None
) -> None:
    group = "/slurm/uid_1000/job_1/step_0"
    files = {name.format(group): text for name, text in limits.items()}
    files[f"cpu,cpuacct{group}/cpu.cfs_period_us"] = "100000"
    environ = recorded.recorded(recorded.STEP, 0) | {"SLURM_MEM_PER_NODE": str(16 * 1024)}
    own = size(environ, machine(environ, with_v1(tmp_path, group, files)))
    assert own.cpus.value == cpus
    assert memory is None or own.memory.value == memory


def test_whole_node_detection_by_affinity() -> None:
    environ = recorded.recorded(recorded.STEP, 0)
    own = size(environ, machine(environ, affinity=frozenset({5, 7, 9})))
    assert (own.cpus.value, own.cpus.source) == (3, "affinity")


def test_whole_node_detection_on_slurm(user: User) -> None:
    """The nodes have more processors, and much more memory, than the job has asked for."""
    look = (
        "import ray; ray.init('auto'); have = ray.cluster_resources(); "
        "print(int(have['CPU']), int(have['memory']))"
    )
    step = ["srun", "--mpi=none", "--nodes=2", "--ntasks=2", "--cpus-per-task=1"]
    done = user.run(*step, "rayhpc", "run", "--quiet", "--", "python", "-c", look)
    cpus, memory = map(int, done.stdout.split())
    assert cpus == 2, done.stderr
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert memory < 2 * whole * 0.8


OPAQUE = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6,MIG-1c5b,GPU-5f"


@pytest.mark.parametrize(
    ("environ", "ids", "task"),
    [
        ({"CUDA_VISIBLE_DEVICES": "3,1"}, ("3", "1"), {"CUDA_VISIBLE_DEVICES": "1"}),
        ({"CUDA_VISIBLE_DEVICES": OPAQUE}, tuple(OPAQUE.split(",")), None),
        ({"CUDA_VISIBLE_DEVICES": ""}, (), None),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, (), None),
        ({"ROCR_VISIBLE_DEVICES": "0,2"}, ("0", "2"), {"ROCR_VISIBLE_DEVICES": "2"}),
        ({"ZE_AFFINITY_MASK": "0.0,0.1"}, ("0.0", "0.1"), {"ZE_AFFINITY_MASK": "0.1"}),
    ],
    ids=["index", "opaque", "none", "slurm-none", "rocm", "tiles"],
)
def test_gpus(environ: dict[str, str], ids: tuple[str, ...], task: dict[str, str] | None) -> None:
    slurm = recorded.recorded(recorded.STEP, 0)
    kept = {name: text for name, text in slurm.items() if name not in _gpu_variables()}
    whole = {**kept, **environ}
    found = detect(whole, machine(whole)).gpus.value
    assert found.ids == ids
    if task is not None:
        changes = gpu_ids.task_environment(found, ids[1:])
        assert {name: text for name, text in changes.items() if text is not None} == task


GPU_TASKS = """
import os, rayhpc
rayhpc.init()
@rayhpc.remote(num_gpus=1)
class Holder:
    def seen(self):
        return os.environ["CUDA_VISIBLE_DEVICES"], rayhpc.get_gpu_ids()
holders = [Holder.remote() for _ in range(2)]
print(sorted(rayhpc.get([each.seen.remote() for each in holders])))
"""


def test_gpus_of_a_task(short_tmp: Path) -> None:
    """Each actor sees its own of the node's, by the very id that the scheduler gave."""
    environ = {"CUDA_VISIBLE_DEVICES": "GPU-aa,MIG-bb", "RAYHPC_TMPDIR": str(short_tmp)}
    done = rayhpc_run(environ, "--num-cpus", "2", "--", sys.executable, "-c", GPU_TASKS)
    assert done.returncode == 0, done.stderr
    assert "('GPU-aa', ['GPU-aa']), ('MIG-bb', ['MIG-bb'])" in done.stdout


SHM = """
import numpy as np, rayhpc
rayhpc.init()
ref = rayhpc.put(np.ones(8 << 20, dtype=np.uint8))
assert rayhpc.get(ref).sum() == 8 << 20
have = rayhpc.cluster_resources()
maps = open("/proc/self/maps").read()
print(int(have["memory"]), int(have["object_store_memory"]), "/dev/shm" in maps, "memfd:" in maps)
"""


def test_shm(short_tmp: Path) -> None:
    """The store is a part of the memory that was given, and has no name in /dev/shm."""
    environ = {
        **recorded.recorded(recorded.BATCH),
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_MEM_PER_NODE": "2048",
        "RAYHPC_TMPDIR": str(short_tmp),
    }
    done = rayhpc_run(environ, "--", sys.executable, "-c", SHM)
    assert done.returncode == 0, done.stderr
    memory, store, *mapped = done.stdout.split()
    assert int(memory) + int(store) <= 2 * GIB
    assert int(store) == pytest.approx(0.3 * 2 * GIB, rel=0.01)
    assert mapped == ["False", "True"]


def test_shm_that_does_not_fit(short_tmp: Path) -> None:
    environ = {
        **recorded.recorded(recorded.BATCH),
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_MEM_PER_NODE": "1024",
        "RAYHPC_TMPDIR": str(short_tmp),
    }
    done = rayhpc_run(environ, "--object-store-memory", str(2 * GIB), "--", "true")
    assert done.returncode == 78
    assert "SLURM_MEM_PER_NODE" in done.stderr
    assert "--object-store-memory" in done.stderr


def test_limits() -> None:
    """What does not fit is said with its remedy before anything is started."""
    fine = Limits(LimitPair(1024, 4096), LimitPair(None, None), LimitPair(None, None))
    assert check_budget(fine, descriptors=DESCRIPTORS, threads=100) == []
    tight = Limits(LimitPair(256, 256), LimitPair(64, 64), LimitPair(None, None), pids=80)
    said = check_budget(tight, descriptors=DESCRIPTORS, threads=100)
    assert [any(word in each for each in said) for word in ("ulimit -Hn", "ulimit -u")] == [
        True
    ] * 2
    assert any("control group allows 80" in each for each in said)
    assert read_limits().nofile.hard in (None, resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def test_limits_are_named_at_the_start(short_tmp: Path) -> None:
    script = 'ulimit -n 512; exec "$@"'
    command = ["bash", "-c", script, "x", sys.executable, "-m", "rayhpc.cli.main", "run"]
    environ = {**os.environ, "RAYHPC_TMPDIR": str(short_tmp)}
    done = subprocess.run(
        [*command, "--num-cpus", "1", "--", "true"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "open files are needed, the hard limit is 512" in done.stderr


def test_limits_doctor_shows_them(short_tmp: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rayhpc.cli.main", "doctor", "--json"],
        env={**os.environ, "RAYHPC_TMPDIR": str(short_tmp)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    shown = json.loads(done.stdout)
    for name in ("open files", "threads", "locked memory"):
        assert set(shown["limits"][name]["value"]) == {"soft", "hard"}
    assert shown["machine"]["memory of /dev/shm"]["value"]
    assert shown["software"]["packages"]["value"]["rayhpc"]


SHIFTED = """
import time
real = time.time
time.time = lambda: real() - 1000
"""


def test_limits_of_clocks_and_versions(short_tmp: Path) -> None:
    """Another clock is told, another version refused: both name the node and what to do."""
    site = short_tmp / "shifted"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SHIFTED)
    head, other = ranks(short_tmp, "true", PYTHONPATH=f"{site}:{os.environ.get('PYTHONPATH', '')}")
    assert (head.returncode, other.returncode) == (0, 0), head.stderr
    assert re.search(r"the clock of node \S+ \(127.0.0.2\) is 1000 s behind rank 0's", head.stderr)
    (site / "sitecustomize.py").write_text("import rayhpc\nrayhpc.__version__ = '9.9'\n")
    head, other = ranks(short_tmp, "true", PYTHONPATH=f"{site}:{os.environ.get('PYTHONPATH', '')}")
    assert (head.returncode, other.returncode) == (72, 73)
    assert "runs rayhpc 9.9" in head.stderr
    assert "Install the same version on all nodes" in head.stderr


def ranks(
    folder: Path, program: str, **environ: str
) -> tuple[subprocess.CompletedProcess[str], subprocess.CompletedProcess[str]]:
    """Two ranks that meet in `folder`; rank 1 has these variables besides."""
    base = {**os.environ, "RAYHPC_TMPDIR": str(folder)}
    started = []
    for rank, more in enumerate(({}, environ)):
        place = ["--rank", str(rank), "--size", "2", "--node-ip-address", f"127.0.0.{rank + 1}"]
        command = [sys.executable, "-m", "rayhpc.cli.main", "run", *place, "--num-cpus", "1"]
        process = subprocess.Popen(
            [*command, "--rendezvous", str(folder / "meet"), "--", program],
            env={**base, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
    ended = []
    for process in started:
        out, err = process.communicate(timeout=60)
        ended.append(subprocess.CompletedProcess(process.args, process.returncode, out, err))
    return ended[0], ended[1]


def rayhpc_run(environ: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """`rayhpc run` with these words, in an environment where these variables are set."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("SLURM")}
    return subprocess.run(
        [sys.executable, "-m", "rayhpc.cli.main", "run", *words],
        env={**inherited, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _gpu_variables() -> set[str]:
    names = {name for each in gpu_ids.VARIABLES.values() for name in each}
    return names | {"GPU_DEVICE_ORDINAL"}
