"""What goes wrong between us and a Kubernetes API server."""

from __future__ import annotations


class KubernetesError(Exception):
    """Any of them; the text says what to do where that is known."""


class ConfigError(KubernetesError):
    """There is no usable configuration: no kubeconfig, a wrong context, a failing exec plugin."""


class UnreachableError(KubernetesError):
    """The API server did not answer: whether it has done what was asked is unknown."""


class ApiError(KubernetesError):
    """The API server has refused.

    Args:
        status: HTTP's status code.
        reason: Kubernetes' own word for it, such as AlreadyExists; empty: it gave none.
        message: its sentence.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message or f"HTTP status {status} {reason}".strip())
        self.status, self.reason = status, reason

    @property
    def is_missing(self) -> bool:
        """The object, or its namespace, does not exist."""
        return self.status == 404

    @property
    def exists(self) -> bool:
        """An object of that name exists already."""
        return self.status == 409 and self.reason == "AlreadyExists"

    @property
    def is_conflict(self) -> bool:
        """The object has changed since it was looked at."""
        return self.status == 409 and self.reason != "AlreadyExists"

    @property
    def is_quota(self) -> bool:
        """A quota of the namespace is used up."""
        return self.status == 403 and "exceeded quota" in str(self)

    @property
    def is_transient(self) -> bool:
        """The same request may succeed later as it stands."""
        return self.status in (401, 408, 429) or self.status >= 500
