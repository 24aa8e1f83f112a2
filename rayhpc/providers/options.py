"""Checks of `provider` in a cluster's file.  Used by the providers of clouds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rayhpc.batch.errors import OptionError


def refuse_unknown(
    name: str, options: Mapping[str, object], used: Sequence[str], unused: Sequence[str]
) -> None:
    """Check the keys of `provider` in a cluster's file.

    Args:
        name: the provider's.
        options: what the file says.
        used: the keys that mean something.
        unused: Ray's others.

    Raises:
        OptionError: there is another one.
    """
    for key in options:
        if key not in (*used, *unused):
            raise OptionError(f"there is no {key!r} in provider {name}; {', '.join(used)} are")
