"""A running lab (`slurm/lab`): a real SLURM, as the tests hold it.

Comes up once per test run where root and Debian's packages are there; `why_not` says what is
missing elsewhere.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.compiled import compile_for_all
from tests.lab_keeper import LabKeeper
from tests.slurm.fake.cluster import ROOT, clean_environ, write_rayhpc
from tests.slurm.user import eventually

SCRIPT = ROOT / "slurm" / "lab" / "slurmlab.sh"
_NEEDED = ("slurmctld", "slurmd", "munged", "srun", "nsenter", "unshare", "ip", "setpriv")


def why_not() -> str:
    """Why there can be no lab here; empty if there can."""
    if os.geteuid() != 0:
        return "the SLURM lab needs root"
    path = "/usr/sbin:/sbin:" + os.environ["PATH"]
    missing = [name for name in _NEEDED if shutil.which(name, path=path) is None]
    if missing:
        return f"the SLURM lab needs {', '.join(missing)}: apt-get install slurm-wlm munge iproute2"
    return ""


def _below_tmp() -> list[str]:
    """What nodes with a /tmp of their own must still see of ours."""
    return [each for each in (sys.prefix, str(ROOT)) if each.startswith("/tmp/")]


class LabCluster:
    """The lab, and its ordinary user on the login node."""

    kind = "lab"

    def __init__(self, nodes: int, **settings: str) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="rayhpc-lab-"))
        self.base.chmod(0o755)
        # Labs that are up at once need names of their own: SLURM names its cgroups after nodes.
        prefix = settings.get("SLURMLAB_PREFIX", "node")
        self.names = [f"{prefix}{index + 1}" for index in range(nodes)]
        self._settings = {
            "SLURMLAB_DIR": str(self.base / "lab"),
            "SLURMLAB_EXPOSE": ":".join(dict.fromkeys((sys.base_prefix, sys.prefix, str(ROOT)))),
            "SLURMLAB_OTHERS": "hpcother",
            **settings,
        }
        shared = (str(self.base / "bin"), *_below_tmp(), settings.get("SLURMLAB_SHARED", ""))
        self._settings["SLURMLAB_SHARED"] = ":".join(filter(None, dict.fromkeys(shared)))
        self._bin = self.base / "bin"
        self._bin.mkdir()
        write_rayhpc(self._bin)
        self.home = self.base / "home" / "hpcuser"
        compile_for_all()
        environ = {**clean_environ(), **self._settings}
        self._keeper = LabKeeper(self.base, [str(SCRIPT), "down"], environ)
        try:
            self.verb("up", str(nodes))
        except BaseException:
            self.close()
            raise

    def verb(self, *words: str, timeout: float = 60.0) -> str:
        """One verb of the lab's script; what it printed.  Raises AssertionError if it failed."""
        done = subprocess.run(
            [str(SCRIPT), *words],
            env={**clean_environ(), **self._settings},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"slurmlab.sh {words}: {done.stdout}{done.stderr}"
        return done.stdout

    def prefix(self, user: str = "hpcuser", node: str | None = None) -> list[str]:
        """What stands before a command that the user runs on the login node, or on a node."""
        verb = ["exec"] if node is None else ["node", node]
        return [str(SCRIPT), *verb, "-u", user]

    def environ(self, **more: str) -> dict[str, str]:
        """Of the user there."""
        return {
            **clean_environ(),
            **self._settings,
            "SLURMLAB_CWD": str(self.home),
            "PATH": f"{self._bin}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            **more,
        }

    def requests(self) -> list[str]:
        """Remote procedure calls of ordinary users that the controller counts, by name."""
        text = self.verb("exec", "-u", "root", "sdiag")
        names = []
        for line in text.splitlines():
            if line.strip().startswith(("REQUEST_", "MESSAGE_")) and "count:" in line:
                name, _, rest = line.strip().partition(" ")
                names += [name] * int(rest.split("count:")[1].split()[0])
        return names

    def end_limit_of(self, job: str) -> None:
        """Have a job's time limit be over now: not in the second it started in, SLURM says."""
        words = ("exec", "-u", "root", "scontrol", "update", f"JobId={job}", "EndTime=now")

        def accepted() -> bool:
            try:
                self.verb(*words)
            except AssertionError as error:
                if "Invalid time" not in str(error):
                    raise
                return False
            return True

        assert eventually(accepted, 60)

    def close(self) -> None:
        """Take it down, and remove what it wrote."""
        self._keeper.end()
