"""The ssh command that a command of ours becomes, or waits for: the user's own terminal and pipes.

Used by `cli.on_head`.  Exit code, standard input, output and errors are the remote command's; what
the login shell prints while it starts is dropped.
"""

from __future__ import annotations

import base64
import shlex

from rayhpc.clusters.remote.login import Login


def command(login: Login, script: str, *, terminal: bool, forwards: tuple[int, ...]) -> list[str]:
    """The words of an ssh that runs a script in a login bash there.

    Args:
        login: how to log in.
        script: shell text; the machine's other users can see it, so it holds no secret.
        terminal: whether our standard input is a terminal, and theirs is to be one.
        forwards: ports of this machine that lead to the same ports there.
    """
    words = login.words()
    more = ["-tt" if terminal else "-T"]
    for port in forwards:
        more += ["-L", f"localhost:{port}:localhost:{port}"]
    words[1:1] = more
    return [*words, _quiet_start(script)]


def _quiet_start(script: str) -> str:
    """For any login shell: only single quotes around what is for bash."""
    inner = f"exec >&4 2>&3 3>&- 4>&-\n{script}"
    outer = f"exec 3>&2 4>&1 >/dev/null 2>&1\nexec bash --login -i -c {shlex.quote(inner)}"
    packed = base64.b64encode(outer.encode()).decode()
    return f"exec sh -c 'eval \"$(printf %s {packed} | base64 -d)\"'"
