"""Runtime environments: the variables, folder and modules that tasks and actors bring along.

Used by users (`RuntimeEnv`), `options` and `session` (which check them) and `placing` (which
makes what is sent: canonical JSON in which folders are packages in the head's key-value store).
"""

from __future__ import annotations

import json
import os
import types
from collections.abc import Callable, Mapping
from typing import Any

from rayhpc.api.session import packages, requirements
from rayhpc.api.tasks.given import encodable
from rayhpc.api.tasks.unknown_names import refuse_unknown
from rayhpc.exceptions import NotServedError, RuntimeEnvSetupError
from rayhpc.runtime.process.client import Client
from rayhpc.runtime.values import serialization
from rayhpc.wire.messages.common import HOOK_FILE

SERVED = (
    "config",
    "env_vars",
    "excludes",
    "pip",
    "py_modules",
    "uv",
    "worker_process_setup_hook",
    "working_dir",
)
_INSTALLED = (
    "install what the program needs into the Python environment that all nodes share, or take pure "
    "Python along with py_modules or working_dir"
)
_CONTAINER = "start the nodes inside the container: `rayhpc run` works in any image that has rayhpc"
_PROFILER = "run the profiler around `rayhpc run`, or call it inside the task"
NOT_SERVED = {
    "_nsight": _PROFILER,
    "conda": _INSTALLED,
    "container": _CONTAINER,
    "image_uri": _CONTAINER,
    "java_jars": "rayhpc supports only Python",
    "mpi": "start the MPI program from a task, with subprocess and mpiexec (or srun --overlap)",
    "nsight": _PROFILER,
    "rocprof_sys": _PROFILER,
}


class RuntimeEnv(dict[str, Any]):
    """A runtime environment: a dict whose fields have been checked.

    Args:
        env_vars: environment variables, text → text.
        working_dir: a folder or zip archive; tasks run in a copy of it.
        py_modules: folders, files, zip archives or modules that tasks can import.
        pip: requirements that each node installs once, from wherever the user's own pip
            configuration points: a list, the path of a requirements file, or a dict with
            "packages".
        uv: the same, installed with uv; not together with pip.
        worker_process_setup_hook: a function, or "module.function", that each worker calls before
            its first task.
        excludes: patterns of what to leave out of working_dir and py_modules, in the syntax of
            `.gitignore`; such files (and `.rayignore`) in these folders count too.
        config: accepted, without effect.

    Raises:
        NotServedError: conda, containers and the like; the text names an alternative.
        ValueError: an unknown field; the text suggests the closest one.
        TypeError: a value of the wrong type.
    """

    def __init__(self, **fields: Any) -> None:
        super().__init__(checked(fields))

    def set(self, name: str, value: Any) -> None:
        """Change a field, or remove it (None); checked like those of `RuntimeEnv`."""
        fields = checked({**self, name: value})
        self.clear()
        self.update(fields)

    def get(self, name: str, default: Any = None, data_class: type[Any] | None = None) -> Any:
        """A field.

        Args:
            name: its name.
            default: what is returned if it is not set.
            data_class: made of the field's value, which is a dict of its arguments.
        """
        if name not in self or data_class is None:
            return super().get(name, default)
        return data_class(**self[name])

    def to_dict(self) -> dict[str, Any]:
        """The fields as a plain dict."""
        return dict(self)

    def serialize(self) -> str:
        """The fields as JSON.

        Raises:
            TypeError: a field is a function or module, which only the cluster can take along.
        """
        return json.dumps(self, sort_keys=True)

    @classmethod
    def deserialize(cls, serialized_runtime_env: str) -> RuntimeEnv:
        """The runtime environment that `serialize` has made text of."""
        return cls(**json.loads(serialized_runtime_env))

    def env_vars(self) -> dict[str, str]:
        """The environment variables."""
        return dict(self.get("env_vars", {}))

    def working_dir(self) -> str:
        """The working folder, or its package's name; empty: none."""
        return str(self.get("working_dir", ""))

    def py_modules(self) -> list[Any]:
        """The modules, or their packages' names."""
        return list(self.get("py_modules", ()))


class RuntimeEnvConfig(dict[str, Any]):
    """How to set up an environment; accepted for programs that pass it, without effect."""

    def __init__(self, setup_timeout_seconds: int = 600, eager_install: bool = True) -> None:
        super().__init__(setup_timeout_seconds=setup_timeout_seconds, eager_install=eager_install)


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """The checked fields of a runtime environment, without those that are None.

    Raises: as `RuntimeEnv`.
    """
    fields = {name: value for name, value in given.items() if value is not None}
    for name in fields:
        if name in NOT_SERVED:
            raise NotServedError(f"runtime_env[{name!r}]", NOT_SERVED[name])
        if name not in SERVED:
            refuse_unknown(name, "a runtime environment", SERVED)
    if "env_vars" in fields:
        fields["env_vars"] = _variables(fields["env_vars"])
    if "working_dir" in fields:
        fields["working_dir"] = _folder("working_dir", fields["working_dir"])
    if "py_modules" in fields:
        fields["py_modules"] = _modules(fields["py_modules"])
    if "excludes" in fields:
        fields["excludes"] = _patterns(fields["excludes"])
    for tool in ("pip", "uv"):
        if tool in fields:
            fields[tool] = requirements.lines_of(tool, fields[tool])
    if "pip" in fields and "uv" in fields:
        raise ValueError("A runtime environment can have pip or uv, not both.")
    if "worker_process_setup_hook" in fields:
        _check_hook(fields["worker_process_setup_hook"])
    fields.pop("config", None)
    return fields


def packed(fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The checked fields as they are sent, and the packages they name.

    Raises:
        ValueError: a folder does not exist or is too large.
        RuntimeEnvSetupError: the hook cannot be pickled.
    """
    travelling = {k: v for k, v in fields.items() if k not in ("excludes", "config")}
    excludes = fields.get("excludes", ())
    found: dict[str, bytes] = {}

    def package(path: str, *, module: bool) -> str:
        if path.startswith(packages.SCHEME):
            return path
        data = packages.pack(path, excludes, under_own_name=module)
        uri = packages.uri_of(data)
        found[uri] = data
        return uri

    if "working_dir" in fields:
        travelling["working_dir"] = package(fields["working_dir"], module=False)
    if "py_modules" in fields:
        travelling["py_modules"] = [package(x, module=True) for x in fields["py_modules"]]
    hook = fields.get("worker_process_setup_hook")
    if callable(hook):
        data = packages.pack_file(HOOK_FILE, _dumped(hook))
        travelling["worker_process_setup_hook"] = uri = packages.uri_of(data)
        found[uri] = data
    return travelling, found


def _dumped(hook: Callable[..., object]) -> bytes:
    try:
        return serialization.dump_definition(hook)
    except Exception as error:  # whatever its globals and what it captures raise
        raise RuntimeEnvSetupError(f"Failed to export the setup function. {error}") from error


def canonical(fields: Mapping[str, Any]) -> bytes:
    """An environment in canonical form; empty: none."""
    return json.dumps(fields, sort_keys=True).encode() if fields else b""


def on_top(inherited: bytes, own: Mapping[str, Any]) -> bytes:
    """`own` (as sent) layered over the inherited fields; variables are merged one by one."""
    merged: dict[str, Any] = json.loads(inherited) if inherited else {}
    variables = {**merged.get("env_vars", {}), **own.get("env_vars", {})}
    merged.update(own)
    if variables:
        merged["env_vars"] = variables
    return canonical(merged)


def environment_for(client: Client, own: Mapping[str, Any] | None) -> bytes:
    """The environment of a task or actor: the process's own, overridden by the option's.

    Sends the packages it names to the head.

    Raises:
        ValueError: a folder does not exist or is too large.
    """
    inherited = client.environment()
    if not own:
        return inherited
    travelling, found = packed(own)
    send_packages(client, travelling, found)
    return on_top(inherited, travelling)


def send_packages(client: Client, travelling: Mapping[str, Any], found: dict[str, bytes]) -> None:
    """Make sure that the head has every package the fields name.

    Raises:
        ValueError: a package was given by a name that the head does not know.
    """
    packages.upload(client, found)
    named = [travelling.get("working_dir"), *travelling.get("py_modules", ())]
    hook = travelling.get("worker_process_setup_hook", "")
    named += [hook] if hook.startswith(packages.SCHEME) else []
    packages.check_known(client, [x for x in named if x and x not in found])


def _variables(given: Any) -> dict[str, str]:
    if not isinstance(given, Mapping):
        raise TypeError(f"runtime_env['env_vars'] must be a dict, not a {type(given).__name__}.")
    for name, value in given.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(
                "runtime_env['env_vars'] must be a dict of text → text; "
                f"{name!r}: {value!r} is not."
            )
        if not name or "=" in name or "\0" in name + value:
            raise ValueError(f"runtime_env['env_vars']: {name!r} is not a valid variable name.")
        encodable("runtime_env['env_vars']", name + value)
    return dict(given)


def _folder(field: str, given: Any) -> str:
    if isinstance(given, os.PathLike):
        given = os.fspath(given)
    if not isinstance(given, str) or not given:
        raise TypeError(f"runtime_env[{field!r}] must be the path of a folder, not {given!r}.")
    if given.startswith(packages.SCHEME):
        return given
    if "://" in given:
        raise NotServedError(
            f"runtime_env[{field!r}] with the address {given!r}",
            "give the path of a local folder, or fetch it in the task",
        )
    return os.path.abspath(os.path.expanduser(given))


def _modules(given: Any) -> list[str]:
    if isinstance(given, (str, bytes)) or not isinstance(given, (list, tuple)):
        raise TypeError(
            f"runtime_env['py_modules'] must be a list of paths or modules, not {given!r}."
        )
    return [_folder("py_modules", _path_of(x) if _is_module(x) else x) for x in given]


def _is_module(given: Any) -> bool:
    return isinstance(given, types.ModuleType)


def _path_of(module: types.ModuleType) -> str:
    places = list(getattr(module, "__path__", ()))
    file = places[0] if places else getattr(module, "__file__", None)
    if file is None:
        raise ValueError(f"The module {module.__name__!r} has no file that could be packaged.")
    return str(file)


def _check_hook(given: Any) -> None:
    is_name = isinstance(given, str) and ("." in given or given.startswith(packages.SCHEME))
    if not callable(given) and not is_name:
        raise TypeError(
            "runtime_env['worker_process_setup_hook'] must be a function or \"module.function\", "
            f"not {given!r}."
        )


def _patterns(given: Any) -> list[str]:
    if not isinstance(given, (list, tuple)) or not all(isinstance(x, str) for x in given):
        raise TypeError(f"runtime_env['excludes'] must be a list of patterns, not {given!r}.")
    return list(given)
