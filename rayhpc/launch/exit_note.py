"""The program's exit code, for the job script that started the ranks.

Used by `head_rank`.  srun's exit code is not enough: if a step does not end within KillWait, srun
gives up and returns 0.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

VARIABLE = "RAYHPC_EXIT_FILE"


def note_exit(environ: Mapping[str, str], code: int) -> None:
    """Write the exit code to the file that the script has named, if any.

    If the file cannot be written that is no failure: the script then uses srun's exit code.
    """
    path = environ.get(VARIABLE)
    if not path:
        return
    part = f"{path}.{os.getpid()}"
    try:
        with open(part, "w") as file:
            file.write(f"{code}\n")
        os.replace(part, path)
    except OSError:
        return
