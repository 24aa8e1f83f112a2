"""Names from Ray that users may look for here and that rayhpc does not serve.

Used by `rayhpc` when such a name is accessed.  What `import ray` offers is up to `compat`.
"""

from __future__ import annotations

from rayhpc.exceptions import NotServedError

# Serves all of Ray, on the same allocation.
_REAL = "use the real Ray (rayhpc run --engine ray -- python ...)"

ALTERNATIVES = {
    "ClientBuilder": "run the program on a node of the cluster: rayhpc submit or rayhpc run",
    "client": "run the program on a node of the cluster: rayhpc submit or rayhpc run",
    "cpp_function": "write the function in Python",
    "data": f"{_REAL}, Modin, Dask (rayhpc.util.dask), or tasks over files",
    "java_actor_class": "write the class in Python",
    "java_function": "write the function in Python",
    "job_submission": "use rayhpc submit",
    "rllib": f"{_REAL}, or the framework's own training loop in tasks and actors",
    "serve": f"{_REAL}, or a web server in the job, with actors behind it",
    "train": f"{_REAL}, or the framework's own training loop in actors and placement groups",
    "tune": f"{_REAL}, or a search library (Optuna, Hyperopt) over tasks or actors",
    "workflow": "use tasks that write their results to files",
}


class NotServedNameError(NotServedError, AttributeError):
    """A name that rayhpc does not serve; also an AttributeError, so that `hasattr` is False."""


def missing(name: str) -> AttributeError:
    """The error for a name that `rayhpc` does not have."""
    if name in ALTERNATIVES:
        return NotServedNameError(name, ALTERNATIVES[name])
    return AttributeError(f"module 'rayhpc' has no attribute {name!r}")
