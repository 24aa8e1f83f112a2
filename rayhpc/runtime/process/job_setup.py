"""What the workers of a job call before its first task, so that its program finds the same setting
as in the driver.

Whatever serves the driver's program declares it with `register` (the shim for the name `ray` does);
it is sent with the job, like its module path, and `job_environment` calls it.
"""

from __future__ import annotations

import importlib


class _Registered:
    """The registered function of this process."""

    function = ""


def register(function: str) -> None:
    """Have `function` (module:function) called in every worker of this process's job."""
    _Registered.function = function


def registered() -> str:
    """The registered function; empty: none."""
    return _Registered.function


def run(function: str) -> None:
    """Call a job's function, in a worker."""
    module, _, name = function.partition(":")
    getattr(importlib.import_module(module), name)()
