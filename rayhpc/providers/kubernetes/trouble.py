"""Kubernetes' refusals as those that the loop knows: never, not now, or unknown.

Used by `provider` around each request.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rayhpc.kubernetes.client import Client
from rayhpc.kubernetes.errors import ApiError, KubernetesError
from rayhpc.kubernetes.objects import EVENT, JOB, POD, SECRET, Kind
from rayhpc.providers.base import CapacityError, ProviderError, RefusedError

#: Kind, subresource and verbs of something that one must be allowed to do.
Need = tuple[Kind[Any], str, tuple[str, ...]]
#: What whoever makes machines needs.
NEEDS: tuple[Need, ...] = (
    (JOB, "", ("create", "get", "list", "delete")),
    (SECRET, "", ("create",)),
    (POD, "", ("get", "list")),
    (EVENT, "", ("list",)),
)


@contextmanager
def in_our_words() -> Iterator[None]:
    """Raises ProviderError for what the client raises."""
    try:
        yield
    except KubernetesError as error:
        raise translated(error) from error


def translated(error: KubernetesError) -> ProviderError:
    """The same as an error of a provider."""
    if not isinstance(error, ApiError) or error.is_transient or error.is_conflict:
        return ProviderError(f"Kubernetes: {error}")
    if error.is_quota:
        return CapacityError(f"Kubernetes: {error}")
    return RefusedError(f"Kubernetes: {error}")


def lacking(client: Client, needs: Sequence[Need] = NEEDS) -> list[str]:
    """What we may not do of what is needed, by the server's own review: `create jobs` and so on.

    Raises:
        KubernetesError: it does not answer.
    """
    return [
        f"{verb} {kind.plural}{'/' if part else ''}{part}"
        for kind, part, verbs in needs
        for verb in verbs
        if not client.may(verb, kind, part)
    ]
