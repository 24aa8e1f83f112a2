"""What the daemons say of themselves over HTTP.

Used by `lab` to know when they are ready.
"""

from __future__ import annotations

import json
import os
import urllib.request
from typing import Any

from rayhpc.hadoop import spnego
from yarn.lab import kerberos
from yarn.lab.daemons import kind
from yarn.lab.layout import Layout
from yarn.lab.network import Network

_PORTS = {"rm": 8088, "nn": 9870}
_TIMEOUT_S = 5.0


class Questions:
    """Asks the daemons of one lab, from the clients' host."""

    def __init__(self, layout: Layout, network: Network) -> None:
        self._layout = layout
        self._network = network

    def ha_state(self, manager: str) -> str | None:
        """ACTIVE or STANDBY; None while it does not answer."""
        info = (self._get(manager, "/ws/v1/cluster/info") or {}).get("clusterInfo") or {}
        found: str | None = info.get("haState")
        return found

    def is_hdfs_writable(self) -> bool:
        """The NameNode has its DataNode and has left safe mode."""
        path = "/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo"
        beans = (self._get("nn", path) or {}).get("beans") or [{}]
        return bool(beans[0].get("Safemode") == "" and beans[0]["LiveNodes"] != "{}")

    def nodes(self, since: float = 0.0) -> dict[str, str]:
        """Each NodeManager's state as the ResourceManager sees it, if it is newer than `since`."""
        names = {self._layout.address(name): name for name in self._layout.node_managers}
        for manager in self._layout.resource_managers:  # a standby redirects
            answer = self._get(manager, "/ws/v1/cluster/nodes")
            if answer is not None:
                listed = (answer.get("nodes") or {}).get("node") or []
                return {
                    names.get(each["nodeHostName"], each["nodeHostName"]): each["state"]
                    for each in listed
                    if each["lastHealthUpdate"] >= since * 1000
                }
        return {}

    def _get(self, name: str, path: str) -> Any:
        """A JSON answer; None while there is none."""
        address = self._layout.address(name)
        request = urllib.request.Request(f"http://{address}:{_PORTS[kind(name)]}{path}")
        try:
            with self._network.on("client"):
                if self._layout.options.kerberos:
                    os.environ.update(kerberos.environment(self._layout))  # GSSAPI reads it
                    request.add_header("Authorization", spnego.authorization(address))
                with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
                    return json.load(answer)
        except (OSError, ValueError):
            return None
