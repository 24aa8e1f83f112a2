"""`ray._private.worker`: modes, the process under Ray's names, and the API once more."""

from __future__ import annotations

import abc
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import cloudpickle as pickle

import rayhpc
from rayhpc.api.objects import objects
from rayhpc.api.session.session_context import RayContext
from rayhpc.compat.served._private.modes import (
    LOCAL_MODE,
    RESTORE_WORKER_MODE,
    SCRIPT_MODE,
    SPILL_WORKER_MODE,
    WORKER_MODE,
)
from rayhpc.exceptions import RaySystemError
from rayhpc.runtime.process import current, unhandled
from rayhpc.runtime.values.ids import JobID, NodeID


class BaseContext(abc.ABC):
    """What `init` returns, however this process is connected."""

    @abc.abstractmethod
    def disconnect(self) -> None:
        """Leave the cluster."""


BaseContext.register(RayContext)


class Node:
    """The node that this process runs on, with the attributes that programs read."""

    @property
    def unique_id(self) -> str:
        """The node's id in hex."""
        return current.client().facts.node_id

    @property
    def node_ip_address(self) -> str:
        """The node's address."""
        return current.client().facts.node_ip

    @property
    def address_info(self) -> dict[str, str]:
        """The node's id and address, and its session's directory."""
        return {
            "node_id": self.unique_id,
            "node_ip_address": self.node_ip_address,
            "session_dir": self.get_session_dir_path(),
        }

    def get_session_dir_path(self) -> str:
        """The session's directory on this node."""
        return current.client().facts.session_dir


class Worker:
    """This process, with the attributes that libraries read."""

    @property
    def node(self) -> Node | None:
        """Its node; None: not connected."""
        return Node() if current.is_connected() else None

    @property
    def mode(self) -> int | None:
        """SCRIPT_MODE in a driver, WORKER_MODE in a worker; None: not connected."""
        client = current.existing()
        if client is None:
            return None
        return WORKER_MODE if client.is_worker else SCRIPT_MODE

    @property
    def connected(self) -> bool:
        """Whether this process is part of a cluster."""
        return current.is_connected()

    @property
    def namespace(self) -> str:
        """The namespace of the job."""
        return current.client().facts.namespace

    @property
    def current_job_id(self) -> JobID:
        """The id of the job."""
        return JobID.from_int(current.client().facts.job)

    @property
    def current_node_id(self) -> NodeID:
        """The id of the node."""
        return NodeID.from_hex(current.client().facts.node_id)

    def check_connected(self) -> None:
        """Raise RaySystemError if this process is not part of a cluster."""
        if not current.is_connected():
            raise RaySystemError("Ray has not been started yet: call ray.init() first.")


class _Module(ModuleType):
    """The module: libraries set its flag to silence a warning, which `api` gives."""

    @property
    def blocking_get_inside_async_warned(self) -> bool:
        """Whether the warning was given."""
        return objects.blocking_get_inside_async_warned

    @blocking_get_inside_async_warned.setter
    def blocking_get_inside_async_warned(self, value: bool) -> None:
        objects.blocking_get_inside_async_warned = value

    @property
    def _unhandled_error_handler(self) -> Callable[[BaseException], object]:
        """What is done with the error of a task that nothing looks at."""
        return unhandled.handler

    @_unhandled_error_handler.setter
    def _unhandled_error_handler(self, value: Callable[[BaseException], object]) -> None:
        unhandled.handler = value


sys.modules[__name__].__class__ = _Module
global_worker = Worker()


def __getattr__(name: str) -> Any:
    if name in rayhpc.__all__:
        return getattr(rayhpc, name)
    raise AttributeError(f"module 'ray._private.worker' (served by rayhpc) has no {name!r}")


__all__ = [
    "LOCAL_MODE",
    "RESTORE_WORKER_MODE",
    "SCRIPT_MODE",
    "SPILL_WORKER_MODE",
    "WORKER_MODE",
    "BaseContext",
    "RayContext",
    "Worker",
    "global_worker",
    "pickle",
]
