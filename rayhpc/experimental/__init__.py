"""What Ray calls experimental: object locations, and progress bars of workers.

Used by programs; the contents are in `util`, and Ray's names for them lead here.
"""

from __future__ import annotations

from rayhpc.util import tqdm_ray
from rayhpc.util.locations import get_local_object_locations, get_object_locations

__all__ = ["get_local_object_locations", "get_object_locations", "tqdm_ray"]
