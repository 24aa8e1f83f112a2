"""What a planner that is not on the head's machine asks there, over a pipe, a line of JSON each.

Written by `clusters.head_line`, answered by `launch.growth_server`.
"""

import msgspec


class GrowthCall(msgspec.Struct, frozen=True):
    """A call of a method of `elastic.loop.Head`: its name, and its argument, if it has one."""

    what: str
    argument: str = ""
    data: bytes = b""


class GrowthAnswer(msgspec.Struct, frozen=True):
    """What came of it: the result as MessagePack, or an error in words and its exit code."""

    result: bytes = b""
    error: str = ""
    code: int = 0
