"""`ray.types`."""

from rayhpc.runtime.values.references import ObjectRef

__all__ = ["ObjectRef"]
