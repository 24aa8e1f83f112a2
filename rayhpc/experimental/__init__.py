"""What Ray calls experimental: where objects lie, and bars of workers.

Used by programs; what is here is in `util`, under the names that lead here from Ray.
"""

from __future__ import annotations

from rayhpc.util import tqdm_ray
from rayhpc.util.locations import get_local_object_locations, get_object_locations

__all__ = ["get_local_object_locations", "get_object_locations", "tqdm_ray"]
