"""The parts of Ray that rayhpc does not serve, with alternatives, and the errors that name them.

Used by `finder` (modules) and `serving` (names).  The table for readers is
`docs/reference/not-served.md`.
"""

from __future__ import annotations

from typing import Any

from rayhpc.exceptions import NotServedError

# Serves all of Ray, on the same allocation.
_REAL = "use the real Ray (rayhpc run --engine ray)"
# What is in no table may be a new name of Ray's, or a wrong one.
UNKNOWN = "if the installed Ray has it, use that (rayhpc run --engine ray)"

# Modules, and names of the package itself; an entry covers everything below it.
ALTERNATIVES = {
    "ray.air": f"{_REAL}, or the framework's own training loop in tasks and actors",
    "ray.autoscaler": "the allocation has a fixed size: ask the scheduler for more nodes "
    "(rayhpc submit --nodes)",
    "ray.client": "run the program on a node of the cluster (rayhpc submit, rayhpc attach)",
    "ray.client_builder": "run the program on a node of the cluster (rayhpc submit, rayhpc attach)",
    "ray.cpp_function": f"{_REAL}, or Python",
    "ray.cross_language": f"{_REAL}, or Python",
    "ray.dashboard": f"{_REAL}, or rayhpc status, rayhpc list and rayhpc memory",
    "ray.data": f"{_REAL}, Modin, Dask (rayhpc.util.dask), or tasks over files",
    "ray.experimental.channel": f"{_REAL}, or pass references between actors",
    "ray.experimental.collective": "call ray.util.collective in actors, or NCCL through PyTorch",
    "ray.java_actor_class": f"{_REAL}, or Python",
    "ray.java_function": f"{_REAL}, or Python",
    "ray.job_submission": f"{_REAL}, or rayhpc submit",
    "ray.llm": f"{_REAL}, or the framework's own servers in actors",
    "ray.rllib": f"{_REAL}, or the framework's own training loop in tasks and actors",
    "ray.serve": f"{_REAL}, or a web server in your job, with actors behind it",
    "ray.train": f"{_REAL}, or the framework's own training loop in actors and placement groups",
    "ray.tune": f"{_REAL}, or a search library (Optuna, Hyperopt) over tasks or actors",
    "ray.util.client": "run the program on a node of the cluster (rayhpc submit, rayhpc attach)",
    "ray.util.connect": "run the program on a node of the cluster (rayhpc submit, rayhpc attach)",
    "ray.util.disconnect": "call rayhpc.shutdown()",
    "ray.util.iter": "use a generator task (num_returns='streaming')",
    "ray.util.rpdb": f"{_REAL}, or a debugger in the task's own process, or print",
    "ray.util.pdb": f"{_REAL}, or a debugger in the task's own process, or print",
    "ray.util.spark": f"{_REAL}, or start Spark with its own launcher",
    "ray.workflow": f"{_REAL} if it still has it, or tasks that write their results to files",
}


class NotServedModuleError(NotServedError, ModuleNotFoundError):
    """An import of part of Ray that rayhpc does not serve.

    Its `name` stays empty: otherwise `from ray import tune` would hide the text.
    """


class NotServedNameError(NotServedError, AttributeError):
    """A name of Ray that rayhpc does not serve."""


def alternative_to(name: str) -> str | None:
    """The alternative to a dotted name of Ray; None: it is not in the table."""
    while name:
        found = ALTERNATIVES.get(name)
        if found is not None:
            return found
        name = name.rpartition(".")[0]
    return None


def refuse(name: str) -> Any:
    """A function called `name` that raises when called."""
    text = alternative_to(name) or "see docs/reference/not-served.md"

    def refused(*args: Any, **kwargs: Any) -> Any:
        raise NotServedError(name, text)

    refused.__name__ = refused.__qualname__ = name.rpartition(".")[2]
    refused.__doc__ = f"Not served: {text}."
    return refused
