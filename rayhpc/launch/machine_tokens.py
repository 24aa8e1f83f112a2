"""One-time tokens for the machines that a growing cluster asks for, where its provider trades them.

Used by `elastic` on the head's node.  Joins the two who know about it: the server that trades
tokens, and the provider, which says where a machine really is.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.providers.base import AddressedProvider, Provider
from rayhpc.wire import join_tokens
from rayhpc.wire.join_tokens import TokenServer
from rayhpc.wire.keys import ClusterKey


class MachineTokens:
    """Issues tokens from its creation on, and trades them once it knows the provider.

    Args:
        key: the cluster's.
        address: the head's: tokens are traded at the same interface.

    Raises:
        LaunchError: nothing can listen there.
    """

    def __init__(self, key: ClusterKey, address: str) -> None:
        self._provider: AddressedProvider | None = None
        ip = address.rpartition(":")[0].strip("[]")
        try:
            self._server = TokenServer(key, [ip], self._addresses)
        except OSError as error:
            text = f"one-time tokens cannot be traded at {ip}: {error.strerror or error}"
            raise LaunchError(text, ExitCode.RENDEZVOUS) from None

    def issue(self, machine: str) -> bytes:
        """A new token for a machine; secret."""
        return join_tokens.encode(self._server.issue(machine))

    def serve_for(self, provider: Provider) -> None:
        """From now on this provider says which addresses a machine has."""
        self._provider = cast(AddressedProvider, provider)

    def close(self) -> None:
        """What has been issued is worth nothing any more."""
        self._server.close()

    def _addresses(self, machine: str) -> Collection[str] | None:
        return None if self._provider is None else self._provider.addresses(machine)
