"""`import ray`, served by rayhpc, or by the real Ray if this interpreter has it.

On the module path of programs that `rayhpc run` starts.  Decides in the program's own interpreter:
`RAYHPC_AS_RAY=1` selects rayhpc, `0` the real Ray, and otherwise the real Ray is used if present.
Uses only the standard library, because rayhpc may be missing in this interpreter.
"""

import importlib.machinery as _machinery
import importlib.util as _util
import os as _os
import sys as _sys

_OURS = _os.path.realpath(__file__)
_FOLDER = _os.path.dirname(_os.path.dirname(_OURS))
_COMPAT = _os.path.dirname(_FOLDER)


def _paths_without_us() -> list[str]:
    return [x for x in _sys.path if not _os.path.realpath(x or ".").startswith(_COMPAT)]


def _find_real() -> "_machinery.ModuleSpec | None":
    """The real Ray's package, if any finder of this interpreter knows one."""
    for finder in list(_sys.meta_path):
        if finder is _machinery.PathFinder:
            spec = _machinery.PathFinder.find_spec("ray", _paths_without_us())
        else:
            find = getattr(finder, "find_spec", None)
            spec = find("ray", None) if find is not None else None
        # A folder that happens to be called ray has no loader file: it is not Ray.
        origin = spec.origin if spec is not None and spec.has_location else None
        if origin is not None and _os.path.realpath(origin) != _OURS:
            return spec
    return None


def _load_real(spec: "_machinery.ModuleSpec") -> None:
    """Become the real Ray: its module replaces this one, and nothing of ours stays on the path."""
    _sys.path[:] = _paths_without_us()
    module = _util.module_from_spec(spec)
    _sys.modules[__name__] = module
    if spec.loader is not None:
        spec.loader.exec_module(module)


def _serve() -> None:
    """Become rayhpc."""
    try:
        from rayhpc.compat import serving
    except ImportError as error:
        raise ModuleNotFoundError(
            f"`rayhpc run` serves `import ray` from rayhpc, but {_sys.executable} cannot import "
            f"it: {error}. Install rayhpc there, or use `rayhpc run --no-as-ray`.",
            name="ray",
        ) from error
    serving.serve(_sys.modules[__name__])


def _decide() -> None:
    wish = _os.environ.get("RAYHPC_AS_RAY", "")
    real = None if wish == "1" else _find_real()
    if real is not None:
        _load_real(real)
    elif wish == "0":
        raise ModuleNotFoundError(
            "No module named 'ray': rayhpc does not serve it here (--no-as-ray was given), and the "
            "real Ray is not installed.",
            name="ray",
        )
    else:
        _serve()


_decide()
