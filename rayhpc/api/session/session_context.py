"""What `init` returns: the cluster's addresses, and a context manager that leaves it.

Used by `session`.  Holds data only.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any


class RayContext(Mapping[str, Any]):
    """A connection to a cluster; can be indexed like a dict of its addresses.

    Attributes:
        dashboard_url: empty; `rayhpc dashboard` serves one on demand.
        python_version: of this process.
        ray_version: rayhpc's own version.
        address_info: address, node_ip_address, node_id, session_dir and the like.
    """

    def __init__(
        self, address_info: dict[str, Any], version: str, leave: Callable[[], None]
    ) -> None:
        self.dashboard_url = ""
        self.python_version = platform.python_version()
        self.ray_version = version
        self.ray_commit = f"rayhpc-{version}"
        self.protocol_version = None
        self.address_info = address_info
        self._leave = leave

    def disconnect(self) -> None:
        """Leave the cluster; a local one ends."""
        self._leave()

    def __enter__(self) -> RayContext:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()

    def __getitem__(self, key: str) -> Any:
        return self.address_info[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.address_info)

    def __len__(self) -> int:
        return len(self.address_info)

    def __repr__(self) -> str:
        return (
            f"RayContext(address={self.address_info.get('address')!r}, "
            f"python_version={self.python_version!r}, ray_version={self.ray_version!r})"
        )


def address_info(*, address: str, node_ip: str, node_id: str, session_dir: str) -> dict[str, Any]:
    """The facts under the keys that programs written for Ray look up."""
    socket = f"{session_dir}/raylet.sock"
    return {
        "address": address,
        "gcs_address": address,
        "node_id": node_id,
        "node_ip_address": node_ip,
        "raylet_ip_address": node_ip,
        "raylet_socket_name": socket,
        "object_store_address": "",
        "session_dir": session_dir,
        "webui_url": "",
        "metrics_export_port": None,
        "dashboard_agent_listen_port": None,
        "redis_address": None,
    }
