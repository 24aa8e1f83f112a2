"""`ray.types`."""

from rayhpc.runtime.references import ObjectRef

__all__ = ["ObjectRef"]
