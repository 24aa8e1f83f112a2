"""`JobConfig`: what one program asks of its job, for `init(job_config=…)`.

Used by programs, under the name that Ray gives it; read by `api.session`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DETACHED = {"detached": True, "non_detached": False}


class JobConfig:
    """A job's namespace, environment and default lifetime of actors.

    Args:
        runtime_env: as in `init`.
        ray_namespace: as `namespace` in `init`.
        metadata: accepted, without effect.
        default_actor_lifetime: "detached" or "non_detached", for actors of this job that are made
            without the option `lifetime`.
        further: what concerns other languages; accepted, without effect.

    Raises:
        ValueError: another lifetime.
    """

    def __init__(
        self,
        runtime_env: Mapping[str, Any] | None = None,
        ray_namespace: str | None = None,
        metadata: Mapping[str, str] | None = None,
        default_actor_lifetime: str = "non_detached",
        **further: Any,
    ) -> None:
        self.runtime_env = dict(runtime_env or {})
        self.ray_namespace = ray_namespace
        self.metadata = dict(metadata or {})
        self.detached = False
        self.set_default_actor_lifetime(default_actor_lifetime)

    def set_metadata(self, key: str, value: str) -> None:
        """Add to the metadata."""
        self.metadata[key] = value

    def set_ray_namespace(self, ray_namespace: str) -> None:
        """Set the namespace."""
        self.ray_namespace = ray_namespace

    def set_runtime_env(self, runtime_env: Mapping[str, Any] | None) -> None:
        """Set the environment."""
        self.runtime_env = dict(runtime_env or {})

    def set_default_actor_lifetime(self, default_actor_lifetime: str) -> None:
        """Set the lifetime of actors that are made without one.

        Raises:
            ValueError: neither "detached" nor "non_detached".
        """
        if default_actor_lifetime not in _DETACHED:
            raise ValueError(
                "Default actor lifetime must be one of `detached`, `non_detached`, not "
                f"{default_actor_lifetime!r}."
            )
        self.detached = _DETACHED[default_actor_lifetime]

    @classmethod
    def from_json(cls, job_config_json: Mapping[str, Any]) -> JobConfig:
        """The configuration whose arguments these are; others are without effect."""
        return cls(**job_config_json)
