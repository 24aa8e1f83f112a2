"""`ray.internal`: frees the values of objects explicitly."""

from rayhpc.compat.served._private.internal_api import free

__all__ = ["free"]
