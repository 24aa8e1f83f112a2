"""Object locations: which nodes have a copy, and object sizes.

Used by programs, as `rayhpc.util.locations` or `ray.experimental`.
"""

from rayhpc.api.state.locations import get_local_object_locations, get_object_locations

__all__ = ["get_local_object_locations", "get_object_locations"]
