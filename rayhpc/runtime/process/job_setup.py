"""What the workers of a job call before its first task, so that its program finds the same setting
as in the driver.

Whatever serves the driver's program declares it with `register` (the shim for the name `ray`, and
`init` for its `logging_config`); it is sent with the job, like its module path, and
`job_environment` calls it.
"""

from __future__ import annotations

import importlib

# Function → its argument, as text on one line; empty: none.
_registered: dict[str, str] = {}


def register(function: str, argument: str = "") -> None:
    """Have `function` (module:function) called in every worker of this process's job."""
    _registered[function] = argument


def forget(function: str) -> None:
    """Undo `register`, for later jobs."""
    _registered.pop(function, None)


def registered() -> str:
    """The registered functions, one per line; empty: none."""
    return "\n".join(f"{name} {text}".rstrip() for name, text in _registered.items())


def run(functions: str) -> None:
    """Call a job's functions, in a worker."""
    for line in functions.splitlines():
        function, _, argument = line.partition(" ")
        module, _, name = function.partition(":")
        call = getattr(importlib.import_module(module), name)
        call(*([argument] if argument else []))
