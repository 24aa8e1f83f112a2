"""The error for an option or field that does not exist.

Used wherever names are given as keywords or keys: `options`, `actors.actor_method`,
`session.runtime_env`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn


def refuse_unknown(name: str, subject: str, known: Iterable[str]) -> NoReturn:
    """Raise the ValueError for an unknown option."""
    import difflib  # with the two modules it needs 2 ms of every program's start

    names = sorted(x for x in known if not x.startswith("_"))
    near = difflib.get_close_matches(name, names, 1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(
        f"Invalid option keyword {name!r} for {subject}.{hint} Valid ones are: {', '.join(names)}."
    )
