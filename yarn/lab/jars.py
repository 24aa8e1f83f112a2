"""The class path of a Hadoop version, which Maven fetches once.

Used by `daemons`, by tests, and by `python -m yarn.lab jars`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from yarn.lab.errors import LabError

VERSIONS = ("3.3.6", "3.4.3", "3.5.0")
DEFAULT_VERSION = "3.4.3"
_FETCH_S = 600.0


def cache() -> Path:
    """Where the jars are kept, outside the repository: YARNLAB_HOME, or in the user's cache."""
    told = os.environ.get("YARNLAB_HOME")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(told).absolute() if told else base / "rayhpc-yarn-lab"


def why_not(version: str) -> str:
    """Why this machine cannot run that version; empty if it can."""
    if java() is None:
        return "there is no Java (java on PATH, or JAVA_HOME)"
    if not _folder(version).is_dir() and not shutil.which("mvn"):
        return f"Hadoop {version} is not in {cache()}, and there is no Maven (mvn) to fetch it"
    return ""


def java() -> str | None:
    """The Java program."""
    home = os.environ.get("JAVA_HOME")
    return f"{home}/bin/java" if home else shutil.which("java")


def fetch(version: str) -> Path:
    """The folder with a version's jars; the first use takes Maven some ten seconds to a minute.

    Raises:
        LabError: Maven is missing or cannot resolve it.
    """
    folder = _folder(version)
    if folder.is_dir():
        return folder
    if not shutil.which("mvn"):
        raise LabError(f"Maven (mvn) is needed once, to fetch Hadoop {version}")
    partial = folder.with_name(f"{version}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        done = _resolve(version, partial)
    except subprocess.TimeoutExpired:
        shutil.rmtree(partial, ignore_errors=True)
        raise LabError(f"Maven has not fetched Hadoop {version} in {_FETCH_S:g} s") from None
    if done.returncode:
        shutil.rmtree(partial, ignore_errors=True)
        raise LabError(f"Maven could not resolve Hadoop {version}:\n{done.stdout}")
    try:
        partial.rename(folder)
    except OSError:  # somebody else was faster
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def declarations(version: str) -> str:
    """What DumpMessages.java prints of a version's messages.

    Java takes seconds of a processor for it, so it is kept beside the jars, for as long as the
    program is the same.

    Raises:
        LabError: there is no Java, or no such version can be had.
    """
    program = Path(__file__).parent / "DumpMessages.java"
    edition = hashlib.sha256(program.read_bytes()).hexdigest()[:12]
    kept = cache() / "messages" / f"{version}-{edition}.txt"
    if kept.exists():
        return kept.read_text()
    interpreter, folder = java(), fetch(version)
    if interpreter is None:
        raise LabError("there is no Java (java on PATH, or JAVA_HOME)")
    command = [interpreter, "-cp", f"{folder}/*", str(program)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_name(f"{kept.name}.{os.getpid()}.partial")
    partial.write_text(text)
    partial.replace(kept)
    return text


def _resolve(version: str, target: Path) -> subprocess.CompletedProcess[str]:
    """Have Maven put the jars into a folder."""
    pom = str(Path(__file__).parent / "pom.xml")
    return subprocess.run(
        [
            *("mvn", "-q", "-B", "-Dstyle.color=never", "-f", pom),
            *(f"-Dhadoop.version={version}", "dependency:copy-dependencies"),
            *("-DincludeScope=runtime", f"-DoutputDirectory={target}"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_FETCH_S,
        check=False,
    )


def _folder(version: str) -> Path:
    return cache() / "jars" / version
