"""Whole clusters on both: from `srun`, `sbatch`, `rayhpc run` and `submit` to the result."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest

from rayhpc.exit_codes import ExitCode
from tests.slurm.fake.cluster import ROOT
from tests.slurm.user import User, eventually

NODES = """
import sys, time
import ray
ray.init(address="auto")
alive = [node for node in ray.nodes() if node["Alive"]]
print(len(alive), int(ray.cluster_resources()["CPU"]), flush=True)
sys.exit(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
"""


@pytest.fixture
def program(user: User) -> str:
    return str(user.write("nodes.py", NODES))


def least(given: int) -> int:
    """The CPUs of a node that SLURM gave `given` of: the nodes pretend more than there are."""
    return min(given, len(os.sched_getaffinity(0)))


def sbatch(user: User, script: str, *words: str, **more: str) -> tuple[int, str]:
    """Submit a script and wait; its exit code and output."""
    user.write("job.sh", script)
    code = user.batch("--output=job.out", *words, "job.sh", **more)
    return code, (user.directory / "job.out").read_text()


def test_submit_from_the_command_to_its_exit_code(user: User, program: str) -> None:
    words = ("--nodes", "3", "--cpus-per-node", "2", "--", "python", program, "7")
    done = user.submit(*words)
    assert (done.returncode, done.stdout) == (7, f"3 {3 * least(2)}\n"), done.stderr
    assert "ready, 3 nodes at" in done.stderr
    (row,) = user.json("jobs")
    logs = Path(row["folder"]) / "nodes"
    assert len(list(logs.glob("*.log"))) == 3
    assert list((Path(row["folder"]) / "rendezvous").iterdir()) == []


def test_one_line_is_all_a_job_script_needs(user: User, program: str) -> None:
    script = (
        "#!/bin/bash\n#SBATCH --nodes=3 --ntasks-per-node=1\n"
        f"srun rayhpc run -- python {program} 5\n"
    )
    code, out = sbatch(user, script)
    assert code == 5, out
    assert "3 3\n" in out


def test_without_srun_it_starts_the_step_itself(user: User, program: str) -> None:
    script = (
        "#!/bin/bash\n#SBATCH --nodes=3 --ntasks-per-node=2 --cpus-per-task=2\n"
        f"rayhpc run -- python {program} 4\n"
    )
    code, out = sbatch(user, script)
    assert code == 4, out
    assert f"3 {3 * least(4)}\n" in out


def test_several_ranks_on_a_node_are_one_node(user: User, program: str) -> None:
    script = (
        "#!/bin/bash\n#SBATCH --nodes=2 --ntasks-per-node=3 --cpus-per-task=2\n"
        f"export SRUN_CPUS_PER_TASK=2\nsrun rayhpc run -- python {program}\n"
    )
    code, out = sbatch(user, script)
    assert code == 0, out
    assert f"2 {2 * least(6)}\n" in out


def test_the_program_ended_by_a_signal(user: User) -> None:
    script = "#!/bin/bash\n#SBATCH --nodes=2\nsrun rayhpc run -- bash -c 'kill -USR1 $$'\n"
    code, out = sbatch(user, script)
    assert code == 128 + signal.SIGUSR1, out


def test_a_command_and_a_python_inside_the_running_job(user: User) -> None:
    done = user.submit("--detach", "--json", "--nodes", "2", "--", "sleep", "1000")
    job = json.loads(done.stdout)["id"]
    try:
        assert eventually(lambda: "ready, 2 nodes" in user.rayhpc("logs", job).stderr)
        look = "import rayhpc; rayhpc.init('auto'); print(len(rayhpc.nodes()))"
        done = user.rayhpc("exec", job, "--", "python", "-c", look)
        assert done.stdout == "2\n", done.stderr
        line = "print(ray.get(ray.remote(abs).remote(-2)))\n"
        done = user.rayhpc("attach", job, stdin=line)
        assert "\n2\n" in done.stdout, done.stderr
        done = user.rayhpc("top", job, "--json")
        assert json.loads(done.stdout)["cluster"]["nodes"] == 2, done.stderr
    finally:
        user.rayhpc("cancel", job)
    assert user.rayhpc("wait", job).returncode == 128 + signal.SIGTERM


def test_commands_reach_the_cluster_of_their_own_task_of_an_array(user: User) -> None:
    """Two tasks run at once, perhaps on the same nodes, each with a cluster of its own."""
    program = "echo $SLURM_ARRAY_TASK_ID $RAYHPC_ADDRESS; sleep 1000"
    array = ("--array", "1-2", "--nodes", "2")
    done = user.submit("--detach", "--json", *array, "--", "bash", "-c", program)
    job = json.loads(done.stdout)["id"]
    try:
        for task in "12":
            look = partial(user.rayhpc, "logs", f"{job}_{task}")
            assert eventually(lambda look=look: look().stdout, 40), look().stderr  # type: ignore[misc]
        told = [user.rayhpc("logs", f"{job}_{task}").stdout.split() for task in "12"]
        assert [number for number, _ in told] == ["1", "2"]
        assert told[0][1] != told[1][1]
        show = "import rayhpc; rayhpc.init('auto'); print(len(rayhpc.nodes()), {}, flush=True)"
        own = show.format("rayhpc.get_runtime_context().gcs_address")
        for task, address in told:
            done = user.rayhpc("exec", f"{job}_{task}", "--", "python", "-c", own)
            assert done.stdout == f"2 {address}\n", done.stderr
            done = user.rayhpc("attach", f"{job}_{task}", stdin="print(len(ray.nodes()))\n")
            assert "\n2\n" in done.stdout, done.stderr
            assert f"connected to {address}" in done.stdout
    finally:
        user.rayhpc("cancel", f"{job}_1")
    assert user.rayhpc("wait", f"{job}_1").returncode == 128 + signal.SIGTERM
    # The other one goes on.
    assert user.json("status", f"{job}_2")[0]["status"]["state"] == "running"
    user.rayhpc("cancel", job)
    assert user.rayhpc("wait", job).returncode == 128 + signal.SIGTERM
    folder = Path(user.json("jobs")[0]["folder"]) / "nodes"
    assert {task: len(list((folder / task).glob("*.log"))) for task in "12"} == {"1": 2, "2": 2}
    (log,) = (folder / "1").glob("00001-*")
    name = log.stem[len("00001-") :].rpartition("-")[0]
    assert log.read_text() in user.rayhpc("logs", f"{job}_1", "--node", name).stdout
    assert name in user.rayhpc("logs", f"{job}_1", "--node", "nowhere").stderr


def test_a_missing_interpreter_on_the_nodes_gives_the_nodes_back(user: User) -> None:
    script = (
        "#!/bin/bash\n#SBATCH --nodes=3\n"
        "srun bash -c 'if [ $SLURM_PROCID = 2 ]; then exec /no/such/python; fi; "
        "exec rayhpc run --start-timeout 5 -- true'\n"
    )
    code, out = sbatch(user, script)
    # srun's code is the highest of its tasks': here that of the shell that found no interpreter.
    assert code == max(ExitCode.TOO_FEW_NODES, 127), out
    assert "2 of 3 nodes" in out
    assert "node3: no word from it" in out


def test_a_program_that_is_missing_ends_all_at_once(user: User) -> None:
    done = user.submit("--nodes", "3", "--", "no-such-program")
    assert done.returncode == ExitCode.CONFIGURATION
    assert "no program 'no-such-program'" in done.stderr


def test_the_time_limit_is_told_to_the_program(user: User) -> None:
    """SIGTERM, some time to react, and an end of its own."""
    user.write(
        "slow.py",
        "import signal, sys, time\n"
        # srun passes it on as well; Python, while it ends, would die of a second one.
        "def end(number, frame):\n"
        "    signal.signal(number, signal.SIG_IGN)\n"
        "    print('told', flush=True)\n    sys.exit(9)\n"
        "signal.signal(signal.SIGTERM, end)\nprint('up', flush=True)\ntime.sleep(1000)\n",
    )
    done = user.submit("--detach", "--json", "--nodes", "2", "--", "python", "slow.py")
    job = json.loads(done.stdout)["id"]
    assert eventually(lambda: user.rayhpc("logs", job).stdout == "up\n")
    user.run("scancel", job, check=True)
    assert user.rayhpc("wait", job).returncode == 9
    assert user.rayhpc("logs", job).stdout == "up\ntold\n"


# -- the ready-made scripts --------------------------------------------------------------------
def _ready_made(user: User, name: str) -> str:
    """One of them as people get it, in a directory with nothing else in it."""
    shown = user.rayhpc("template", "show", name)
    assert shown.returncode == 0, shown.stderr
    return user.write(f"{name}.sh", shown.stdout).name


def test_ray_job(user: User) -> None:
    code = user.batch(_ready_made(user, "ray_job"))
    (out,) = user.directory.glob("ray-*.out")
    assert code == 0, out.read_text()
    if user.cluster.kind == "lab":
        assert out.read_text().count("10.77.") >= 8
        assert len(set(_addresses(out.read_text()))) == 8


def test_the_first_program_of_every_tutorial_by_one_command(lab_user: User) -> None:
    program = ["python", "-m", "rayhpc.examples.addresses"]
    done = lab_user.submit("--nodes", "8", "--cpus-per-node", "2", "--", *program)
    assert done.returncode == 0, done.stderr
    assert len(set(_addresses(done.stdout))) == 8


def test_ray_gpu(user: User) -> None:
    code = user.batch(_ready_made(user, "ray_gpu"))
    (out,) = user.directory.glob("ray-gpu-*.out")
    lines = [line for line in out.read_text().splitlines() if " gpu " in line]
    assert code == 0, out.read_text()
    assert sorted(line.rpartition(" ")[2] for line in lines) == ["0", "0", "1", "1"]


def test_ray_array(user: User) -> None:
    user.run("sbatch", _ready_made(user, "ray_array"), check=True)

    def outputs() -> list[str]:
        return [path.read_text() for path in sorted(user.directory.glob("ray-array-*_*.out"))]

    assert eventually(lambda: [text.count("exit code 0") for text in outputs()] == [1] * 4, 60), (
        outputs()
    )


def test_ray_container(user: User) -> None:
    tools = user.directory / "tools"
    user.run("mkdir", "tools", check=True)
    # In place of the real thing: takes its options, runs the command.
    user.write(
        "tools/apptainer",
        '#!/bin/bash\nshift\nwhile [[ $1 == --* ]]; do shift 2; done\nshift\nexec "$@"\n',
    )
    path = f"{tools}:{user.cluster.environ()['PATH']}"
    code = user.batch(_ready_made(user, "ray_container"), PATH=path)
    (out,) = user.directory.glob("ray-container-*.out")
    assert code == 0, out.read_text()


def test_ray_requeue(user: User) -> None:
    script = _ready_made(user, "ray_requeue")
    job = user.run("sbatch", "--parsable", script, check=True).stdout.strip()
    out = user.directory / f"ray-requeue-{job}.out"
    point = user.directory / f"checkpoint-{job}.json"
    assert eventually(lambda: point.exists() and json.loads(point.read_text())["step"] >= 2, 40)
    user.run("scontrol", "requeue", job, check=True)
    assert eventually(lambda: "total " in out.read_text(), 60), out.read_text()
    starts = [line for line in out.read_text().splitlines() if line.startswith("starting at step")]
    assert starts[0] == "starting at step 0"
    assert int(starts[1].split()[-1]) >= 2
    assert f"total {4 * sum(step * step for step in range(20))}" in out.read_text()


def test_ray_het(lab_user: User) -> None:
    user = lab_user
    code = user.batch(_ready_made(user, "ray_het"))
    (out,) = user.directory.glob("ray-het-*.out")
    assert code == 0, out.read_text()
    assert f"component 0: 1 nodes, {least(4)} CPUs" in out.read_text()
    assert f"component 1: 2 nodes, {2 * least(2)} CPUs" in out.read_text()


def test_ray_interactive(lab_user: User) -> None:
    user = lab_user
    user.write("nodes.py", NODES)
    script = _ready_made(user, "ray_interactive")
    done = user.run("bash", script, "python", "nodes.py", "6", timeout=60)
    assert done.returncode == 6, done.stderr
    assert f"2 {2 * least(2)}\n" in done.stdout


def test_every_ready_made_script_is_tested() -> None:
    scripts = {path.stem for path in (ROOT / "slurm").glob("*.sh")}
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_ray_")}
    assert scripts == tested
    assert shutil.which("bash")


def _addresses(text: str) -> list[str]:
    return re.findall(r"'(10\.77\.\d+\.\d+)'", text)
