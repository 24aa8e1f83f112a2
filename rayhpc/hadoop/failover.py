"""One service on several servers, one of which is active: which to call, and when to retry.

Used by `client` and `master`.  A call is repeated until a server answers it, so it must be safe to
repeat; all the YARN calls that we make are.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from rayhpc.hadoop.errors import AuthenticationError, HadoopError, RemoteError
from rayhpc.hadoop.protobuf import Message
from rayhpc.hadoop.rpc.connection import Connection
from rayhpc.hadoop.tokens import Token

M = TypeVar("M", bound=Message)

# Exceptions of a server that is not active, or not ready yet.
_PASSING = ("StandbyException", "RetriableException", "ServerNotActiveException")
# That of a server which does not know our token, or no longer.
INVALID_TOKEN = "InvalidToken"
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0


class ServiceLostError(HadoopError, ConnectionError):
    """No server has answered for so long that we gave up."""


class Service:
    """A protocol of a service, wherever it is active.

    Args:
        name: what it is, for messages.
        addresses: those of its servers, the likeliest first.
        protocol: the full name of the Java interface.
        token: gives the token of the moment; None as its value: by `user`'s word alone.
        user: on whose behalf, without a token.
        patience_s: how long to go on without any answer, in seconds.
        pause: waits so many seconds; may raise to give up.
        on_outage: told once per outage, with what was wrong.
        renew: called once per call if the servers no longer know the token; whether `token` gives
            another one now.
    """

    def __init__(
        self,
        name: str,
        addresses: Sequence[tuple[str, int]],
        protocol: str,
        *,
        token: Callable[[], Token | None] = lambda: None,
        user: str | None = None,
        patience_s: float = 120.0,
        pause: Callable[[float], None] = time.sleep,
        on_outage: Callable[[str], None] = lambda _: None,
        renew: Callable[[], bool] = lambda: False,
    ) -> None:
        self._name = name
        self._addresses = list(addresses)
        self._protocol = protocol
        self._token, self._user = token, user
        self._patience_s, self._pause, self._on_outage = patience_s, pause, on_outage
        self._renew = renew
        self._connection: Connection | None = None

    @property
    def protection(self) -> str | None:
        """How the present connection is protected; None: not at all, or there is none."""
        return self._connection.protection if self._connection else None

    def call(self, method: str, request: Message, answer: type[M]) -> M:
        """The answer of the server that is active.

        Raises:
            RemoteError: it answers with an exception.
            AuthenticationError: no server accepts us.
            ServiceLostError: no server has answered in time.
        """
        outage: _Outage | None = None
        is_renewed = False
        while True:
            try:
                return self._connected().call(method, request, answer)
            except AuthenticationError:
                raise
            except RemoteError as error:
                if error.name == INVALID_TOKEN and not is_renewed and self._renew():
                    is_renewed = True
                    self.close()
                    continue
                if error.name not in _PASSING:
                    raise
                problem: Exception = error
            except OSError as error:
                problem = error
            where = f"{self._addresses[0][0]}:{self._addresses[0][1]}"
            if outage is None:
                outage = _Outage(self._patience_s, len(self._addresses))
                self._on_outage(f"the {self._name} at {where} does not serve us ({problem})")
            if outage.is_over_patience():
                raise ServiceLostError(
                    f"the {self._name} has not answered for {self._patience_s:g} s, last "
                    f"{where}: {problem}; is it up, and is this its address?"
                ) from problem
            self.close()
            self._addresses.append(self._addresses.pop(0))
            self._pause(outage.next_pause_s())

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = Connection(
                self._addresses[0], self._protocol, token=self._token(), user=self._user
            )
        return self._connection


class _Outage:
    """How long a service has been away, and how long to wait before the next attempt."""

    def __init__(self, patience_s: float, servers: int) -> None:
        self._deadline = time.monotonic() + patience_s
        self._servers = servers
        self._tries = 0

    def is_over_patience(self) -> bool:
        return time.monotonic() >= self._deadline

    def next_pause_s(self) -> float:
        """The others are tried at once; after each full round the pause gets longer."""
        self._tries += 1
        rounds, rest = divmod(self._tries, self._servers)
        if rest:
            return 0.0
        longest = min(_FIRST_PAUSE_S * 2.0 ** (rounds - 1), _LONGEST_PAUSE_S)
        # A thousand clients that lost the same server must not return in step.
        return longest * random.uniform(0.5, 1.0)
