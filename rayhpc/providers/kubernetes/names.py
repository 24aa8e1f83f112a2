"""What a cluster's objects in Kubernetes are called, and by which labels they are found again.

Used by everything here.  Names are made of the machines' own, so that whoever asks again asks for
the same; they differ from one head to the next, since what an earlier head had may still be ending.
"""

from __future__ import annotations

import hashlib
import re

CLUSTER_LABEL = "rayhpc.io/cluster"
OWNER_LABEL = "rayhpc.io/owner"
ROLE_LABEL = "rayhpc.io/role"
#: The uid of the head's Job: tells machines of this head from those of an earlier one.
HEAD_LABEL = "rayhpc.io/head"
#: An annotation: the name of the machine that a Job is.
MACHINE = "rayhpc.io/machine"
TYPE = "rayhpc.io/node-type"
# A Job's name is also a label of its pods, whose names get six letters more.
_MOST = 57


def head_job(cluster: str) -> str:
    """The Job of a cluster's head."""
    return _short(f"{_plain(cluster)}-head")


def machine_job(cluster: str, head_uid: str, machine: str) -> str:
    """The Job of a machine."""
    return _short(f"{_plain(cluster)}-{head_uid[:5]}-{_plain(machine)}", machine)


def label(text: str) -> str:
    """A text as a label's value, which may have fewer letters and signs."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-_.")
    return plain[:63].rstrip("-_.")


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _short(name: str, of: str = "") -> str:
    """As long as may be at most; what was cut, or changed from `of`, is told apart by a hash."""
    if len(name) <= _MOST and _plain(of) == of:
        return name
    digest = hashlib.sha256(f"{name} {of}".encode()).hexdigest()[:8]
    return f"{name[: _MOST - 9].rstrip('-')}-{digest}"
