"""`CompiledDAG`: what `experimental_compile` returns; it runs the graph uncompiled.

Used by programs written for Ray's compiled graphs that need only their interface.
"""

from __future__ import annotations

import logging
from typing import Any, Protocol

from rayhpc.util.debug import log_once

logger = logging.getLogger("rayhpc")


class Graph(Protocol):
    """Anything that can be run as a graph: its last node."""

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Run it."""


class CompiledDAG:
    """A graph that runs by ordinary calls; logs once that it is not compiled.

    Args:
        dag: the graph's last node.
    """

    def __init__(self, dag: Graph) -> None:
        self._dag: Graph | None = dag
        if log_once("rayhpc.dag.experimental_compile"):
            logger.warning(
                "experimental_compile(): rayhpc runs the graph by ordinary calls, without "
                "compiling it; results are the same."
            )

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Run the graph, like its own `execute`.

        Raises:
            ValueError: `teardown` was called.
        """
        if self._dag is None:
            raise ValueError("This graph was torn down: compile it again.")
        return self._dag.execute(*args, **kwargs)

    async def execute_async(self, *args: Any, **kwargs: Any) -> Any:
        """`execute` as a coroutine; its result can be awaited in turn."""
        return self.execute(*args, **kwargs)

    def teardown(self, kill_actors: bool = False) -> None:
        """Release the graph.

        Args:
            kill_actors: accepted, without effect: a graph's own actors end with its calls.
        """
        self._dag = None
