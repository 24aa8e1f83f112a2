"""OpenSSH's server: the machine's own, or Debian's, unpacked into a cache and not installed.

Used by `lab`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ssh.lab.errors import LabError

_PACKAGES = ("openssh-server", "libwrap0")
_DOWNLOAD_S = 60


@dataclass(frozen=True)
class Server:
    """An sshd, and the folders of libraries that it needs besides the system's."""

    program: Path
    libraries: tuple[Path, ...] = ()


def cache() -> Path:
    """Where it is unpacked: $SSHLAB_HOME, or ~/.cache/rayhpc-ssh-lab."""
    told = os.environ.get("SSHLAB_HOME")
    return Path(told) if told else Path("~/.cache/rayhpc-ssh-lab").expanduser()


def why_not() -> str:
    """Why there can be no lab here; empty if there can."""
    if os.geteuid() != 0:
        return "the ssh lab makes network namespaces, which takes root"
    missing = [x for x in ("ip", "unshare", "nsenter", "setpriv", "ssh-keygen") if not _which(x)]
    if missing:
        return f"the ssh lab needs {', '.join(missing)}"
    if not _may_unshare():
        return "the ssh lab makes network namespaces, which this machine refuses"
    try:
        server()
    except LabError as error:
        return str(error)
    return ""


def server() -> Server:
    """An sshd; fetched at the first call if the machine has none.

    Raises:
        LabError: there is none and it cannot be fetched.
    """
    own = _which("sshd")
    if own:
        return Server(Path(own))
    folder = cache() / "server"
    program = folder / "usr/sbin/sshd"
    if not program.exists():
        _fetch(folder)
    libraries = {path.parent for path in folder.rglob("lib*.so*")}
    return Server(program, tuple(sorted(libraries)))


def _fetch(folder: Path) -> None:
    if not _which("apt-get") or not _which("dpkg"):
        raise LabError("the ssh lab needs sshd: install openssh-server (no Debian here to get it)")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
        try:
            _run(["apt-get", "download", "-qq", *_PACKAGES], fresh)
            for package in sorted(Path(fresh).glob("*.deb")):
                _run(["dpkg", "-x", str(package), f"{fresh}/unpacked"], fresh)
        except (subprocess.SubprocessError, OSError) as error:
            raise LabError(f"the ssh lab's sshd cannot be fetched from Debian: {error}") from None
        try:
            os.rename(f"{fresh}/unpacked", folder)
        except OSError:
            if not (folder / "usr/sbin/sshd").exists():  # unless another process was faster
                raise


def _run(command: list[str], folder: str) -> None:
    quiet = subprocess.DEVNULL
    subprocess.run(command, cwd=folder, check=True, stdout=quiet, stderr=quiet, timeout=_DOWNLOAD_S)


def _may_unshare() -> bool:
    command = ["unshare", "--net", "--uts", "--mount", "--pid", "--fork", "true"]
    return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0


def _which(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
