"""`ray.autoscaler`: imported by libraries; an allocation has a fixed size."""

from rayhpc.compat.served.autoscaler import sdk

__all__ = ["sdk"]
