"""The listings, under Ray's name for their module.

Used by libraries.
"""

from rayhpc.util.state import *  # noqa: F403
from rayhpc.util.state import __all__  # noqa: F401
