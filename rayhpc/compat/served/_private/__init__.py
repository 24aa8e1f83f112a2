"""Private modules of Ray that libraries use."""

from rayhpc.compat.served._private import internal_api, services, state, worker

__all__ = ["internal_api", "services", "state", "worker"]
