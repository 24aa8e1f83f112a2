"""Private modules of Ray that libraries use."""

from rayhpc.compat.served._private import services, state, worker

__all__ = ["services", "state", "worker"]
