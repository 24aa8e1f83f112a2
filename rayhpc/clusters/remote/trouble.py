"""What ssh says, in words that say what to do.

Used by `connection`.  Everything that is not known is quoted.
"""

from __future__ import annotations

import re

from rayhpc.clusters.remote.login import Login
from rayhpc.exit_codes import ExitCode, LaunchError


class RemoteError(LaunchError):
    """Something about one machine; the others are not concerned.

    Args:
        host: the machine.
        sentence: what is wrong and what to do.
        code: the exit code for a command that fails with it.
        tail: the last lines it printed.
        may_pass: a machine that has only just been started may be so for a moment.
    """

    def __init__(
        self,
        host: str,
        sentence: str,
        code: int = ExitCode.TOO_FEW_NODES,
        tail: list[str] | None = None,
        *,
        may_pass: bool = False,
    ) -> None:
        super().__init__(f"{host}: {sentence}", code)
        self.sentence = sentence
        self.tail = tail or []
        self.may_pass = may_pass


_UNREACHABLE = {
    "Connection refused": "nothing listens there: is sshd running, and is the port right?",
    "No route to host": "there is no way to it: is it up, and is the address right?",
    "Network is unreachable": "there is no way to it: is the address right?",
    "Connection timed out": "it does not answer: is it up, and may this machine reach it?",
    "Operation timed out": "it does not answer: is it up, and may this machine reach it?",
    "Could not resolve hostname": "its name is unknown: check the spelling, or give its address",
}
_PLACE = re.compile(r"Offending \S+ key in (\S+):(\d+)")


def in_words(login: Login, said: bytes) -> RemoteError:
    """The error for an ssh that did not get in, from what it printed."""
    text = said.decode(errors="replace")
    host = login.host
    if "REMOTE HOST IDENTIFICATION HAS CHANGED" in text:
        return _changed_key(login, text)
    if "Host key verification failed" in text:
        return RemoteError(host, f"its host key is not trusted: {_last(text)}", ExitCode.PERMISSION)
    if "Permission denied" in text:
        key = f"the key {login.private_key}" if login.private_key else "your keys"
        whom = f"as {login.user} " if login.user else ""
        sentence = (
            f"it does not let us in {whom}with {key} ({_last(text)}): check auth.ssh_user and "
            "auth.ssh_private_key, or load the key with ssh-add"
        )
        return RemoteError(host, sentence, ExitCode.PERMISSION, may_pass=True)
    for words, meaning in _UNREACHABLE.items():
        if words in text:
            return RemoteError(host, f"{words.lower()}; {meaning}", may_pass=True)
    return RemoteError(host, f"ssh says: {_last(text) or 'nothing'}", may_pass=True)


def _changed_key(login: Login, text: str) -> RemoteError:
    place = _PLACE.search(text)
    where = f" (line {place[2]} of {place[1]})" if place else ""
    name = login.host if login.port in (None, 22) else f"[{login.host}]:{login.port}"
    name = login.identity or name
    file = place[1] if place else login.known_hosts
    sentence = (
        f"its host key is not the one it had before{where}: it was reinstalled, or another machine "
        "answers in its place. Nothing was sent to it. If you know that it was reinstalled: "
        f"ssh-keygen -R '{name}' -f {file}"
    )
    return RemoteError(login.host, sentence, ExitCode.PERMISSION)


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
