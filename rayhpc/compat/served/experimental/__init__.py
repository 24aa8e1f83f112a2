"""`ray.experimental`: where objects lie, and bars of workers."""

from rayhpc.util import tqdm_ray
from rayhpc.util.locations import get_local_object_locations, get_object_locations

__all__ = ["get_local_object_locations", "get_object_locations", "tqdm_ray"]
