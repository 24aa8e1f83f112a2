"""Makes the pictures in `docs/images/` from real runs; needs Chromium and tmux.

`python -m docs.make_pictures`, in the repository's folder
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from rayhpc.machine import scratch
from tests.observe import browser
from tests.observe.browser import Browser

IMAGES = Path(__file__).parent / "images"
PROGRAM = """
import time
import rayhpc as ray

ray.init()

@ray.remote
def load(shard):
    time.sleep(0.15)
    return bytes(400_000)

@ray.remote
def train(data, shard):
    time.sleep(0.3 + 0.4 * (shard % 5 == 0))
    if shard == 17:
        raise ValueError(f"shard {shard} is empty")
    return shard

@ray.remote
class Scores:
    def __init__(self):
        self.all = []

    def add(self, shard):
        time.sleep(0.02)
        self.all.append(shard)

@ray.remote
def evaluate(*shards):
    time.sleep(1.5)

scores = Scores.remote()
trained = [train.remote(load.remote(i), i) for i in range(48)]
done, failed = [], 0
for each in trained:
    try:
        done.append(ray.get(each))
        scores.add.remote(done[-1])
    except ValueError:
        failed += 1
ray.get(evaluate.remote(*done))
"""


# The same work without an end, and something that cannot run.
ENDLESS = PROGRAM.replace("range(48)", "range(4800)").replace(
    "scores = ", "never = [evaluate.options(num_cpus=64).remote() for _ in range(3)]\nscores = "
)
RAYHPC = [sys.executable, "-m", "rayhpc.cli.main"]
_COLUMNS, _LINES = 110, 22
_TERMINAL = """<!doctype html><meta charset="utf-8"><body style="margin:0;background:#121212">
<pre style="margin:14px;color:#d6dae0;font:14px/18px 'DejaVu Sans Mono',monospace">{code}</pre>"""
_QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def main() -> None:
    """Run the program, and take a picture of everything that shows it."""
    if browser.program() is None or shutil.which("tmux") is None:
        sys.exit("this needs Chromium and tmux: install them, for example with apt-get")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="rt-") as name:
        folder = Path(name)
        os.environ[scratch.VARIABLE] = name
        # The pictures are to show no path of this machine.
        os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        Path(folder, "train.py").write_text(PROGRAM)
        report(folder)
        Path(folder, "train.py").write_text(ENDLESS)
        with job(folder):
            top(folder)
            dashboard(folder)


def submit(folder: Path) -> list[str]:
    """The command that runs the program as a job of three nodes on this machine."""
    size = ["--scheduler", "local", "--nodes", "3", "--cpus-per-node", "4"]
    return [*RAYHPC, "submit", *size, *of_jobs(folder), "--", "python", "train.py"]


def of_jobs(folder: Path) -> list[str]:
    """Where the jobs are."""
    return ["--job-dir", str(folder / "jobs")]


def report(folder: Path) -> None:
    """A report, of the program that ends."""
    path = folder / "report.html"
    subprocess.run(submit(folder), cwd=folder, check=True)
    subprocess.run([*RAYHPC, "report", "last", *of_jobs(folder), "-o", str(path)], check=True)
    with Browser(1120, 1330) as page:
        page.go(path.as_uri())
        page.wait_for("document.querySelector('#timeline canvas')?.width > 300")
        time.sleep(1.0)
        page.picture(IMAGES / "report.png")


@contextmanager
def job(folder: Path) -> Iterator[None]:
    """The program that does not end."""
    with subprocess.Popen(submit(folder), cwd=folder, **_QUIET) as process:
        try:
            yield
        finally:
            subprocess.run([*RAYHPC, "cancel", "last", *of_jobs(folder)], check=False, **_QUIET)
            process.wait()


def top(folder: Path) -> None:
    """`rayhpc top` at a terminal, once it has figures."""
    tmux = ["tmux", "-S", str(folder / "tmux")]
    environ = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    size = ["-x", str(_COLUMNS), "-y", str(_LINES)]
    command = " ".join([*RAYHPC, "top", "last", *of_jobs(folder)])
    # Until the job has its cluster.
    start = ["new-session", "-d", *size, f"while ! {command}; do sleep 1; done"]
    subprocess.run([*tmux, "-f", "/dev/null", *start], check=True, env=environ)
    try:
        shown = ""
        while "Scores.add" not in shown:
            time.sleep(1.0)
            capture = [*tmux, "capture-pane", "-p", "-e"]
            shown = subprocess.run(capture, capture_output=True, text=True, check=True).stdout
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)
    console = Console(record=True, width=_COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(shown))
    path = folder / "top.html"
    path.write_text(console.export_html(inline_styles=True, code_format=_TERMINAL))
    with Browser(960, 18 * _LINES + 28) as page:
        page.go(path.as_uri())
        page.wait_for("document.querySelector('pre')")
        page.picture(IMAGES / "top.png")


def dashboard(folder: Path) -> None:
    """`rayhpc dashboard`, once it has figures."""
    words = [*RAYHPC, "dashboard", "last", *of_jobs(folder)]
    pipes: dict[str, Any] = {**_QUIET, "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, text=True, **pipes) as process, Browser(1120, 1330) as page:
        assert process.stdout is not None
        page.go(process.stdout.readline().strip())
        page.wait_for("document.querySelector('#timeline canvas')?.width > 300")
        time.sleep(4.0)
        page.picture(IMAGES / "dashboard.png")
        process.terminate()


if __name__ == "__main__":
    main()
