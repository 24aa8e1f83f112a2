"""A running fake cluster, as the tests hold it."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.slurm.fake import wire
from tests.slurm.fake.settings import Settings

ROOT = Path(__file__).parents[3]
PROGRAMS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo", "sacct")


class FakeCluster:
    """Controller and programs in a folder of their own."""

    kind = "fake"

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder, settings
        self.home = folder / "home"
        self.home.mkdir()
        self._bin = folder / "bin"
        self._bin.mkdir()
        write_rayhpc(self._bin)
        self._controller: subprocess.Popen[str] | None = None
        settings.save(folder)
        for name in PROGRAMS:
            self._write_program(name)
        self.start_controller()

    def set(self, **changes: Any) -> None:
        """Turn switches while it runs."""
        self.settings = dataclasses.replace(self.settings, **changes)
        self.settings.save(self.folder)
        self._write_configuration()

    @property
    def names(self) -> list[str]:
        """The nodes' names."""
        return self.settings.names()

    def prefix(self, user: str = "hpcuser", node: str | None = None) -> list[str]:
        """Nothing: every node and every user is this process's."""
        return []

    def environ(self, **more: str) -> dict[str, str]:
        """Of a user on its login node."""
        return {
            **clean_environ(),
            "PATH": f"{self._bin}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "PYTHONPATH": str(ROOT),
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            wire.FOLDER: str(self.folder),
            **more,
        }

    def start_controller(self) -> None:
        """Returns when it listens."""
        (self.folder / "ctl").unlink(missing_ok=True)
        self._write_configuration()
        self._controller = subprocess.Popen(
            [sys.executable, "-m", "tests.slurm.fake.controller", str(self.folder)],
            cwd=ROOT,
            env=self.environ(),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._controller.stdout is not None
        assert self._controller.stdout.readline() == "ready\n"

    def stop_controller(self) -> None:
        """An outage; all jobs end with it."""
        if self._controller is not None:
            self._controller.terminate()
            self._controller.communicate(timeout=10)
            self._controller = None

    def node(self, name: str, *, up: bool) -> None:
        """Power a node off or on."""
        request = {"verb": "test_node", "node": name, "up": up}
        verb = request.pop("verb")
        os.environ[wire.FOLDER] = str(self.folder)
        try:
            wire.ask(str(verb), **request)
        finally:
            del os.environ[wire.FOLDER]

    def requests(self) -> list[str]:
        """All requests to the controller so far, by verb."""
        log = self.folder / "rpc.log"
        return [line.split()[1] for line in log.read_text().splitlines()] if log.exists() else []

    def close(self) -> None:
        """End it, and every process of it."""
        self.stop_controller()

    def _write_configuration(self) -> None:
        kill_wait = f"{self.settings.kill_wait:.0f}"
        text = f"ClusterName=fake\nSlurmctldHost=fake\nKillWait={kill_wait}\n"
        (self.folder / "slurm.conf").write_text(text)

    def _write_program(self, name: str) -> None:
        path = self._bin / name
        path.write_text(
            f"#!{sys.executable}\n"
            f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
            f"from tests.slurm.fake.programs import main\nmain({name!r}, sys.argv[1:])\n"
        )
        path.chmod(0o755)


def write_rayhpc(folder: Path) -> None:
    """The command `rayhpc` of this checkout, whether or not it is installed."""
    path = folder / "rayhpc"
    path.write_text(f"#!{sys.executable}\nfrom rayhpc.cli.main import main\nmain()\n")
    path.chmod(0o755)


def clean_environ() -> dict[str, str]:
    """Ours without what an allocation, or the test run, has put there."""
    prefixes = ("SLURM", "SRUN", "SBATCH", "PMI", "RAYHPC", "PYTEST", "XDG_", "CUDA_")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
