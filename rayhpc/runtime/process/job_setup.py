"""What the workers of a job call before its first task, so that its program finds there what it
found in the driver.

Whatever serves the driver's program says so with `register` (the shim under the name of `ray`
does); it travels with the job, as its modules' path does, and `job_environment` calls it.
"""

from __future__ import annotations

import importlib


class _Registered:
    """The one of this process."""

    function = ""


def register(function: str) -> None:
    """Have `function` (module:function) called in every worker of the job this process begins."""
    _Registered.function = function


def registered() -> str:
    """What was registered; empty: nothing."""
    return _Registered.function


def run(function: str) -> None:
    """Call a job's function, in a worker."""
    module, _, name = function.partition(":")
    getattr(importlib.import_module(module), name)()
