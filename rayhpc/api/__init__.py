"""The names users write: `init`, `remote`, `get`, `put`, `wait`, actors, placement groups, context.

Re-exported by `rayhpc`.  Importing any module of this package arranges for the first call that
needs a cluster to start the embedded one; nothing is started before that.
"""

from rayhpc.runtime.process import current


def _start_embedded() -> None:
    from rayhpc.api.session.session import init

    # Another thread may have called it by now.
    init(ignore_reinit_error=True)


current.set_starter(_start_embedded)
