"""The module `ray` itself: rayhpc's public names, Ray's version, and what only Ray has.

Used by `path/ray/__init__.py`, whose module it populates.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

import rayhpc
from rayhpc.compat import finder, not_served, shim
from rayhpc.runtime.process import job_setup


def serve(module: ModuleType) -> None:
    """Make `module` rayhpc under the name `ray`."""
    finder.install()
    job_setup.register(f"{shim.__name__}:{shim.install.__name__}")
    if shim.METADATA_FOLDER not in sys.path:
        sys.path.append(shim.METADATA_FOLDER)
    for own in [x for x in vars(module) if x.startswith("_") and not x.startswith("__")]:
        del vars(module)[own]
    vars(module).update(
        __doc__="Ray's core API, served by rayhpc.",
        __version__=shim.RAY_VERSION,
        __commit__=f"rayhpc-{rayhpc.__version__}",
        __rayhpc__=True,
        __all__=sorted({*rayhpc.__all__, *_extras().__all__, "__version__"}),
        __getattr__=_attribute,
        __dir__=lambda: sorted({*vars(module), *module.__all__}),
    )


def _attribute(name: str) -> Any:
    """A name of the package: looked up once, then stored in the module."""
    if not name.startswith("__") and finder.target_of(f"ray.{name}") is not None:
        value: Any = importlib.import_module(f"ray.{name}")
    elif name in _extras().__all__:
        value = getattr(_extras(), name)
    elif name in rayhpc.__all__:
        value = getattr(rayhpc, name)
    else:
        raise _no_such(name)
    vars(sys.modules["ray"])[name] = value
    return value


def _no_such(name: str) -> AttributeError:
    instead = not_served.alternative_to(f"ray.{name}")
    if instead is not None:
        return not_served.NotServedNameError(f"ray.{name}", instead)
    return AttributeError(
        f"module 'ray' (served by rayhpc) has no attribute {name!r}: {not_served.UNKNOWN}"
    )


def _extras() -> Any:
    return importlib.import_module("rayhpc.compat.served")
