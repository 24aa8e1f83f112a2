"""Which `ray` a program gets, and what the interpreter says about it before it is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rayhpc.compat import shim
from tests.compat.conftest import Program

ASK_FIRST = """
    import importlib.metadata, importlib.util
    print(importlib.metadata.version("ray"))
    print("ray" in importlib.metadata.packages_distributions())
    print(importlib.util.find_spec("ray") is not None)
"""
WHICH = """
    import ray
    print(ray.__version__)
"""


def test_a_distribution_called_ray_is_listed_before_any_import(program: Program) -> None:
    assert program(ASK_FIRST).split() == ["2.58.0", "True", "True"]


def test_the_version_is_three_plain_integers(program: Program) -> None:
    assert [int(x) for x in program(WHICH).split(".")] == [2, 58, 0]
    assert shim.RAY_VERSION == "2.58.0"


def test_the_real_ray_wins_where_it_is_installed(program: Program, real_ray: Path) -> None:
    code = """
        import importlib.metadata, sys
        import ray, ray.inner
        assert ray is sys.modules["ray"]
        print(ray.__version__, ray.inner.NAME, importlib.metadata.version("ray"))
        print(any("rayhpc" in x and "compat" in x for x in sys.path))
    """
    assert program(code, path=(real_ray,)).split() == ["2.9.9", "ray", "2.9.9", "False"]


def test_the_real_ray_is_found_by_a_finder_of_its_own_too(program: Program, real_ray: Path) -> None:
    code = f"""
        import importlib.util, sys

        class Editable:
            @staticmethod
            def find_spec(name, path=None, target=None):
                if name == "ray":
                    return importlib.util.spec_from_file_location(
                        name, r"{real_ray}/ray/__init__.py",
                        submodule_search_locations=[r"{real_ray}/ray"])

        sys.meta_path.append(Editable)
        import ray
        print(ray.__version__)
    """
    assert program(code) == "2.9.9"


def test_as_ray_serves_even_where_the_real_ray_is_installed(
    program: Program, real_ray: Path
) -> None:
    assert program(WHICH, as_ray=True, path=(real_ray,)) == "2.58.0"
    assert program(ASK_FIRST, as_ray=True, path=(real_ray,)).split()[0] == "2.58.0"


def test_a_folder_that_happens_to_be_called_ray_is_not_the_real_one(
    program: Program, tmp_path: Path
) -> None:
    (tmp_path / "somewhere" / "ray").mkdir(parents=True)
    assert program(WHICH, path=(tmp_path / "somewhere",)) == "2.58.0"


def test_no_as_ray_serves_nothing(program: Program, real_ray: Path) -> None:
    code = """
        import importlib.util
        print(importlib.util.find_spec("ray"))
    """
    assert program(code, as_ray=False) == "None"
    assert program(WHICH, as_ray=False, path=(real_ray,)) == "2.9.9"


def test_a_python_that_the_program_starts_is_served_too(program: Program) -> None:
    code = """
        import subprocess, sys
        child = "import ray; print(ray.__version__, ray.__rayhpc__)"
        print(subprocess.run([sys.executable, "-c", child], check=True, capture_output=True,
                             text=True).stdout)
    """
    assert program(code).split() == ["2.58.0", "True"]


def test_an_interpreter_without_rayhpc_says_so(tmp_path: Path) -> None:
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import ray"],  # -S: without its installed packages
        env=shim.environment(environ, None),
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr
    assert "Install rayhpc there" in done.stderr
    assert sys.executable in done.stderr


def test_a_failed_import_of_the_real_ray_is_the_programs_to_see(
    program: Program, real_ray: Path
) -> None:
    (real_ray / "ray" / "__init__.py").write_text("raise ImportError('broken build')\n")
    code = """
        import sys
        try:
            import ray
        except ImportError as error:
            print(error, "ray" in sys.modules)
    """
    assert program(code, path=(real_ray,)) == "broken build False"


def test_the_environment_is_changed_once_and_can_be_changed_back() -> None:
    start = {"PYTHONPATH": "/mine", "HOME": "/home/me"}
    served = shim.environment(start, True)
    assert start == {"PYTHONPATH": "/mine", "HOME": "/home/me"}
    assert served["PYTHONPATH"].split(os.pathsep)[-1] == "/mine"
    assert shim.environment(served, True) == served
    assert shim.environment(served, None) == served
    assert shim.environment(served, False) == {**start, "RAYHPC_AS_RAY": "0"}
    assert "PYTHONPATH" not in shim.environment({}, False)


def test_install_serves_this_process_and_its_children(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
        import os, subprocess, sys
        from rayhpc.compat import shim
        assert not shim.is_served()
        shim.install()
        shim.install()
        assert "ray" not in sys.modules and shim.is_served()
        assert sys.path.count(shim.PACKAGE_FOLDER) == 1
        import ray
        assert shim.is_served()
        child = "import ray; print(ray.__version__)"
        print(ray.__version__, subprocess.run([sys.executable, "-c", child], check=True,
              capture_output=True, text=True).stdout)
    """
    assert program(code, as_ray=False).split() == ["2.58.0", "2.58.0"]
