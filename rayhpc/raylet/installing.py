"""Installs what `pip` or `uv` of a runtime environment asks for, once per node and content.

Used by `environments`, in a separate thread.  Where packages come from is up to the user's own
configuration (an index, a wheelhouse, options among the requirements); they are installed into a
folder that workers put on top of their Python environment.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

TIMEOUT_S = 600.0
_SHOWN = 2000


def key_of(tool: str, lines: list[str], options: list[str]) -> str:
    """The name of the result of these for this Python."""
    content = json.dumps([tool, sys.version, lines, options]).encode()
    return hashlib.sha256(content).hexdigest()


def install(base: Path, tool: str, lines: list[str], options: list[str]) -> str:
    """Install into a folder, unless that has been done; returns the folder.

    Args:
        base: the directory above the folders of packages.
        tool: "pip" or "uv".
        lines: as in a requirements file.
        options: for the installer's command line.

    Raises:
        ValueError: it cannot be installed; the text has the end of the installer's output.
    """
    import subprocess  # few clusters install anything, and every node would wait for it

    target = base / key_of(tool, lines, options)[:32]
    if target.is_dir():
        return str(target)
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = base / f".{target.name}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    requirements = base / f".{target.name}.txt"
    requirements.write_text("\n".join([*lines, ""]))
    command = [*_command(tool, partial), *options, "-r", str(requirements)]
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"{tool} could not be run: {error}") from error
    finally:
        requirements.unlink(missing_ok=True)
    if done.returncode:
        shutil.rmtree(partial, ignore_errors=True)
        said = (done.stdout + done.stderr).strip()[-_SHOWN:]
        raise ValueError(f"{tool} ended with exit code {done.returncode}:\n{said}")
    partial.rename(target)
    return str(target)


def _command(tool: str, target: Path) -> list[str]:
    if tool == "uv":
        return ["uv", "pip", "install", "--python", sys.executable, "--target", str(target)]
    return [
        sys.executable, "-m", "pip", "install", "--no-input", "--disable-pip-version-check",
        "--target", str(target),
    ]  # fmt: skip
