"""Ray's client mode, which rayhpc does not serve: programs run on a node of the cluster.

Used by programs written for Ray; each call says what to do instead.
"""

from __future__ import annotations

from typing import Any, NoReturn

from rayhpc.exceptions import NotServedError


def connect(*args: Any, **kwargs: Any) -> NoReturn:
    """Not served.

    Raises:
        NotServedError: always.
    """
    raise NotServedError(
        "util.connect (Ray Client)",
        "run the program on a node of the cluster (rayhpc submit, rayhpc attach)",
    )


def disconnect() -> NoReturn:
    """Not served.

    Raises:
        NotServedError: always.
    """
    raise NotServedError("util.disconnect (Ray Client)", "call rayhpc.shutdown()")


__all__ = ["connect", "disconnect"]
