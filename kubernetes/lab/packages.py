"""The control plane's programs: built once with Go into a cache, and etcd from Debian.

Used by `lab`.  The build takes ten minutes of one core, so it is done by `python -m kubernetes.lab
build` alone: without it, tests say what they skip.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from kubernetes.lab.errors import LabError

VERSION = "1.36.3"
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
_DOWNLOAD_S = 120


def cache() -> Path:
    """Where they are kept: $KUBELAB_HOME, or ~/.cache/rayhpc-kubernetes-lab."""
    told = os.environ.get("KUBELAB_HOME")
    return Path(told) if told else Path("~/.cache/rayhpc-kubernetes-lab").expanduser()


def program(name: str) -> Path:
    """Where one of PROGRAMS is, once it has been built."""
    return cache() / "bin" / name


def why_not() -> str:
    """Why there can be no lab here; empty if there can."""
    if os.geteuid() != 0:
        return "the Kubernetes lab makes network namespaces, which takes root"
    missing = [x for x in ("ip", "unshare", "nsenter", "setpriv") if shutil.which(x) is None]
    if missing:
        return f"the Kubernetes lab needs {', '.join(missing)}"
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "true"]
    if subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode != 0:
        return "the Kubernetes lab makes network namespaces, which this machine refuses"
    if not all(program(name).exists() for name in PROGRAMS):
        return (
            "Kubernetes has not been built here: `python -m kubernetes.lab build` takes ten minutes"
        )
    try:
        etcd()
    except LabError as error:
        return str(error)
    return ""


def etcd() -> Path:
    """The machine's own etcd, or Debian's, unpacked into the cache.  Raises LabError."""
    own = shutil.which("etcd")
    if own:
        return Path(own)
    folder = cache() / "etcd"
    if not (folder / "usr/bin/etcd").exists():
        _fetch_etcd(folder)
    return folder / "usr/bin/etcd"


def build() -> None:
    """Build what is missing, through Go's module proxy.  Raises LabError."""
    if shutil.which("go") is None:
        raise LabError("building Kubernetes takes Go 1.26 or newer")
    module = cache() / "module"
    for folder in (module, cache() / "bin"):
        folder.mkdir(parents=True, exist_ok=True)
    source = _source(module)
    _write_module(module, source)
    for name in PROGRAMS:
        if not program(name).exists():
            _build(module, name)


def _source(module: Path) -> Path:
    words = ["go", "mod", "download", "-json", f"k8s.io/kubernetes@v{VERSION}"]
    found = re.search(r'"Dir": "([^"]+)"', _run(words, module))
    if found is None:
        raise LabError(f"Kubernetes {VERSION} cannot be had from the module proxy")
    return Path(found[1])


def _write_module(module: Path, source: Path) -> None:
    """A module of our own: theirs replaces its parts by folders that the proxy does not have."""
    parts = re.findall(r"^\t(k8s\.io/\S+) => \./staging/", (source / "go.mod").read_text(), re.M)
    version = f"v0.{VERSION.partition('.')[2]}"
    lines = [f"\t{part} => {part} {version}" for part in parts]
    (module / "go.mod").write_text(
        "module kubelab\n\ngo 1.26.0\n\ngodebug default=go1.26\n\n"
        f"require k8s.io/kubernetes v{VERSION}\n\nreplace (\n" + "\n".join(lines) + "\n)\n"
    )
    (module / "go.sum").write_bytes((source / "go.sum").read_bytes())
    for name in PROGRAMS:
        _run(["go", "get", f"k8s.io/kubernetes/cmd/{name}@v{VERSION}"], module)


def _build(module: Path, name: str) -> None:
    stamp = f"-s -w -X k8s.io/component-base/version.gitVersion=v{VERSION}"
    made = program(f"{name}.new")
    words = ["nice", "-n", "19", "go", "build", "-p=1", "-ldflags", stamp, "-o", str(made)]
    _run([*words, f"k8s.io/kubernetes/cmd/{name}"], module)
    made.rename(program(name))


def _run(words: list[str], folder: Path) -> str:
    environ = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod -buildvcs=false"}
    done = subprocess.run(
        words, cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise LabError(f"{' '.join(words)}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def _fetch_etcd(folder: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise LabError("the Kubernetes lab needs etcd (and there is no Debian here to get it from)")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
        try:
            _quietly(["apt-get", "download", "-qq", "etcd-server"], fresh)
            (package,) = Path(fresh).glob("*.deb")
            _quietly(["dpkg", "-x", str(package), f"{fresh}/unpacked"], fresh)
        except (subprocess.SubprocessError, OSError, ValueError) as error:
            raise LabError(f"etcd cannot be fetched from Debian: {error}") from None
        try:
            os.rename(f"{fresh}/unpacked", folder)
        except OSError:
            if not (folder / "usr/bin/etcd").exists():  # unless another process was faster
                raise


def _quietly(words: list[str], folder: str) -> None:
    none = subprocess.DEVNULL
    subprocess.run(words, cwd=folder, check=True, stdout=none, stderr=none, timeout=_DOWNLOAD_S)
