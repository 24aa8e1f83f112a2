"""The promises to users on SLURM, one test for each by its name; most on the real one."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.slurm.fake.cluster import ROOT
from tests.slurm.lab_cluster import LabCluster, why_not
from tests.slurm.user import RAYHPC, User, eventually

# Says where it is, how many nodes it sees, and waits for a word.
LOOK = """
import json, os, sys, time
import ray
context = ray.init(address="auto")
@ray.remote(scheduling_strategy="SPREAD")
def where():
    return os.environ["SLURM_JOB_ID"], os.getuid()
seen = set(ray.get([where.remote() for _ in range(12)]))
print(json.dumps({
    "address": ray.get_runtime_context().gcs_address,
    "nodes": len(ray.nodes()),
    "seen": sorted(seen),
    "mine": [os.environ["SLURM_JOB_ID"], os.getuid()],
    "cpus": ray.cluster_resources()["CPU"],
    "memory": ray.cluster_resources()["memory"],
}), flush=True)
while len(sys.argv) > 1 and not os.path.exists(sys.argv[1]):
    time.sleep(0.05)
"""


def look(user: User, *words: str) -> subprocess.Popen[str]:
    user.write("look.py", LOOK)
    return user.start(
        "srun", "--quiet", *words, "rayhpc", "run", "--quiet", "--", "python", "look.py"
    )


def told(process: subprocess.Popen[str]) -> dict[str, object]:
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    found: dict[str, object] = json.loads(out)
    return found


def test_promise_ports_twenty_clusters_start_at_once_on_the_same_nodes(lab_user: User) -> None:
    """No listener has a fixed port; none takes another's."""
    crowd = [look(lab_user, "--nodes=2", "--ntasks=2", "--cpus-per-task=1") for _ in range(20)]
    found = [told(process) for process in crowd]
    assert len({str(each["address"]) for each in found}) == 20
    assert all(each["nodes"] == 2 for each in found)
    for each in found:
        assert each["seen"] == [each["mine"]]


def test_promise_detection_takes_what_the_job_has(lab_user: User) -> None:
    """The nodes have more CPUs, and much more memory, than the job has asked for."""
    found = told(look(lab_user, "--nodes=2", "--ntasks=2", "--cpus-per-task=1"))
    assert found["cpus"] == 2
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert float(str(found["memory"])) < 2 * whole * 0.8


def test_promise_tmp_two_users_share_nodes_and_directories(lab: LabCluster, lab_user: User) -> None:
    """The labs' nodes share one /tmp: two users' clusters neither meet nor see each other."""
    script = lab_user.write("look.py", LOOK)
    script.parent.chmod(0o755)
    script.parent.parent.chmod(0o755)
    other_home = lab.base / "home" / "hpcother"
    line = ("srun", "--quiet", "--nodes=2", "--ntasks=2", "rayhpc", "run", "--quiet", "--")
    mine = lab_user.start(*line, "python", str(script))
    theirs = subprocess.Popen(
        [*lab.prefix("hpcother"), *line, "python", str(script)],
        env=lab.environ(SLURMLAB_CWD=str(other_home), PWD=str(other_home)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    first, second = told(mine), told(theirs)
    assert first["seen"] == [first["mine"]]
    assert second["seen"] == [second["mine"]]
    assert first["mine"] != second["mine"]
    for name, user in (("hpcuser", "hpcother"), ("hpcother", "hpcuser")):
        script_text = f"ls /tmp/rayhpc-$(id -u {name})"
        with pytest.raises(AssertionError, match="denied"):
            lab.verb("node", "node1", "-u", user, "bash", "-c", script_text)


def test_promise_socket_paths_fit_whatever_the_jobs_directory(lab_user: User) -> None:
    """A job's TMPDIR may be longer than a socket's name can be."""
    long = lab_user.directory / ("d" * 100)
    lab_user.run("mkdir", str(long), check=True)
    lab_user.write("look.py", LOOK)
    line = ("srun", "--quiet", "--nodes=2", "--ntasks=2", "rayhpc", "run", "--quiet", "--")
    done = lab_user.run(*line, "python", "look.py", TMPDIR=str(long))
    assert done.returncode == 0, done.stderr


def test_promise_wrong_cluster_auto_finds_the_jobs_own(lab_user: User) -> None:
    """Two jobs of one user on one node, each with address="auto"."""
    go = str(lab_user.directory / "go")
    lab_user.write("look.py", LOOK)
    line = ("srun", "--nodelist=node1", "--quiet", "rayhpc", "run", "--quiet", "--")
    both = [lab_user.start(*line, "python", "look.py", go) for _ in range(2)]
    lines = [json.loads(str(each.stdout and each.stdout.readline())) for each in both]
    lab_user.run("touch", go, check=True)
    for each in both:
        each.communicate(timeout=30)
    assert lines[0]["address"] != lines[1]["address"]
    for each in lines:
        assert each["seen"] == [each["mine"]]


def test_promise_stop_ends_only_the_one_that_is_named(lab: LabCluster, lab_user: User) -> None:
    go = str(lab_user.directory / "go")
    lab_user.write("look.py", LOOK)
    line = ("srun", "--nodelist=node2", "--quiet", "rayhpc", "run", "--quiet", "--")
    both = [lab_user.start(*line, "python", "look.py", go) for _ in range(2)]
    lines = [json.loads(str(each.stdout and each.stdout.readline())) for each in both]
    lab.verb(
        *("node", "node2", "-u", "hpcuser", "env", f"PYTHONPATH={ROOT}", *RAYHPC, "stop"),
        *("--address", str(lines[0]["address"])),
    )
    assert eventually(lambda: both[0].poll() is not None, 20)
    assert both[1].poll() is None
    lab_user.run("touch", go, check=True)
    for each in both:
        each.communicate(timeout=30)
    assert (both[0].returncode != 0, both[1].returncode) == (True, 0)


def test_promise_no_sleeps() -> None:
    """Nothing in the package waits a fixed time for something to be ready."""
    found = []
    for path in sorted((ROOT / "rayhpc").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "sleep"):
                length = node.args[0]
                # A short pause between two looks is none; so is a length that grows.
                if isinstance(length, ast.Constant) and float(length.value) >= 0.5:  # type: ignore[arg-type]
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert found == []
    assert "sleep" not in "".join(path.read_text() for path in (ROOT / "templates").rglob("*.j2"))


def test_promise_network_the_named_interface_is_taken(lab_user: User) -> None:
    lab_user.write("look.py", LOOK)
    for interface in ("eth0", "10.77.0.0/16"):
        line = ("srun", "--quiet", "--nodes=2", "--ntasks=2", "rayhpc", "run", "--quiet")
        done = lab_user.run(*line, "--interface", interface, "--", "python", "look.py")
        assert json.loads(done.stdout)["address"].startswith("10.77."), done.stderr
    done = lab_user.run(*line, "--interface", "ib7", "--start-timeout", "5", "--", "true")
    assert done.returncode != 0
    assert "ib7" in done.stderr
    assert "Traceback" not in done.stderr


def test_promise_shared_memory_has_no_name_and_counts_as_memory(
    lab: LabCluster, lab_user: User
) -> None:
    go = str(lab_user.directory / "go")
    lab_user.write(
        "look.py", LOOK.replace("seen = ", "import numpy; ray.put(numpy.ones(1 << 22)); seen = ")
    )
    line = ("srun", "--nodelist=node3", "--quiet", "rayhpc", "run", "--quiet", "--")
    process = lab_user.start(*line, "python", "look.py", go)
    assert process.stdout is not None
    line_told = json.loads(process.stdout.readline())
    assert lab.verb("node", "node3", "ls", "-A", "/dev/shm") == ""
    total = float(line_told["memory"])
    lab_user.run("touch", go, check=True)
    process.communicate(timeout=30)
    assert total < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_promise_scancel_everything_is_gone_within_killwait(
    lab: LabCluster, lab_user: User
) -> None:
    done = lab_user.submit("--detach", "--json", "--nodes", "3", "--", "sleep", "1000")
    job = json.loads(done.stdout)["id"]
    assert eventually(lambda: "ready, 3 nodes" in lab_user.rayhpc("logs", job).stderr)
    lab_user.run("scancel", job, check=True)
    started = time.monotonic()
    nodes = lab.names[:3]
    assert eventually(lambda: not any(_processes(lab, name) for name in nodes), 10)
    assert time.monotonic() - started < 3 + 1.5  # the lab's KillWait, and our own looking
    said = lab_user.rayhpc("logs", job).stderr
    assert "ended by SIGTERM" in said
    assert "Killed" not in said


def test_promise_exit_code_and_one_line_for_a_failed_node(user: User) -> None:
    done = user.submit("--nodes", "2", "--", "python", "-c", "import sys; sys.exit(41)")
    assert done.returncode == 41
    script = (
        "#!/bin/bash\n#SBATCH --nodes=2 --output=job.out\n"
        "srun bash -c '[ $SLURM_PROCID = 0 ] || export RAYHPC_TMPDIR=/no/such/place; "
        "exec rayhpc run --start-timeout 20 -- true'\n"
    )
    user.write("job.sh", script)
    assert user.batch("job.sh") != 0
    text = (user.directory / "job.out").read_text()
    assert "node2" in text
    assert "/no/such/place" in text
    assert "Traceback" not in text


def test_promise_gpus_ids_are_passed_on_untouched(user: User) -> None:
    ids = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6,MIG-b1"
    user.write(
        "gpus.py",
        "import os, ray\nray.init(address='auto')\n"
        "@ray.remote(num_gpus=1, num_cpus=0)\ndef mine():\n    import time; time.sleep(0.3)\n"
        "    return os.environ['CUDA_VISIBLE_DEVICES']\n"
        "print(','.join(sorted(ray.get([mine.remote(), mine.remote()]))))\n",
    )
    line = "export CUDA_VISIBLE_DEVICES=" + ids
    user.write(
        "job.sh",
        "#!/bin/bash\n#SBATCH --nodes=1 --output=job.out\n"
        f"srun bash -c '{line}; exec rayhpc run --num-gpus 2 --quiet -- python gpus.py'\n",
    )
    assert user.batch("job.sh") == 0, (user.directory / "job.out").read_text()
    assert ids in (user.directory / "job.out").read_text()


def test_promise_nfs_a_name_is_looked_for_in_its_directory(tmp_path: Path) -> None:
    """Never by existence alone, which NFS remembers; and only whole files have the name."""
    from rayhpc.schedulers.tail import Tail

    calls = []
    original = os.listdir

    def listdir(path: object = ".") -> list[str]:
        calls.append(str(path))
        return original(path)  # type: ignore[call-overload, no-any-return]

    tail = Tail(tmp_path / "out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "listdir", listdir)
        assert tail.read() == b""
        (tmp_path / "out").write_text("x")
        assert tail.read() == b"x"
    assert calls == [str(tmp_path)] * 2
    for name in (".exists(", ".is_file("):
        for module in ("follow", "tail", "folder"):
            text = (ROOT / "rayhpc" / "schedulers" / f"{module}.py").read_text()
            uses = [line for line in text.splitlines() if name in line and "job.json" not in line]
            assert uses == []


def test_promise_controller_no_request_inside_the_job(lab: LabCluster, lab_user: User) -> None:
    """Beside the step's own life, however long the job runs."""
    go = str(lab_user.directory / "go")
    lab_user.write("look.py", LOOK)
    lab_user.write(
        "job.sh",
        "#!/bin/bash\n#SBATCH --nodes=3 --output=job.out\n"
        f"srun rayhpc run --quiet -- python look.py {go}\n",
    )
    lab_user.run("sbatch", "job.sh", check=True)
    out = lab_user.directory / "job.out"
    assert eventually(lambda: out.exists() and "address" in out.read_text(), 30)
    user_id = lab.home.stat().st_uid
    before = _requests(lab, user_id)
    time.sleep(3)  # the job runs, and is to be silent
    assert _requests(lab, user_id) == before
    lab_user.run("touch", go, check=True)
    assert eventually(lambda: not _processes(lab, "node1"))


def test_promise_limits_are_told_before_they_bite(user: User) -> None:
    script = (
        "#!/bin/bash\n#SBATCH --nodes=1 --output=job.out\n"
        "srun bash -c 'ulimit -n 64; exec rayhpc doctor'\n"
    )
    user.write("job.sh", script)
    user.batch("job.sh")
    text = (user.directory / "job.out").read_text()
    assert "64" in text
    assert re.search("open files|nofile|descriptors", text)


# -- what bad input gets, and the rest ---------------------------------------------------------


def test_without_a_shared_directory_the_nodes_are_given_back(lab_user: User) -> None:
    """The login node and the nodes of this lab share all but /dev/shm."""
    done = lab_user.submit("--job-dir", "/dev/shm/jobs", "--nodes", "2", "--", "true", timeout=90)
    assert done.returncode != 0
    assert "--job-dir" in done.stderr
    assert "/dev/shm/jobs" in done.stderr


def test_another_python_on_one_node_is_refused_by_name(lab_user: User) -> None:
    """Simulated by what a node says of itself."""
    lab_user.write(
        "sitecustomize.py",
        "import os\n"
        "if os.environ.get('SLURM_PROCID') == '1':\n"
        "    from rayhpc.launch import node_config\n"
        "    node_config.python_version = lambda: '3.99'\n",
    )
    done = lab_user.run(
        *("srun", "--nodes=2", "--ntasks=2", "rayhpc", "run", "--start-timeout", "20", "--"),
        "true",
        PYTHONPATH=f"{lab_user.directory}:{ROOT}",
        timeout=60,
    )
    assert done.returncode in (72, 73), done.stderr
    assert "node2" in done.stderr
    assert "3.99" in done.stderr


@pytest.fixture(scope="module")
def real_cpus() -> object:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("this machine has one processor: no step can be smaller than its job")
    cluster = LabCluster(1, SLURMLAB_REAL_CPUS="1")
    yield cluster
    cluster.close()


def test_a_step_smaller_than_its_job_is_warned_about(real_cpus: LabCluster) -> None:
    user = User(real_cpus, real_cpus.home / "small")
    user.write("look.py", LOOK)
    user.write(
        "job.sh",
        "#!/bin/bash\n#SBATCH --nodes=1 --ntasks=1 --cpus-per-task=2 --output=job.out\n"
        "srun --exact rayhpc run -- python look.py\n"
        "export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK\n"
        "srun rayhpc run -- python look.py\n",
    )
    assert user.batch("job.sh") == 0
    text = (user.directory / "job.out").read_text()
    small, _, right = text.partition('"cpus": 1.0')
    assert "SRUN_CPUS_PER_TASK=2" in small, text
    assert '"cpus": 2.0' in right
    assert "SRUN_CPUS_PER_TASK" not in right


def test_submit_gives_the_step_all_of_its_processors(real_cpus: LabCluster) -> None:
    user = User(real_cpus, real_cpus.home / "right")
    user.write("look.py", LOOK)
    done = user.submit("--cpus-per-node", "2", "--", "python", "look.py")
    assert json.loads(done.stdout)["cpus"] == 2, done.stderr
    assert "SRUN_CPUS_PER_TASK" not in done.stderr


def _processes(lab: LabCluster, node: str) -> str:
    return lab.verb("node", node, "bash", "-c", "pgrep -u hpcuser || true")


def _requests(lab: LabCluster, user_id: int) -> int:
    """How many requests of this user slurmctld has counted."""
    text = lab.verb("exec", "-u", "root", "sdiag")
    found = re.search(rf"\(\s*{user_id}\)\s+count:(\d+)", text)
    return int(found[1]) if found else 0
