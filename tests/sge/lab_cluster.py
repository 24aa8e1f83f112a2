"""A running lab (`sge/lab`): a real Grid Engine, as the tests hold it.

Comes up once per test run where root and the unpacked packages are there; `why_not` says what is
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

SCRIPT = ROOT / "sge" / "lab" / "sgelab.sh"
_NEEDED = ("nsenter", "unshare", "ip", "setpriv")


def why_not() -> str:
    """Why there can be no lab here; empty if there can."""
    if os.geteuid() != 0:
        return "the Grid Engine lab needs root"
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if missing:
        return (
            f"the Grid Engine lab needs {', '.join(missing)}: apt-get install iproute2 util-linux"
        )
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    tree = Path(os.environ.get("SGELAB_TREE") or f"{cache}/rayhpc/gridengine")
    if not (tree / "usr/lib/gridengine/sge_qmaster").exists():
        return f"there is no Grid Engine in {tree}: sge/lab/sgelab.sh install"
    return ""


class SgeCluster:
    """The lab, and its ordinary user on the login host."""

    kind = "lab"

    def __init__(self, hosts: int, **settings: str) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="rayhpc-sge-"))
        self.base.chmod(0o755)
        self.names = [f"host{index + 1}" for index in range(hosts)]
        self._bin = self.base / "bin"
        self._bin.mkdir()
        write_rayhpc(self._bin)
        self._settings = {
            "SGELAB_DIR": str(self.base / "lab"),
            "SGELAB_EXPOSE": ":".join(dict.fromkeys((sys.base_prefix, sys.prefix, str(ROOT)))),
            **settings,
        }
        self.home = self.base / "home" / "sgeuser"
        compile_for_all()
        environ = {**clean_environ(), **self._settings}
        self._keeper = LabKeeper(self.base, [str(SCRIPT), "down"], environ)
        try:
            self.verb("up", str(hosts))
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
        assert done.returncode == 0, f"sgelab.sh {words}: {done.stdout}{done.stderr}"
        return done.stdout

    def prefix(self, user: str = "sgeuser", node: str | None = None) -> list[str]:
        """What stands before a command that the user runs on the login host, or on another."""
        verb = ["exec"] if node is None else ["node", node]
        return [str(SCRIPT), *verb, "-u", user]

    def environ(self, **more: str) -> dict[str, str]:
        """Of the user there."""
        return {
            **clean_environ(),
            **self._settings,
            "SGELAB_CWD": more.get("PWD", str(self.home)),
            "PATH": f"{self._bin}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            **more,
        }

    def requests(self) -> list[str]:
        """Grid Engine counts none."""
        return []

    def processes(self) -> list[str]:
        """What ordinary users run on the hosts, each as `host1 sleep 60`."""
        found = []
        for name in self.names:
            if self.is_up(name):
                shown = self.verb("node", name, "ps", "-o", "user=,args=", "-e").splitlines()
                found += [
                    f"{name} {each[8:].strip()}" for each in shown if each.startswith("sgeuser")
                ]
        return found

    def is_up(self, name: str) -> bool:
        """Whether the host has power."""
        done = subprocess.run(
            [str(SCRIPT), "node", name, "true"],
            env={**clean_environ(), **self._settings},
            capture_output=True,
            timeout=30,
            check=False,
        )
        return done.returncode == 0

    def close(self) -> None:
        """Take it down, and remove what it wrote."""
        self._keeper.end()
