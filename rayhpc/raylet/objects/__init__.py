"""A node's objects: the raylet's side of the object store (see `manager`)."""

from rayhpc.raylet.objects.manager import ObjectManager

__all__ = ["ObjectManager"]
