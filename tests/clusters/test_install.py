"""The command that brings rayhpc to a rented machine."""

from __future__ import annotations

import subprocess
from importlib.metadata import version
from pathlib import Path

from rayhpc.clusters.install import install_command

# Makes a pip that writes down what it is asked for.
_PYTHON = """#!/bin/sh
mkdir -p "$3/bin"
printf '#!/bin/sh\\necho "$@" >"$HOME/asked"\\n' >"$3/bin/pip"
chmod +x "$3/bin/pip"
"""


def _run(home: Path) -> None:
    environ = {"HOME": str(home), "PATH": f"{home}/bin:/usr/bin:/bin"}
    done = subprocess.run(["bash", "-c", install_command()], env=environ, check=False)
    assert done.returncode == 0


def _program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def test_rayhpc_is_installed_in_the_version_that_asks_for_it(tmp_path: Path) -> None:
    _program(tmp_path / "bin/python3", _PYTHON)
    _run(tmp_path)
    assert (tmp_path / "asked").read_text() == f"install -q rayhpc=={version('rayhpc')}\n"
    assert (tmp_path / ".profile").read_text() == "export PATH=~/.rayhpc/bin:$PATH\n"


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    _program(tmp_path / "bin/rayhpc", "#!/bin/sh\n")
    _program(tmp_path / "bin/python3", _PYTHON)
    _run(tmp_path)
    assert not (tmp_path / "asked").exists()
    assert not (tmp_path / ".profile").exists()
