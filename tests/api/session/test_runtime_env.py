"""Runtime environments: checks, packages, and what is inherited."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import threading
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from rayhpc.api.session import packages, runtime_env
from rayhpc.api.session.runtime_env import RuntimeEnv, canonical, checked, on_top, packed
from rayhpc.exceptions import NotServedError, RuntimeEnvSetupError


def _folder(base: Path) -> Path:
    folder = base / "work"
    (folder / "sub").mkdir(parents=True)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "a.pyc").write_text("x")
    (folder / "a.py").write_text("A = 1\n")
    (folder / "sub" / "b.txt").write_text("b")
    return folder


def _names(package: bytes) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(package)).namelist()


def test_fields_are_checked() -> None:
    with pytest.raises(ValueError, match="Did you mean 'env_vars'"):
        RuntimeEnv(env_var={})
    with pytest.raises(TypeError, match="text → text"):
        RuntimeEnv(env_vars={"A": 1})
    with pytest.raises(TypeError, match="a dict"):
        RuntimeEnv(env_vars=["A"])
    with pytest.raises(ValueError, match="not a valid variable name"):
        RuntimeEnv(env_vars={"A=B": "x"})
    with pytest.raises(TypeError, match="path of a folder"):
        RuntimeEnv(working_dir=3)
    with pytest.raises(NotServedError, match="s3://"):
        RuntimeEnv(working_dir="s3://bucket/x.zip")
    with pytest.raises(TypeError, match="a list"):
        RuntimeEnv(py_modules="x")
    with pytest.raises(TypeError, match="patterns"):
        RuntimeEnv(excludes="x")


def test_one_is_changed_and_travels_as_text(tmp_path: Path) -> None:
    @dataclass
    class Hook:
        name: str

    one = RuntimeEnv(env_vars={"A": "1"}, working_dir=str(tmp_path))
    one.set("env_vars", {"B": "2"})
    one.set("working_dir", None)
    assert one == {"env_vars": {"B": "2"}}
    with pytest.raises(TypeError, match="text → text"):
        one.set("env_vars", {"A": 1})
    with pytest.raises(ValueError, match="Did you mean 'env_vars'"):
        one.set("env_var", {})
    assert one.get("pip") is None
    assert one.get("pip", ["x"], data_class=Hook) == ["x"]
    one["hook"] = {"name": "n"}
    assert one.get("hook", data_class=Hook) == Hook("n")
    del one["hook"]
    again = RuntimeEnv.deserialize(one.serialize())
    assert type(again) is RuntimeEnv
    assert again == one


def test_what_is_not_served_names_what_is_there() -> None:
    """A text that sends people to a function of rayhpc's sends them to one that exists."""
    for name, instead in runtime_env.NOT_SERVED.items():
        with pytest.raises(NotServedError, match=re.escape(instead)):
            RuntimeEnv(**{name: ["x"]})
        assert re.findall(r"\brayhpc\.[\w.]+", instead) == []
    assert "with subprocess and mpiexec" in runtime_env.NOT_SERVED["mpi"]


def test_it_is_a_dict_and_travels() -> None:
    env = RuntimeEnv(env_vars={"A": "1"}, pip=None)
    assert env.get("env_vars") == {"A": "1"}
    assert env == {"env_vars": {"A": "1"}}
    assert pickle.loads(pickle.dumps(env)) == env
    assert env.env_vars() == {"A": "1"}


def test_the_same_folder_gives_the_same_package(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    first = packages.pack(str(folder))
    os.utime(folder / "a.py", (time.time() + 100, time.time() + 100))
    assert packages.pack(str(folder)) == first
    (folder / "a.py").write_text("A = 2\n")
    assert packages.pack(str(folder)) != first


def test_what_is_packed(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    assert _names(packages.pack(str(folder))) == ["a.py", "sub/b.txt"]
    assert _names(packages.pack(str(folder), ["*.txt"])) == ["a.py"]
    assert _names(packages.pack(str(folder), ["/sub"])) == ["a.py"]
    own = _names(packages.pack(str(folder), under_own_name=True))
    assert own == ["work/a.py", "work/sub/b.txt"]
    assert _names(packages.pack(str(folder / "a.py"))) == ["a.py"]


def test_a_link_back_up_does_not_pack_for_ever(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    (folder / "sub" / "up").symlink_to(folder)
    assert _names(packages.pack(str(folder))) == ["a.py", "sub/b.txt"]


def test_too_much_names_the_largest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _folder(tmp_path)
    (folder / "big.bin").write_bytes(bytes(3 << 20))
    monkeypatch.setattr(packages, "MAX_BYTES", 2 << 20)
    with pytest.raises(ValueError, match=r"big\.bin \(3 MiB\)"):
        packages.pack(str(folder))


def test_a_missing_folder_is_named() -> None:
    with pytest.raises(ValueError, match="/not/there"):
        packages.pack("/not/there")


def test_folders_travel_as_packages(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    fields = checked({"working_dir": str(folder), "py_modules": [str(folder)], "excludes": ["sub"]})
    travelling, found = packed(fields)
    assert travelling["working_dir"].startswith("kv://")
    assert set(found) == {travelling["working_dir"], *travelling["py_modules"]}
    assert "excludes" not in travelling
    assert _names(found[travelling["working_dir"]]) == ["a.py"]
    assert _names(found[travelling["py_modules"][0]]) == ["work/a.py"]
    again, nothing = packed(travelling)
    assert (again, nothing) == (travelling, {})


def test_what_a_folder_says_to_leave_out_is_left_out(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    (folder / ".gitignore").write_text("*.log\n")
    (folder / "sub" / ".rayignore").write_text("*.bin\n!b.bin\n")
    for name in ("a.log", "sub/a.log", "sub/a.bin", "sub/b.bin", "a.bin"):
        (folder / name).write_text("")
    names = _names(packages.pack(str(folder)))
    assert [x for x in names if x.endswith((".log", ".bin"))] == ["a.bin", "sub/b.bin"]


def test_a_hook_that_cannot_travel_is_an_error_of_the_environment() -> None:
    lock = threading.Lock()
    fields = checked({"worker_process_setup_hook": lambda: lock.acquire()})
    with pytest.raises(RuntimeEnvSetupError, match="Failed to export the setup function"):
        packed(fields)


def test_modules_are_taken_by_their_path() -> None:
    fields = checked({"py_modules": [runtime_env, json]})
    assert fields["py_modules"] == [runtime_env.__file__, os.path.dirname(json.__file__)]


def test_what_is_given_lies_on_top_of_what_is_inherited() -> None:
    inherited = canonical({"env_vars": {"A": "1", "B": "2"}, "working_dir": "kv://x"})
    merged = json.loads(on_top(inherited, {"env_vars": {"B": "3"}}))
    assert merged == {"env_vars": {"A": "1", "B": "3"}, "working_dir": "kv://x"}
    assert on_top(b"", {}) == b""
