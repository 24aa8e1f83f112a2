"""Which accounts a user may charge, queried when SLURM has refused one.

Used by `slurm` after a refusal.  One request to the controller, which has all associations cached;
sacctmgr would ask the database, which is not allowed on every login node.
"""

from __future__ import annotations

import getpass
import re

from rayhpc.batch.errors import SchedulerError
from rayhpc.batch.slurm.commands import attempt

# The list is a courtesy: nobody should have to wait for it.
_SECONDS = 10.0
_REFUSED = "Invalid account"
_RECORD = re.compile(r"\bAccount=(?P<account>\S+) UserName=(?P<user>\S+?)\(\d+\) Partition=(\S*)")


def with_accounts(error: SchedulerError) -> SchedulerError:
    """The same refusal; if it is about the account, it lists the valid accounts."""
    said, _, remedy = str(error).partition("\n")
    if _REFUSED not in said:
        return error
    accounts = accounts_of(getpass.getuser())
    if accounts:
        remedy = f"give --account one of yours: {', '.join(accounts)}"
    return SchedulerError(f"{said}\n{remedy}")


def accounts_of(user: str) -> list[str]:
    """Their names, with a partition if valid only there; empty: cannot be found out."""
    try:
        done = attempt(
            ["scontrol", "show", "assoc_mgr", f"users={user}", "flags=assoc"], seconds=_SECONDS
        )
    except SchedulerError:
        return []
    return read_accounts(done.stdout, user) if done.returncode == 0 else []


def read_accounts(text: str, user: str) -> list[str]:
    """The accounts of `user` in what `scontrol show assoc_mgr` prints."""
    found = []
    for match in _RECORD.finditer(text):
        if match["user"] == user:
            found.append(match["account"] + (f" (partition {match[3]})" if match[3] else ""))
    return list(dict.fromkeys(found))
