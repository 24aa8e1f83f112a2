"""Where the head of such a cluster runs: in a batch job, on this machine, or on a login node.

Called by `cluster`.  `provider: {head: …}` in the cluster's YAML chooses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rayhpc.batch.errors import OptionError
from rayhpc.launch.batch_cluster.head import Head
from rayhpc.launch.batch_cluster.job_head import JobHead
from rayhpc.launch.batch_cluster.process_head import ProcessHead


def head_of(options: Mapping[str, object], system: str, folder: Path, words: Sequence[str]) -> Head:
    """The head as the `provider` of a cluster's YAML wants it: in a job, unless it says otherwise.

    Args:
        options: what it says.
        system: the batch system's name.
        folder: the cluster's folder.
        words: arguments for the program that submits the head's job.

    Raises:
        OptionError: `head` is none of `job`, `here` and `{login: HOST}`.
    """
    wish = options.get("head", "job")
    if wish == "job":
        return JobHead(folder, system, tuple(words))
    if wish == "here":
        return ProcessHead(folder)
    host = wish.get("login") if isinstance(wish, Mapping) and list(wish) == ["login"] else None
    if isinstance(host, str) and host.split() == [host] and not host.startswith("-"):
        return ProcessHead(folder, host)
    raise OptionError(
        f"provider: head is {wish!r}; write `head: job` (a batch job of its own), `head: here` "
        "(this machine) or `head: {login: HOST}` (a login node, by ssh)"
    )
