"""The fake and the real SLURM behave alike in what the other tests rely on."""

from __future__ import annotations

from tests.slurm.user import User, eventually

SHOW = """#!/bin/bash
#SBATCH --nodes=2 --ntasks-per-node=1 --cpus-per-task=3
#SBATCH --job-name='it'"'"'s' --output=out.%j --error=err.%j
echo "batch $SLURM_JOB_NAME $SLURM_JOB_NUM_NODES $SLURM_CPUS_ON_NODE $SLURM_JOB_CPUS_PER_NODE"
export SRUN_CPUS_PER_TASK=3
srun bash -c 'echo "task $SLURM_PROCID/$SLURM_NTASKS $SLURM_CPUS_ON_NODE $SLURM_STEP_NUM_NODES"'
exit 7
"""


def test_a_batch_script_and_its_step_see_the_same(user: User) -> None:
    user.write("show.sh", SHOW)
    done = user.run("sbatch", "--parsable", "show.sh", check=True)
    job = done.stdout.strip()

    def finished() -> bool:
        asked = user.run("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T")
        return asked.stdout.strip() == "FAILED"

    assert eventually(finished)
    text = (user.directory / f"out.{job}").read_text()
    assert sorted(text.splitlines()) == [
        "batch it's 2 3 3(x2)",
        "task 0/2 3 2",
        "task 1/2 3 2",
    ]


def test_refusals_have_the_same_words(user: User) -> None:
    user.write("show.sh", SHOW)
    for words, said in (
        (["--partition=nowhere"], "invalid partition specified: nowhere"),
        (["--test-only", "--nodes=99"], "Requested node configuration is not available"),
        (["--gpus-per-node=99"], "Requested node configuration is not available|Invalid generic"),
        (["--frobnicate"], "unrecognized option '--frobnicate'"),
    ):
        done = user.run("sbatch", *words, "show.sh")
        assert done.returncode != 0
        assert any(each in done.stderr for each in said.split("|")), done.stderr


def test_cancelling_signals_and_ends(user: User) -> None:
    user.write(
        "long.sh",
        "#!/bin/bash\n#SBATCH --output=out\ntrap 'echo term; exit 3' TERM\necho up\n"
        "sleep 1000 & wait\n",
    )
    job = user.run("sbatch", "--parsable", "long.sh", check=True).stdout.strip()
    out = user.directory / "out"
    assert eventually(lambda: out.exists() and "up" in out.read_text())
    user.run("scancel", job, check=True)

    def state() -> str:
        asked = user.run("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T")
        return asked.stdout.strip()

    assert eventually(lambda: state() == "CANCELLED")
    assert "term" in out.read_text()
