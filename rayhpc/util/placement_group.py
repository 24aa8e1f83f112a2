"""Placement groups; the module is also the function, because Ray uses the name for both.

Used by programs: `util.placement_group([…])`, `util.placement_group.PlacementGroup`, and
`from …util.placement_group import placement_group`.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

from rayhpc.api.groups.placement_group import (
    PlacementGroup,
    check_placement_group_index,
    get_current_placement_group,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
    validate_placement_group,
)

VALID_PLACEMENT_GROUP_STRATEGIES = {"PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"}


class _CallableModule(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> PlacementGroup:
        return placement_group(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return importlib.import_module, (self.__name__,)


sys.modules[__name__].__class__ = _CallableModule
# What `help` and other tools show for the module when they take it for the function.
__wrapped__ = placement_group

__all__ = [
    "VALID_PLACEMENT_GROUP_STRATEGIES",
    "PlacementGroup",
    "check_placement_group_index",
    "get_current_placement_group",
    "get_placement_group",
    "placement_group",
    "placement_group_table",
    "remove_placement_group",
    "validate_placement_group",
]
