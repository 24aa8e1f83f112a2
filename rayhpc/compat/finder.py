"""Serves Ray's module names with rayhpc's modules: the same objects under a second name.

Used by `serving`, which adds it to `sys.meta_path`.  `ray.util.queue` is `rayhpc.util.queue`; what
rayhpc does not export under a public name (`ray._private`, `ray.internal`, …) is in
`rayhpc.compat.served`, laid out as in Ray.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

from rayhpc.compat import not_served, statement

# Modules that rayhpc has or uses itself, under the same or its own names; the rest is in `served`.
_OURS = {
    "actor": "rayhpc.api.actors.actor",
    "cloudpickle": "cloudpickle",
    "cluster_utils": "rayhpc.cluster_utils",
    "dag": "rayhpc.util.dag",
    "exceptions": "rayhpc.exceptions",
    "experimental": "rayhpc.experimental",
    "job_config": "rayhpc.job_config",
    "remote_function": "rayhpc.api.tasks.remote_function",
    "runtime_context": "rayhpc.api.session.runtime_context",
    "runtime_env": "rayhpc.api.session.runtime_env",
    "util": "rayhpc.util",
}
# Old names that programs still use.
_RENAMED = {
    "ray.services": "ray._private.services",
    "ray.state": "ray._private.state",
    "ray.worker": "ray._private.worker",
    "ray.ray_constants": "ray._private.ray_constants",
    "ray.serialization": "ray.util.serialization",
    "ray.experimental.state": "ray.util.state",
    "ray.experimental.tqdm_ray": "ray.util.tqdm_ray",
}
# Names that libraries import at the top and never call: only exactly these can be imported.
_PARTS = {
    "ray.data": ("from_pandas_refs",),
    "ray.train._internal.session": ("get_session",),
}


class AliasFinder(importlib.abc.MetaPathFinder):
    """Finds every module below `ray`."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """The spec of an alias; None: no such module, or this is no import of it."""
        if not fullname.startswith("ray."):
            return None
        real = target_of(fullname)
        if real is not None:
            return importlib.util.spec_from_loader(
                fullname, _AliasLoader(real.name), is_package=_is_package(real)
            )
        asked = statement.under_way("ray.")
        if asked is None:
            return None
        if _is_part(fullname, asked):
            return importlib.util.spec_from_loader(fullname, _PartLoader(asked), is_package=True)
        instead = not_served.alternative_to(fullname) or not_served.UNKNOWN
        raise not_served.NotServedModuleError(fullname, instead)


class LastFinder(importlib.abc.MetaPathFinder):
    """Asked when nobody has a module: says what `from ray.util import spark` lacks.

    The import system looks for it below the module's own name, as `rayhpc.util.spark`.
    """

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """None, unless a name of Ray's is being imported: then it raises."""
        parent, _, name = fullname.rpartition(".")
        asked = statement.under_way("ray.") if parent else None
        if asked is None or name not in asked.names:
            return None
        module = sys.modules.get(asked.module)
        if module is None or module.__name__ != parent or asked.module == parent:
            return None
        wanted = f"{asked.module}.{name}"
        instead = not_served.alternative_to(wanted) or not_served.UNKNOWN
        raise not_served.NotServedModuleError(wanted, instead)


class _AliasLoader(importlib.abc.Loader):
    """Returns a module that exists under its other name."""

    def __init__(self, real: str) -> None:
        self._real = real
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module itself."""
        module = importlib.import_module(self._real)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run; but the import system has just overwritten the module's spec."""
        module.__spec__ = self._spec


class _PartLoader(importlib.abc.Loader):
    """Creates a module with only the names of one import statement, for that statement alone."""

    def __init__(self, asked: statement.Statement) -> None:
        self._asked = asked

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """An empty package."""
        return ModuleType(spec.name, "Only names that libraries import and never call.")

    def exec_module(self, module: ModuleType) -> None:
        """Set its names, if it is the module they are imported from."""
        if module.__name__ == self._asked.module:
            vars(module)["__getattr__"] = lambda name: _part(self._asked.module, name)


def target_of(fullname: str) -> ModuleSpec | None:
    """The spec of the rayhpc module for a Ray module name; None: there is none."""
    for old, new in _RENAMED.items():
        if fullname == old or fullname.startswith(old + "."):
            return target_of(new + fullname[len(old) :])
    first, dot, rest = fullname[len("ray.") :].partition(".")
    real = _OURS.get(first, f"rayhpc.compat.served.{first}") + dot + rest
    try:
        return importlib.util.find_spec(real)
    except ModuleNotFoundError:  # its parent is not a package
        return None


def install() -> None:
    """Serve Ray's names from now on."""
    if not any(isinstance(x, AliasFinder) for x in sys.meta_path):
        sys.meta_path.insert(0, AliasFinder())
        sys.meta_path.append(LastFinder())


def _is_package(spec: ModuleSpec) -> bool:
    return spec.submodule_search_locations is not None


def _is_part(fullname: str, asked: statement.Statement) -> bool:
    served = _PARTS.get(asked.module)
    if served is None or not asked.names or not set(asked.names) <= set(served):
        return False
    return asked.module == fullname or asked.module.startswith(fullname + ".")


def _part(module: str, name: str) -> object:
    """One name; afterwards the import system forgets the module, so that the next probe fails."""
    if name not in _PARTS[module]:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    made = f"ray.{module.split('.')[1]}"
    for known in [x for x in sys.modules if x == made or x.startswith(made + ".")]:
        del sys.modules[known]
    vars(sys.modules["ray"]).pop(module.split(".")[1], None)
    return not_served.refuse(f"{module}.{name}")
