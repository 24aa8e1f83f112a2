"""`ray.remote_function`."""

from rayhpc.api.remote_function import RemoteFunction

__all__ = ["RemoteFunction"]
