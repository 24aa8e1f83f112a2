"""Makes a host of each machine that a cloud's API has, for the labs of clouds.

Used by their servers, which say what machines there are; it knows no cloud.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssh.lab.errors import LabError
from ssh.lab.lab import Lab

# What a machine does to switch itself off is told to the agent by a file.
_SHUTDOWN = "#!/bin/sh\n: >{}\n"


@dataclass(frozen=True)
class Seen:
    """A machine as its cloud has it.

    Attributes:
        identity: the cloud's own id of it.
        state: in the cloud's words.
        runs: whether it is on.
        addresses: the one inside first.
        user, public_key: who may log in.
        told: what it was told for its start.
        start: what of that its image runs, as root: shell commands.
        tags: what it is found by.
        role: environment variables by which programs there find credentials of the machine's own,
            and the cloud.
    """

    identity: str
    state: str
    runs: bool
    addresses: Sequence[str]
    user: str
    public_key: str
    told: str
    start: Sequence[str]
    tags: Mapping[str, str]
    role: Mapping[str, str] = field(default_factory=dict)


class Agent:
    """Switches hosts on and off as the cloud's machines come and go.

    Args:
        lab: `image` in its folder is what every machine's ~/.bash_profile is.
        switched_off: tells the cloud of a machine that has switched itself off.
    """

    def __init__(self, lab: Lab, switched_off: Callable[[str], None]) -> None:
        self._lab = lab
        self._switched_off = switched_off
        self._hosts: dict[str, str] = {}
        self._seen: dict[str, Seen] = {}
        self._written = ""
        #: Machines whose hosts were off when that was last written down.
        self.off: frozenset[str] = frozenset()
        # Whatever addresses the cloud gives: all of them are on the one bridge.
        lab.in_hub("ip route add default dev br0")
        (lab.folder / "requests.log").touch()
        self._write([])

    def look(self, machines: Iterable[Seen]) -> None:
        """Once; those that the cloud has forgotten have gone."""
        now = {each.identity: each for each in machines}
        for identity, each in now.items():
            if each.runs and identity not in self._hosts:
                self._start(each)
        for identity, name in self._hosts.items():
            found = now.get(identity)
            if found is not None and found.role:
                self._give_role(name, found.role)
            if found is not None and found.runs and (self._lab.folder / name / "off").exists():
                self._switched_off(identity)
            elif (found is None or not found.runs) and self._lab.alive(name):
                self._lab.power_off(name)
        self._seen |= now
        self._write([self._row(each, each.identity in now) for each in self._seen.values()])
        self.off = frozenset(identity for identity, each in now.items() if not each.runs)

    def _start(self, each: Seen) -> None:
        name = f"m{len(self._hosts) + 1}"
        self._hosts[each.identity] = name
        addresses = [f"{address}/32" for address in each.addresses]
        try:
            self._lab.add(name, addresses, each.user, each.public_key)
        except LabError as error:
            print(f"{each.identity}: {error}", file=sys.stderr, flush=True)
            return
        image = (self._lab.folder / "image").read_text()
        # Its cloud may say a moment later which role it has.
        role = self._lab.folder / name / "role"
        profile = f"{image}[ ! -e {role} ] || . {role}\n"
        (self._lab.home(name) / ".bash_profile").write_text(profile)
        self._boot(name, each)

    def _give_role(self, name: str, role: Mapping[str, str]) -> None:
        path = self._lab.folder / name / "role"
        if not path.exists():
            _replace(path, "".join(f"export {key}={value}\n" for key, value in role.items()))

    def _boot(self, name: str, each: Seen) -> None:
        folder = self._lab.folder / name
        programs = folder / "bin"
        programs.mkdir()
        off = programs / "shutdown"
        off.write_text(_SHUTDOWN.format(folder / "off"))
        off.chmod(0o755)
        (folder / "user-data").write_text(each.told)
        for command in each.start:
            self._lab.inside(name, f"PATH={programs}:$PATH {command} >/dev/null 2>&1 </dev/null")

    def _row(self, each: Seen, is_there: bool) -> dict[str, Any]:
        host = self._hosts.get(each.identity, "")
        return {
            "id": each.identity,
            "state": each.state if is_there else "terminated",
            "host": host,
            "alive": bool(host) and self._lab.alive(host),
            "address": each.addresses[0] if each.addresses else "",
            "tags": dict(each.tags),
        }

    def _write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        text = json.dumps(rows)
        if text != self._written:
            self._written = text
            _replace(self._lab.folder / "instances.json", text)


def _replace(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)
