"""What a machine runs at each start: the watch that ends it, then what the user has for it.

Used by `request`; it is the `startup-script` of the machine's metadata.  Pure.
"""

from __future__ import annotations

import base64
import shlex

from rayhpc.providers.watch import watch_script

# A user's script may be in any language: its own first line says in which.
_THEIRS = """\
theirs=$(mktemp) && chmod 700 "$theirs" && base64 -d >"$theirs" <<'END' && exec "$theirs"
{theirs}
END
"""


def startup_script(cluster: str, users: str | None = None) -> str:
    """The whole of it; `users` is the user's own script."""
    watch = shlex.quote(watch_script(cluster))
    # In the background: the machine's start waits for the script.
    ours = f"#!/bin/sh\nsetsid -f sh -c {watch} </dev/null >/dev/null 2>&1\n"
    if users is None:
        return ours
    if not users.startswith("#!"):
        return f"{ours}{users}"
    text = base64.encodebytes(users.encode()).decode().rstrip("\n")
    return ours + _THEIRS.format(theirs=text)
