"""The machines of a cluster whose provider is a list of them (`local`, `ssh`).

Called by `launcher`.  Reads `provider` in Ray's own shape (`head_ip`, `worker_ips`,
`external_head_ip`), or ours (`hosts`, each a name or a mapping of `HostConfig`'s fields).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from rayhpc.clusters.read import ClusterFile
from rayhpc.clusters.schema import HEAD_TYPE, WORKER_TYPE, NodeTypeConfig
from rayhpc.clusters.yaml_lines import Path

_KEYS = ("type", "head_ip", "worker_ips", "external_head_ip", "hosts")


class HostConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One machine of `provider.hosts`; what is left out is as for the others."""

    host: str
    user: str | None = None
    port: int | None = None
    node_type: str | None = None
    resources: dict[str, float] = {}
    labels: dict[str, str] = {}


@dataclass(frozen=True)
class Host:
    """A machine as the launcher sees it.

    Attributes:
        name: as the file has it, and as other nodes reach it; unique in the cluster.
        login: the name to log in to, which may be another one for the head.
        user: whom to log in as; None: as ~/.ssh/config says.
        port: of its sshd; None likewise.
        node_type: its node type's name.
        is_head: whether the head runs there.
        resources, labels: what its node has besides what it finds.
        identity: what its host key is pinned under; empty: its name.
        is_behind_head: it is logged in to through the head's machine, the only one outside.
    """

    name: str
    login: str
    user: str | None = None
    port: int | None = None
    node_type: str = WORKER_TYPE
    is_head: bool = False
    resources: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    identity: str = ""
    is_behind_head: bool = False


def hosts_of(file: ClusterFile) -> list[Host]:
    """The head's machine, then the workers', in the file's order.

    Raises:
        ClusterFileError: naming the line.
    """
    provider = file.config.provider
    for key in provider:
        if key not in _KEYS:
            raise file.fault(("provider", key), _unknown(key))
    head = _text(file, "head_ip")
    external = _text(file, "external_head_ip")
    rows = _rows(file, "hosts") if "hosts" in provider else _rows(file, "worker_ips")
    if head is None:
        if "hosts" not in provider or not rows:
            raise file.fault(("provider",), "provider needs head_ip, or hosts, the first the head")
        chosen, rows = rows[0], rows[1:]
    else:
        same = [each for each in rows if each.host == head]
        chosen = same[0] if same else HostConfig(host=head)
        rows = [each for each in rows if each.host != head]
    machines = [
        _host(file, chosen, is_head=True, login=external or chosen.host),
        *(_host(file, each, is_head=False, login=each.host) for each in rows),
    ]
    _refuse_doubles(file, machines)
    return machines


def _unknown(key: str) -> str:
    if key == "coordinator_address":
        return "Ray's coordinator server is not served: list the machines as head_ip and worker_ips"
    near = difflib.get_close_matches(key, _KEYS, 1)
    meant = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_KEYS)}"
    return f"there is no {key!r} in a provider that is a list of machines; {meant}"


def _text(file: ClusterFile, key: str) -> str | None:
    value = file.config.provider.get(key)
    if value is None:
        return None
    _check_name(file, ("provider", key), value)
    return str(value)


def _rows(file: ClusterFile, key: str) -> list[HostConfig]:
    value = file.config.provider.get(key) or []
    if not isinstance(value, list):
        raise file.fault(("provider", key), f"{key} is a list of machines")
    return [_row(file, ("provider", key, index), each) for index, each in enumerate(value)]


def _row(file: ClusterFile, path: Path, value: Any) -> HostConfig:
    if not isinstance(value, dict):
        _check_name(file, path, value)
        return HostConfig(host=value)
    known = [each.name for each in msgspec.structs.fields(HostConfig)]
    for key in value:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            meant = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise file.fault((*path, str(key)), f"there is no {key!r} in a host; {meant}")
    try:
        found = msgspec.convert(value, HostConfig)
    except msgspec.ValidationError as error:
        raise file.fault(path, str(error)) from None
    _check_name(file, (*path, "host"), found.host)
    return found


def _check_name(file: ClusterFile, path: Path, value: object) -> None:
    """A name that ssh could take for an option, or that spans words, is refused."""
    text = value if isinstance(value, str) else ""
    if text.split() != [text] or text.startswith(("-", ".")) or "/" in text:
        raise file.fault(path, f"{value!r} is not a host's name or address")


def _host(file: ClusterFile, row: HostConfig, *, is_head: bool, login: str) -> Host:
    types = file.config.available_node_types
    head_type = file.config.head_node_type or HEAD_TYPE
    others = [name for name in types if name != head_type]
    name = row.node_type or (head_type if is_head else (others or [WORKER_TYPE])[0])
    if types and row.node_type is not None and name not in types:
        near = difflib.get_close_matches(name, types, 1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise file.fault(("provider", "hosts"), f"there is no node type {name!r}{meant}")
    kind = types.get(name, NodeTypeConfig())
    return Host(
        name=row.host,
        login=login,
        user=row.user or file.config.auth.ssh_user,
        port=row.port,
        node_type=name,
        is_head=is_head,
        resources={**kind.resources, **row.resources},
        labels={**kind.labels, **row.labels},
    )


def _refuse_doubles(file: ClusterFile, machines: list[Host]) -> None:
    names = [each.name for each in machines]
    for name in names:
        if names.count(name) > 1:
            raise file.fault(("provider",), f"{name} stands twice in the list of machines")
