"""How to log in to one machine, as the words of an ssh command.

Used by `connection` and by the commands that become ssh.  Never names a password or a key's
contents; forwards no agent; host keys are learnt once and pinned in a file of the cluster's own.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ALIVE_S, ALIVE_COUNT = 5, 3
CONNECT_S = 20
# Further logins go over the first one's connection; it ends by itself this long after the last.
_PERSIST_S = 30


@dataclass(frozen=True)
class Login:
    """One machine as ssh sees it.

    Attributes:
        host: name or address.
        user, port, private_key, proxy_command: None: as ~/.ssh/config says.
        known_hosts: the cluster's pinned host keys; the user's own are believed as well.
        identity: what its host key is pinned under; empty: the host.  Addresses in a cloud are
            used again, by machines with other keys.
    """

    host: str
    user: str | None
    port: int | None
    private_key: str | None
    proxy_command: str | None
    known_hosts: Path
    identity: str = ""

    def words(self, socket: Path | None = None, *, master: bool = False) -> list[str]:
        """The command up to and including the host.

        Args:
            socket: where a shared connection listens.
            master: make that connection instead of using it.
        """
        words = ["ssh", *_options(self._settings())]
        if socket is not None:
            mode = "yes" if master else "no"
            persist = f"{_PERSIST_S}s" if master else "no"
            words += ["-S", str(socket)]
            words += _options({"ControlMaster": mode, "ControlPersist": persist})
        if self.port is not None:
            words += ["-p", str(self.port)]
        if self.user is not None:
            words += ["-l", self.user]
        return [*words, "--", self.host]

    def through(self) -> str:
        """The ProxyCommand with which another machine is reached from this one."""
        program, *rest = self.words()
        # ssh takes % for its own in it.
        return f"{program} -W %h:%p {shlex.join(rest).replace('%', '%%')}"

    def _settings(self) -> dict[str, str]:
        own = Path("~/.ssh").expanduser()
        files = [str(self.known_hosts), str(own / "known_hosts"), str(own / "known_hosts2")]
        settings = {
            "StrictHostKeyChecking": "accept-new",
            "UserKnownHostsFile": " ".join(_quoted(file) for file in files),
            "UpdateHostKeys": "no",
            "HashKnownHosts": "no",
            "CheckHostIP": "no",
            "ForwardAgent": "no",
            "ForwardX11": "no",
            "PermitLocalCommand": "no",
            "ConnectTimeout": str(CONNECT_S),
            "ServerAliveInterval": str(ALIVE_S),
            "ServerAliveCountMax": str(ALIVE_COUNT),
            # Banners of the machine's owner are not ours to repeat; errors still come.
            "LogLevel": "ERROR",
        }
        if self.identity:
            settings["HostKeyAlias"] = self.identity
        if self.private_key is not None:
            settings["IdentityFile"] = _quoted(os.path.expanduser(self.private_key))
            settings["IdentitiesOnly"] = "yes"
        if self.proxy_command is not None:
            settings["ProxyCommand"] = self.proxy_command
        return settings


def _options(settings: dict[str, str]) -> Sequence[str]:
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


def _quoted(path: str) -> str:
    return f'"{path}"' if " " in path else path
