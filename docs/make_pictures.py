"""Makes the pictures in `docs/images/` from a real run; needs Chromium.

`python docs/make_pictures.py`
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

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


def main() -> None:
    """Run the program, make its report, and take its picture."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("no Chromium on this machine: install it, for example with apt-get")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        program, report = Path(folder, "train.py"), Path(folder, "report.html")
        program.write_text(PROGRAM)
        rayhpc = [sys.executable, "-m", "rayhpc.cli.main"]
        jobs = ["--job-dir", str(Path(folder, "jobs"))]
        submit = ["submit", "--scheduler", "local", "--nodes", "3", "--cpus-per-node", "4", *jobs]
        subprocess.run([*rayhpc, *submit, "--", "python", "train.py"], cwd=folder, check=True)
        subprocess.run([*rayhpc, "report", "last", *jobs, "-o", str(report)], check=True)
        subprocess.run(
            [
                browser,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                f"--user-data-dir={folder}/browser",
                "--virtual-time-budget=4000",
                "--window-size=1120,1330",
                f"--screenshot={IMAGES / 'report.png'}",
                report.as_uri(),
            ],
            check=True,
        )


if __name__ == "__main__":
    main()
