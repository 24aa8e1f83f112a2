"""Runtime environments where tasks and actors run: installed packages, archives, set-up hooks."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rayhpc
from rayhpc.api.session.runtime_env import RuntimeEnv
from rayhpc.cluster_utils import Cluster
from rayhpc.exceptions import RuntimeEnvSetupError

PACKAGE = "rayhpc_test_guest"
ON = [{}, {"resources": {"far": 0.1}}]


@pytest.fixture(scope="module", autouse=True)
def nodes() -> Iterator[Any]:
    rayhpc.shutdown()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    cluster.add_node(num_cpus=2, resources={"far": 1})
    rayhpc.init(address=cluster.address, log_to_driver=False)
    yield cluster
    rayhpc.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one wheel."""
    folder = tmp_path_factory.mktemp("wheels")
    info = f"{PACKAGE}-1.0.dist-info"
    files = {
        f"{PACKAGE}/__init__.py": "VERSION = 'of the wheel'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    lines = [f"{name},sha256={_digest(text)},{len(text)}" for name, text in files.items()] + [
        f"{info}/RECORD,,"
    ]
    files[f"{info}/RECORD"] = "\n".join(lines) + "\n"
    with zipfile.ZipFile(folder / f"{PACKAGE}-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return folder


def _digest(text: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@rayhpc.remote
def guest() -> tuple[str, str]:
    import rayhpc_test_guest  # type: ignore[import-not-found]

    return rayhpc_test_guest.VERSION, os.path.dirname(rayhpc_test_guest.__path__[0])


@rayhpc.remote
class Guest:
    def version(self) -> str:
        import rayhpc_test_guest

        return str(rayhpc_test_guest.VERSION)


def test_pip_installs_once_per_node_from_a_wheelhouse(wheelhouse: Path) -> None:
    wanted = {"pip": ["--no-index", f"--find-links {wheelhouse}", PACKAGE]}
    for more in ON:
        task = guest.options(runtime_env=wanted, **more)
        found = rayhpc.get([task.remote() for _ in range(4)], timeout=100)
        assert {version for version, _ in found} == {"of the wheel"}
        assert len({folder for _, folder in found}) == 1
        assert importlib.util.find_spec(PACKAGE) is None
        actor = Guest.options(runtime_env=wanted, **more).remote()
        assert rayhpc.get(actor.version.remote(), timeout=60) == "of the wheel"


def test_what_pip_says_is_told() -> None:
    options = ["-q", "--no-index"]
    asked = {"packages": ["rayhpc_test_that_is_nowhere"], "pip_install_options": options}
    wanted = {"pip": asked}
    with pytest.raises(RuntimeEnvSetupError, match="rayhpc_test_that_is_nowhere"):
        rayhpc.get(guest.options(runtime_env=wanted).remote(), timeout=100)


def test_requirements_are_read_and_checked(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("# what it needs\nnumpy>=1\n\npandas\n")
    assert RuntimeEnv(pip=str(file))["pip"] == {"packages": ["numpy>=1", "pandas"], "options": []}
    again = RuntimeEnv(**RuntimeEnv(uv={"packages": ["a"], "uv_pip_install_options": ["-q"]}))
    assert again["uv"] == {"packages": ["a"], "options": ["-q"]}
    with pytest.raises(ValueError, match="can have pip or uv"):
        RuntimeEnv(pip=["a"], uv=["b"])
    with pytest.raises(TypeError, match="a list of requirements"):
        RuntimeEnv(pip=3)
    with pytest.raises(ValueError, match="cannot be read"):
        RuntimeEnv(pip=str(tmp_path / "nowhere.txt"))


@pytest.mark.parametrize("field", ["working_dir", "py_modules"])
def test_a_zip_archive_is_unpacked(tmp_path: Path, field: str) -> None:
    path = tmp_path / "modules.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{PACKAGE}/__init__.py", f"VERSION = 'of {field}'\n")
    given = str(path) if field == "working_dir" else [str(path)]
    for more in ON:
        task = guest.options(runtime_env={field: given}, **more)
        assert rayhpc.get(task.remote(), timeout=60)[0] == f"of {field}"


@rayhpc.remote
def hooked() -> str | None:
    return os.environ.get("HOOKED")


@rayhpc.remote
class Hooked:
    def __init__(self) -> None:
        self.hooked = os.environ.get("HOOKED")

    def found(self) -> str | None:
        return self.hooked


def test_a_set_up_hook_runs_before_the_first_task() -> None:
    times = 0

    def set_up() -> None:
        nonlocal times
        times += 1
        os.environ["HOOKED"] = str(times)

    wanted = {"worker_process_setup_hook": set_up}
    for more in ON:
        task = hooked.options(runtime_env=wanted, **more)
        assert set(rayhpc.get([task.remote() for _ in range(6)], timeout=60)) == {"1"}
        actor = Hooked.options(runtime_env=wanted, **more).remote()
        assert rayhpc.get(actor.found.remote(), timeout=60) == "1"
    assert rayhpc.get(hooked.remote(), timeout=60) is None


def test_a_set_up_hook_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "hook_by_name.py").write_text(
        "import os\ndef set_up():\n    os.environ['HOOKED'] = 'by name'\n"
    )
    wanted = {"worker_process_setup_hook": "hook_by_name.set_up", "working_dir": str(tmp_path)}
    assert rayhpc.get(hooked.options(runtime_env=wanted).remote(), timeout=60) == "by name"


def test_a_set_up_hook_that_raises_is_told() -> None:
    def set_up() -> None:
        raise ValueError("no set-up today")

    task = hooked.options(runtime_env={"worker_process_setup_hook": set_up}, max_retries=0)
    with pytest.raises(
        RuntimeEnvSetupError, match="Failed to execute the setup hook method.*no set-up today"
    ):
        rayhpc.get(task.remote(), timeout=60)
    with pytest.raises(TypeError, match=r"module\.function"):
        RuntimeEnv(worker_process_setup_hook=3)
