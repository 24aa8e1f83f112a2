"""Old names that programs mention: the language of a task, the configuration of a job.

Used by users of Ray's API.  rayhpc supports only Python.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any


class Language(enum.Enum):
    """The language of a task or actor: always PYTHON here."""

    PYTHON = 0
    CPP = 1
    JAVA = 2


class JobConfig:
    """A job's namespace and environment, for `init(job_config=…)`.

    Args:
        runtime_env: as in `init`.
        ray_namespace: as `namespace` in `init`.
        metadata: accepted, without effect.
        further: accepted, without effect.
    """

    def __init__(
        self,
        runtime_env: Mapping[str, Any] | None = None,
        ray_namespace: str | None = None,
        metadata: Mapping[str, str] | None = None,
        **further: Any,
    ) -> None:
        self.runtime_env = dict(runtime_env or {})
        self.ray_namespace = ray_namespace
        self.metadata = dict(metadata or {})

    def set_ray_namespace(self, ray_namespace: str) -> None:
        """Set the namespace."""
        self.ray_namespace = ray_namespace

    def set_runtime_env(self, runtime_env: Mapping[str, Any] | None) -> None:
        """Set the environment."""
        self.runtime_env = dict(runtime_env or {})
