"""Runs the hook that a runtime environment wants every worker to call before its first task.

Used by `job_environment`.  The raylet names it in the worker's environment: a function by its
module, or a file with its pickle.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

from rayhpc.exceptions import RuntimeEnvSetupError
from rayhpc.runtime.values import serialization
from rayhpc.wire.messages.common import SETUP_HOOK_VARIABLE


def run() -> None:
    """Call it, if there is one.

    Raises:
        RuntimeEnvSetupError: it was not found, or it raised.
    """
    where = os.environ.pop(SETUP_HOOK_VARIABLE, "")
    if not where:
        return
    try:
        _function(where)()
    except Exception as error:
        raise RuntimeEnvSetupError(
            "Failed to execute the setup hook method: worker_process_setup_hook raised "
            f"{type(error).__name__}: {error}"
        ) from error


def _function(where: str) -> Any:
    if os.path.isabs(where):
        with open(where, "rb") as file:
            return serialization.deserialize(file.read())
    module, _, name = where.rpartition(".")
    return getattr(importlib.import_module(module), name)
