"""`rayhpc submit` on a machine without a batch system: nodes, output, ends, and nothing left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from rayhpc.exit_codes import ExitCode

ROOT = Path(__file__).parents[3]
SUBMIT = [sys.executable, "-m", "rayhpc.cli.main", "submit", "--scheduler", "local"]


class Desk:
    """A user's terminal on this machine, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.jobs = directory / "jobs"
        kept = {name: value for name, value in os.environ.items() if "RAYHPC" not in name}
        self.environ = {
            **kept,
            "PYTHONPATH": str(ROOT),
            "RAYHPC_JOBS": str(self.jobs),
            "RAYHPC_TMPDIR": str(directory),
            "XDG_CONFIG_HOME": str(directory / "config"),
        }

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*SUBMIT, *words],
            env=self.environ,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def submit(self, *words: str) -> tuple[int, str, str]:
        process = self.start(*words)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def rayhpc(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*SUBMIT[:-3], *words],
            env=self.environ,
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def write(self, text: str) -> str:
        path = self.directory / "program.py"
        path.write_text(text)
        return str(path)

    def sessions(self) -> list[str]:
        base = self.directory / f"rayhpc-{os.geteuid()}"
        return os.listdir(base) if base.is_dir() else []

    def processes(self) -> list[psutil.Process]:
        """All that have this desk in their environment."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("RAYHPC_JOBS") == str(self.jobs):
                    found.append(process)
            except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
        return found


@pytest.fixture
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    # Its name must be short: sockets lie below it.
    import tempfile

    with tempfile.TemporaryDirectory(prefix="rd-") as name:
        desk = Desk(Path(name))
        yield desk
        _, alive = psutil.wait_procs(desk.processes(), timeout=60)
        for process in alive:
            process.kill()
        assert not alive
        assert desk.sessions() == []


ADDRESSES = """
import sys, time
import ray
ray.init(address="auto")
@ray.remote(scheduling_strategy="SPREAD")
def where():
    time.sleep(0.01)
    return ray.util.get_node_ip_address()
print(sorted(set(ray.get([where.remote() for _ in range(60)]))))
print(int(ray.cluster_resources()["CPU"]), file=sys.stderr)
sys.exit(3)
"""


def test_three_nodes_with_an_address_each(desk: Desk) -> None:
    program = desk.write(ADDRESSES)
    code, out, err = desk.submit("--nodes", "3", "--cpus-per-node", "2", "--", "python", program)
    assert (code, out) == (3, "['127.0.0.1', '127.0.0.2', '127.0.0.3']\n"), err
    lines = err.splitlines()
    assert lines[0].startswith("rayhpc: scheduler local (")
    assert any("3 nodes at 127.0.0.1:" in line for line in lines)
    assert "6" in lines
    assert lines[-1].startswith("rayhpc: 3 nodes, ")
    assert lines[-1].endswith("exit code 3")


def test_the_folder_keeps_it_all(desk: Desk) -> None:
    code, _, _ = desk.submit("--nodes", "2", "--", "bash", "-c", "echo out; echo err >&2")
    assert code == 0
    (folder,) = [each for each in desk.jobs.iterdir() if each.is_dir()]
    assert (folder / "stdout").read_text() == "out\n"
    assert "err\n" in (folder / "stderr").read_text()
    assert (folder / "nodes" / "127.0.0.2.log").exists()
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["exit_code"] == 0
    (row,) = json.loads(desk.rayhpc("jobs", "--json").stdout)
    assert (row["id"], row["status"]["state"]) == ("local-1", "done")
    assert desk.rayhpc("logs", "local-1").stdout == "out\n"
    assert desk.rayhpc("wait").returncode == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_reach_the_program_once(desk: Desk, number: int, code: int) -> None:
    program = desk.write(
        "import signal, sys, time\n"
        "got = []\n"
        "for each in (signal.SIGINT, signal.SIGTERM):\n"
        "    signal.signal(each, lambda number, frame: got.append(number))\n"
        "print('up', flush=True)\n"
        "while not got: time.sleep(0.05)\n"
        "time.sleep(0.3)\n"
        "print(got, flush=True)\n"
        "sys.exit(128 + got[0])\n"
    )
    process = desk.start("--nodes", "2", "--", "python", program)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (code, f"[{int(number)}]\n"), err


def test_nothing_survives_the_command(desk: Desk) -> None:
    process = desk.start("--nodes", "2", "--", "bash", "-c", "echo up; sleep 1000")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.kill()
    process.communicate(timeout=30)
    (row,) = json.loads(desk.rayhpc("jobs", "--json").stdout)
    assert row["status"]["state"] == "lost"


def test_another_terminal_cancels_it(desk: Desk) -> None:
    process = desk.start("--", "bash", "-c", "echo up; exec sleep 1000")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    assert desk.rayhpc("cancel", "local-1").returncode == 0
    process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert desk.rayhpc("wait").returncode == 128 + signal.SIGTERM
    late = desk.rayhpc("cancel", "last")
    assert late.returncode == 0
    assert "job local-1 has already ended: failed with exit code 143" in late.stderr
    assert "told to end" not in late.stderr


def test_cancel_tells_ended_jobs_from_running_ones(desk: Desk) -> None:
    assert desk.submit("--", "true")[0] == 0
    process = desk.start("--", "bash", "-c", "echo up; exec sleep 1000")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    done = desk.rayhpc("cancel", "all", "--json")
    assert json.loads(done.stdout) == {"cancelled": ["local-2"], "ended": ["local-1"]}
    process.communicate(timeout=30)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--nodes", "99999999999"),
        ("--nodes", "1001"),
        ("--nodes", "9" * 6000),
        ("--nodes", "1.5"),
        ("--cpus-per-node", "99999999999"),
        ("--min-nodes", "9" * 30),
        ("--array", "0-99999999999"),
        ("--array", "0-9999999"),
        ("--time", "9" * 6000),
        ("--mem", "9" * 6000 + "G"),
        ("--gpus-per-node", "9" * 20),
        ("--start-timeout", "1e300"),
        ("--start-timeout", "nan"),
        ("--venv", "x" * 20_000),
        ("--profile", "x" * 20_000),
    ],
)
def test_an_absurd_option_is_named_at_once(desk: Desk, option: str, value: str) -> None:
    done = desk.rayhpc("submit", f"{option}={value}", "--dry-run", "--", "true")
    assert done.returncode == ExitCode.CONFIGURATION
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert value[:20] in done.stderr
    assert len(done.stderr) < 6000


def test_a_whole_number_as_scripts_compute_it(desk: Desk) -> None:
    assert desk.rayhpc("submit", "--nodes", "2.0", "--dry-run", "--", "true").returncode == 0


@pytest.mark.parametrize("word", ["0-99999999999999999999", "9" * 6000, "last_[0-9999999]", "²"])
@pytest.mark.parametrize("verb", ["cancel", "logs", "wait", "explain"])
def test_an_absurd_job_is_named(desk: Desk, verb: str, word: str) -> None:
    done = desk.rayhpc(verb, word)
    assert done.returncode == ExitCode.CONFIGURATION
    assert "Traceback" not in done.stderr
    assert len(done.stderr) < 6000


@pytest.mark.parametrize("place", ["/dev/null/x", "x" * 5000])
@pytest.mark.parametrize("verb", ["jobs", "cancel", "logs", "wait", "explain"])
def test_a_directory_that_cannot_be_is_named(desk: Desk, verb: str, place: str) -> None:
    done = desk.rayhpc(verb, "--job-dir", place)
    assert done.returncode == ExitCode.CONFIGURATION
    assert place[:10] in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_is_run_inside(desk: Desk) -> None:
    process = desk.start("--nodes", "2", "--", "bash", "-c", "echo up; exec sleep 1000")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    look = "import rayhpc; rayhpc.init('auto'); print(len(rayhpc.nodes()))"
    done = desk.rayhpc("exec", "last", "--", sys.executable, "-c", look)
    assert done.stdout == "2\n", done.stderr
    attached = subprocess.run(
        [*SUBMIT[:-3], "attach"],
        env=desk.environ,
        input="print(sum(ray.get([ray.remote(abs).remote(-2)])))\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "\n2\n" in attached.stdout, attached.stderr
    process.terminate()
    process.communicate(timeout=30)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--detach",), "--detach needs a batch system"),
        (("--array", "0-3"), "--array needs a batch system"),
        (("--mem", "9999T"), "more than this machine's"),
        (("--venv", "/nowhere"), "no bin/activate"),
        (("--nodes", "0"), "--nodes 0"),
    ],
)
def test_what_cannot_be_says_so_and_leaves_no_folder(
    desk: Desk, words: tuple[str, ...], said: str
) -> None:
    code, _, err = desk.submit(*words, "--", "true")
    assert code == ExitCode.CONFIGURATION
    assert said in err
    assert not desk.jobs.exists() or not [each for each in desk.jobs.iterdir() if each.is_dir()]


def test_a_program_that_is_not_there(desk: Desk) -> None:
    code, _, err = desk.submit("--nodes", "2", "--", "no-such-program")
    assert code == ExitCode.CONFIGURATION
    assert "no program 'no-such-program'" in err


def test_the_script_is_shown_at_once_and_without_the_runtime(desk: Desk) -> None:
    code = (
        "import sys\n"
        "from rayhpc.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'zmq', 'numpy', 'psutil', 'rich', 'asyncio', 'cloudpickle'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    for scheduler in ("slurm", "local"):
        done = subprocess.run(
            [sys.executable, "-c", code, "submit", "--scheduler", scheduler, "--dry-run", "x"],
            env=desk.environ,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("#!/bin/bash")


def test_a_full_disk_is_told(desk: Desk) -> None:
    """Where nothing can be written, as `ulimit -f 0` makes it."""
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 0; exec "$@"', "_", *SUBMIT, "--", "true"],
        env=desk.environ,
        cwd=desk.directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == ExitCode.CONFIGURATION
    assert "--job-dir" in done.stderr
    assert "Traceback" not in done.stderr
