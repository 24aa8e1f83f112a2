"""`ray.internal`: dropping the values of objects by hand."""

from rayhpc.compat.served._private.internal_api import free

__all__ = ["free"]
