"""The verbs for jobs, on both: what they do, what they print, what they cost.

The jobs here are small shell programs on a template without a runtime: what is tested is the way
to the batch system and back.
"""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest

from rayhpc.batch.templates import shipped
from rayhpc.exit_codes import ExitCode
from tests.slurm.fake.cluster import FakeCluster
from tests.slurm.user import RAYHPC, User, eventually, first_line


@pytest.fixture
def plain(user: User) -> User:
    """A user whose template runs the program itself on the first node."""
    return with_plain_template(user)


def with_plain_template(user: User) -> User:
    text = (shipped() / "slurm" / "job.sh.j2").read_text()
    before, _, _ = text.partition("{% include 'common/launch.sh.j2' %}")
    user.write("plain.j2", before + "    --nodes=1 --ntasks=1 {{ job.command }}\nfinish $?\n")
    return user


def submit(user: User, *words: str, **more: float) -> subprocess.CompletedProcess[str]:
    return user.submit("--template", "plain.j2", *words, **more)


def detached(user: User, *words: str) -> str:
    done = submit(user, "--detach", "--json", *words)
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["id"])


def test_output_and_exit_code_come_back(plain: User) -> None:
    done = submit(plain, "--", "bash", "-c", "echo out; echo err >&2; exit 5")
    assert (done.returncode, done.stdout) == (5, "out\n")
    assert "err\n" in done.stderr
    assert "scheduler slurm" in done.stderr


def test_a_signal_is_128_and_its_number(plain: User) -> None:
    done = submit(plain, "--", "bash", "-c", "kill -TERM $$")
    assert done.returncode == 128 + signal.SIGTERM


def test_submitting_costs_one_request(plain: User) -> None:
    before = plain.cluster.requests()
    detached(plain, "--", "true")
    asked = list(plain.cluster.requests())
    for each in before:
        asked.remove(each)
    # On the real one: neither steps nor the daemons' own traffic are ours.
    theirs = ("REQUEST_SUBMIT_BATCH", "REQUEST_JOB_INFO", "REQUEST_PARTITION", "REQUEST_NODE_INFO")
    ours = [
        each for each in asked if each in ("submit", "queue", "info") or each.startswith(theirs)
    ]
    assert len(ours) == 1, asked


def test_detached_jobs_are_listed_waited_for_and_logged(plain: User) -> None:
    job = detached(plain, "--job-name", "it's", "--", "bash", "-c", "echo hello; exit 3")
    done = plain.rayhpc("wait", job)
    assert done.returncode == 3
    (row,) = plain.json("jobs", job)
    assert (row["id"], row["name"], row["scheduler"]) == (job, "it's", "slurm")
    assert (row["status"]["state"], row["status"]["exit_code"]) == ("failed", 3)
    assert plain.rayhpc("logs", job).stdout == "hello\n"
    assert plain.rayhpc("logs", "-f", "last").stdout == "hello\n"
    assert job in plain.rayhpc("jobs").stdout
    (explained,) = plain.json("explain", job)
    assert "exit code 3" in explained["why"][0]
    folder = Path(row["folder"])
    assert {"job.json", "script", "id", "stdout", "stderr", "summary.json"} <= {
        each.name for each in folder.iterdir()
    }


def test_a_running_job_is_cancelled(plain: User) -> None:
    job = detached(plain, "--", "bash", "-c", "echo up; sleep 1000")
    assert eventually(lambda: plain.rayhpc("logs", job).stdout == "up\n")
    assert plain.rayhpc("cancel", job).returncode == 0
    done = plain.rayhpc("wait", job)
    assert done.returncode == 128 + signal.SIGTERM
    # What has ended is left in peace.
    assert plain.rayhpc("cancel", job).returncode == 0


def test_a_waiting_job_says_why_and_what_would_be_sooner(plain: User) -> None:
    nodes = len(plain.cluster.names)
    first = detached(plain, "--nodes", str(nodes - 2), "--exclusive", "--", "sleep", "1000")
    second = detached(plain, "--nodes", str(nodes), "--exclusive", "--", "true")
    try:
        # A node may complete what it had before for as long as KillWait, which is half a minute;
        # and it takes the scheduler a round to say when it would start the second.
        said = lambda: plain.rayhpc("explain", second).stdout  # noqa: E731
        assert eventually(lambda: "--nodes=2 it would start now" in said(), 60), said()
        assert "--time=30" not in said()  # that does not get it eight nodes
        (found,) = plain.json("explain", second)
        assert any(each in found["why"][0] for each in ("busy", "higher priority"))
        assert f"2 of {nodes} nodes idle; the job wants {nodes}" in found["why"][2]
        listed = {row["id"]: row["status"]["state"] for row in plain.json("jobs")}
        assert listed == {first: "running", second: "pending"}
    finally:
        plain.rayhpc("cancel", "all")
    assert plain.rayhpc("wait", second).returncode == ExitCode.CANCELLED


def test_an_array_has_a_file_for_each_task(plain: User) -> None:
    done = submit(
        plain,
        "--array",
        "1-3",
        "--",
        "bash",
        "-c",
        "echo task $SLURM_ARRAY_TASK_ID; exit $((SLURM_ARRAY_TASK_ID - 1))",
    )
    assert done.returncode == 2
    assert "task 3: exit code 2" in done.stderr
    assert plain.rayhpc("logs", "--task", "2").stdout == "task 2\n"
    (row,) = plain.json("jobs")
    assert row["array"] == [1, 2, 3]


def test_each_task_of_an_array_is_a_job_to_the_verbs(plain: User) -> None:
    program = "echo task $SLURM_ARRAY_TASK_ID; [ $SLURM_ARRAY_TASK_ID = 2 ] || exit 4; sleep 1000"
    job = detached(plain, "--array", "1-3", "--", "bash", "-c", program)
    assert plain.rayhpc("wait", f"{job}_[1,3]").returncode == 4
    assert eventually(lambda: plain.json("status", f"{job}_2")[0]["status"]["state"] == "running")
    one, three = plain.json("status", f"{job}_1", f"{job}_3")
    assert (one["id"], one["status"]["exit_code"], three["array"]) == (f"{job}_1", 4, [3])
    assert plain.rayhpc("logs", f"{job}_3").stdout == "task 3\n"
    assert eventually(lambda: plain.rayhpc("logs", f"{job}_2").stdout == "task 2\n")
    assert "runs on" in plain.rayhpc("explain", "last_2").stdout
    line = plain.rayhpc("forward", f"{job}_2", "8888").stdout
    assert "@node" in line
    assert plain.rayhpc("forward", f"{job}_1", "8888").returncode == ExitCode.HEAD_LOST
    followed = plain.start(*RAYHPC, "logs", "-f", f"{job}_2")
    assert followed.stdout is not None
    assert followed.stdout.readline() == "task 2\n"
    plain.rayhpc("cancel", f"{job}_2", check=True)
    assert plain.rayhpc("wait", f"{job}_2").returncode == 128 + signal.SIGTERM
    followed.communicate(timeout=60)
    assert followed.returncode == 128 + signal.SIGTERM


def test_the_output_of_a_whole_array_tells_whose_it_is(plain: User) -> None:
    submit(plain, "--array", "4,6", "--", "bash", "-c", "echo task $SLURM_ARRAY_TASK_ID")
    shown = plain.rayhpc("logs").stdout
    assert "==> stdout.4 <==\ntask 4\n" in shown
    assert "==> stdout.6 <==\ntask 6\n" in shown
    # Where there is but one task its output is shown as it comes.
    assert submit(plain, "--array", "4", "--", "echo", "alone").stdout == "alone\n"


def test_one_task_of_an_array_that_waits_is_cancelled(plain: User) -> None:
    """The others neither end nor lose their turn."""
    job = detached(plain, "--array", "1-3", "--slurm", "--begin=now+1hour", "--", "sleep", "1000")
    try:
        first, second, _ = plain.json("status", f"{job}_[1-3]")
        assert (first["status"]["state"], second["status"]["state"]) == ("pending", "pending")
        done = plain.rayhpc("exec", f"{job}_2", "--", "true")
        assert done.returncode == ExitCode.HEAD_LOST
        assert f"task {job}_2 is pending" in done.stderr
        plain.rayhpc("cancel", f"{job}_2", check=True)
        assert plain.rayhpc("wait", f"{job}_2").returncode == ExitCode.CANCELLED
        states = [row["status"]["state"] for row in plain.json("status", f"{job}_[1-3]")]
        assert states == ["pending", "cancelled", "pending"]
    finally:
        plain.rayhpc("cancel", job)


def test_a_command_needs_one_task_of_an_array(plain: User) -> None:
    job = detached(plain, "--array", "1-2", "--", "true")
    for words in (("exec", job, "--", "true"), ("attach", job), ("forward", job, "1")):
        done = plain.rayhpc(*words)
        assert done.returncode == ExitCode.CONFIGURATION
        assert f"each of its 2 tasks has a cluster of its own: name one, as {job}_1" in done.stderr
    assert plain.rayhpc("wait", job).returncode == 0
    done = plain.rayhpc("exec", f"{job}_2", "--", "true")
    assert done.returncode == ExitCode.HEAD_LOST


def test_what_the_script_says_arrives(plain: User) -> None:
    """Quotes, blanks and line breaks; options of SLURM's own; the environment."""
    done = submit(
        plain,
        *("--cpus-per-node", "2", "--env", "MINE=a 'b'\n$HOME", "--slurm", "--comment 'x y'"),
        *("--setup", "export FROM_SETUP=yes"),
        *("--", "bash", "-c", 'printf "%s|" "$1" "$MINE" "$FROM_SETUP" "$SLURM_CPUS_ON_NODE"'),
        *("_", 'it\'s\n"so"'),
    )
    assert done.stdout == "it's\n\"so\"|a 'b'\n$HOME|yes|2|", done.stderr


def test_output_goes_where_the_user_wants_it(plain: User) -> None:
    done = submit(plain, "--output", "out-%j.txt", "--", "echo", "hello")
    job = plain.json("jobs")[0]["id"]
    assert done.stdout == "hello\n"
    assert (plain.directory / f"out-{job}.txt").read_text() == "hello\n"
    assert plain.rayhpc("logs", job).stdout == "hello\n"


def test_options_in_the_program(plain: User) -> None:
    plain.write("show.sh", "#!/bin/bash\n#RAYHPC --nodes 2\n#RAYHPC -J named\nenv\n")
    done = submit(plain, "show.sh")
    assert "SLURM_JOB_NUM_NODES=2\n" in done.stdout
    assert "SLURM_JOB_NAME=named\n" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--partition", "nowhere"), ExitCode.SCHEDULER, "there is no such partition"),
        (("--job-name", "a\nb"), ExitCode.CONFIGURATION, "line break"),
        (("--nodez", "3"), ExitCode.CONFIGURATION, "--nodes"),
        (("--template", "none.j2"), ExitCode.CONFIGURATION, "none.j2"),
        (("--slurm", "--frobnicate"), ExitCode.SCHEDULER, "--dry-run"),
        (("--gpus-per-node", "99"), ExitCode.SCHEDULER, "GPUs"),
        (("--constraint", "none"), ExitCode.SCHEDULER, "--constraint"),
        (("--reservation", "none"), ExitCode.SCHEDULER, "reservation"),
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(
    plain: User, words: tuple[str, ...], code: int, said: str
) -> None:
    done = submit(plain, *words, "--", "true")
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not plain.jobs.exists() or not list(plain.jobs.iterdir())


def test_an_unknown_account_is_refused_with_those_there_are(
    fake: FakeCluster, fake_user: User
) -> None:
    user = with_plain_template(fake_user)
    fake.set(accounts=["physics", "chemistry"])
    before = len(fake.requests())
    done = submit(user, "--account", "nosuch", "--", "true")
    assert done.returncode == ExitCode.SCHEDULER
    assert "Invalid account or account/partition combination specified" in done.stderr
    assert "give --account one of yours: physics, chemistry\n" in done.stderr
    assert "Traceback" not in done.stderr
    # One request to submit, one for the list; no job, no folder.
    assert fake.requests()[before:] == ["submit", "associations"]
    assert user.run("squeue", "--noheader", "--states=all").stdout == ""
    assert list(user.jobs.iterdir()) == []
    asked = submit(user, "--test", "--account", "nosuch", "--", "true")
    assert asked.returncode == ExitCode.SCHEDULER
    assert "one of yours: physics, chemistry" in asked.stderr
    assert submit(user, "--account", "chemistry", "--", "true").returncode == 0


def test_an_unknown_account_where_nobody_tells_which_there_are(
    fake: FakeCluster, fake_user: User
) -> None:
    user = with_plain_template(fake_user)
    fake.set(accounts=["physics"], private=True)
    done = submit(user, "--account", "nosuch", "--", "true")
    assert done.returncode == ExitCode.SCHEDULER
    assert "Invalid account" in done.stderr
    assert "`sacctmgr show associations user=$USER` lists yours" in done.stderr
    assert list(user.jobs.iterdir()) == []


def test_more_nodes_than_there_are_are_given_back_at_once(plain: User) -> None:
    done = submit(plain, "--nodes", "99", "--", "true")
    assert done.returncode == ExitCode.SCHEDULER
    assert "fewer nodes" in done.stderr
    left = plain.run("squeue", "--noheader", "--states=PENDING", "--format=%T").stdout
    assert "PENDING" not in left


def test_asking_without_submitting(plain: User) -> None:
    asked = submit(plain, "--test", "--nodes", "2", "--", "true")
    assert asked.returncode == 0
    assert "to start at" in asked.stdout
    refused = submit(plain, "--test", "--nodes", "99", "--", "true")
    assert refused.returncode == ExitCode.SCHEDULER
    assert "can never provide that" in refused.stderr
    assert not plain.jobs.exists()


def test_a_failing_setup_ends_the_job_with_its_reason(plain: User) -> None:
    done = submit(plain, "--module", "nothing/1.0", "--", "true")
    assert done.returncode == ExitCode.CONFIGURATION
    assert "module load nothing/1.0 failed" in done.stderr


def test_a_container_sees_the_folder_and_the_directory(plain: User) -> None:
    tools = plain.directory / "tools"
    tools.mkdir()
    os.chown(tools, *[plain.directory.stat().st_uid, plain.directory.stat().st_gid])
    plain.write("tools/apptainer", '#!/bin/bash\nprintf "%s\\n" "$@"\n')
    done = plain.submit(
        *("--container", "my image.sif", "--gpus-per-node", "1"),
        *("--setup", f"export PATH={tools}:$PATH", "--", "python", "train.py"),
    )
    words = done.stdout.splitlines()
    assert words[:3] == ["exec", "--nv", "--bind"], done.stderr
    folder = plain.json("jobs")[0]["folder"]
    assert words[3] == f"{plain.directory},{folder}"
    assert words[4:8] == ["--pwd", str(plain.directory), "my image.sif", "rayhpc"]
    assert words[-3:] == ["--", "python", "train.py"]


def test_a_command_runs_beside_the_job(plain: User) -> None:
    job = detached(plain, "--nodes", "2", "--", "sleep", "1000")
    assert eventually(lambda: plain.json("jobs", job)[0]["status"]["state"] == "running")
    done = plain.rayhpc("exec", job, "--", "true")
    assert done.returncode == ExitCode.HEAD_LOST
    assert f"job {job} has no running head on this node" in done.stderr
    line = plain.rayhpc("forward", job, "8888", "--login", "front").stdout
    assert line.startswith("ssh -N -L 8888:localhost:8888 -J ")
    assert "@front " in line
    assert "@node" in line
    plain.rayhpc("cancel", job)


def test_ctrl_c_leaves_the_job_running(plain: User) -> None:
    process = plain.start(*RAYHPC, "submit", "--template", "plain.j2", "--", "sleep", "1000")
    first_line(process, "runs on")
    for each in _children_too(process.pid):
        os.kill(each, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT
    assert "continues" in said
    (row,) = plain.json("jobs")
    assert row["status"]["state"] == "running"
    plain.rayhpc("cancel", "last")


def _children_too(pid: int) -> list[int]:
    """The command itself: behind the lab's wrapper nothing is between us and it."""
    return [pid]


def test_ctrl_c_at_a_terminal_asks(fake_user: User) -> None:
    user = with_plain_template(fake_user)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*RAYHPC, "submit", "--template", "plain.j2", "--", "sleep", "1000"],
        env=user.cluster.environ(RAYHPC_JOBS=str(user.jobs)),
        cwd=user.directory,
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    first_line(process, "runs on")
    process.send_signal(signal.SIGINT)
    os.write(ours, b"cancel\n")
    _, said = process.communicate(timeout=60)
    assert "leave the job running, or cancel it?" in said
    assert process.returncode == ExitCode.CANCELLED
    assert eventually(lambda: user.json("jobs")[0]["status"]["state"] != "running")
    os.close(ours)
    os.close(theirs)


def test_a_controller_that_is_away(fake: FakeCluster, fake_user: User) -> None:
    user = with_plain_template(fake_user)
    fake.stop_controller()
    done = submit(user, "--", "true")
    assert done.returncode == ExitCode.SCHEDULER
    assert "does not answer" in done.stderr


def test_a_controller_that_comes_back(fake: FakeCluster, fake_user: User) -> None:
    """An outage while a job is followed is told, and is not its end."""
    user = with_plain_template(fake_user)
    fake.set(queue_delay=6.0)
    process = user.start(*RAYHPC, "submit", "--template", "plain.j2", "--", "echo", "done")
    first_line(process, "is waiting")
    fake.set(error="Unable to contact slurm controller (connect failure)")
    first_line(process, "the job is not affected")
    fake.set(error="")
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "done\n")


def test_a_slow_controller_is_waited_for(fake: FakeCluster, fake_user: User) -> None:
    user = with_plain_template(fake_user)
    fake.set(answer_delay=1.0)
    done = submit(user, "--", "echo", "done")
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_jobs_that_slurm_has_forgotten(fake: FakeCluster, fake_user: User) -> None:
    user = with_plain_template(fake_user)
    job = detached(user, "--", "true")
    assert user.rayhpc("wait", job).returncode == 0
    (user.jobs / _folder(user) / "summary.json").unlink()
    fake.set(forgets_after=0.0)
    assert user.json("jobs")[0]["status"] is None
    assert "no longer knows" in user.rayhpc("explain", job).stdout
    fake.set(accounting=True)
    assert user.json("jobs")[0]["status"]["state"] == "done"


def test_an_old_slurm_gets_no_option_it_does_not_know(fake: FakeCluster, fake_user: User) -> None:
    fake.set(version="18.08.9")
    user = with_plain_template(fake_user)
    assert submit(user, "--", "true").returncode == 0
    job = detached(user, "--", "sleep", "1000")
    assert eventually(lambda: user.json("jobs", job)[0]["status"]["state"] == "running")
    assert "has no running head" in user.rayhpc("exec", job, "--", "true").stderr
    user.rayhpc("cancel", job)


def test_a_requeued_job_is_followed_to_its_real_end(plain: User) -> None:
    program = 'echo run ${SLURM_RESTART_COUNT:-0}; [ "$SLURM_RESTART_COUNT" = 1 ] || sleep 1000'
    process = plain.start(
        *RAYHPC, "submit", "--template", "plain.j2", "--requeue", "--", "bash", "-c", program
    )
    assert eventually(lambda: plain.rayhpc("logs").stdout == "run 0\n")
    plain.run("scontrol", "requeue", plain.json("jobs")[0]["id"], check=True)
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "run 0\nrun 1\n"), said


def test_a_preempted_job_comes_back(plain: User) -> None:
    nodes = str(len(plain.cluster.names))
    program = 'echo run ${SLURM_RESTART_COUNT:-0}; [ "$SLURM_RESTART_COUNT" = 1 ] || sleep 1000'
    size = ("--nodes", nodes, "--exclusive")
    words = ("--template", "plain.j2", "--partition", "scavenge", *size)
    process = plain.start(*RAYHPC, "submit", *words, "--", "bash", "-c", program)
    assert eventually(lambda: plain.rayhpc("logs").stdout == "run 0\n")
    assert submit(plain, *size, "--job-dir", "jobs2", "--", "true").returncode == 0
    out, said = process.communicate(timeout=90)
    assert (process.returncode, out) == (0, "run 0\nrun 1\n"), said
    assert "is to run again" in said


def test_a_program_that_does_not_heed_is_killed(plain: User) -> None:
    """SIGTERM, then after KillWait SIGKILL; the script has no time for last words."""
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); "
    job = detached(plain, "--", "python", "-c", stubborn + "time.sleep(1000)")
    assert eventually(lambda: plain.rayhpc("logs", job).stdout == "up\n")
    plain.rayhpc("cancel", job)
    assert plain.rayhpc("wait", job).returncode in (ExitCode.CANCELLED, 128 + signal.SIGKILL)


def _folder(user: User) -> str:
    return str(user.json("jobs")[0]["folder"]).rpartition("/")[2]
