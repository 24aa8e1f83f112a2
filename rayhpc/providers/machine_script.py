"""The script of a batch job that is one machine of a cluster: it starts a node, and ends with it.

Used by the providers whose machines are tasks of an array job; they differ in the variables of a
task, and in how the rest of the array is cancelled.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from rayhpc.batch.rendering import OUR_RAYHPC
from rayhpc.elastic.types import MACHINE_LABEL, TYPE_LABEL, NodeType
from rayhpc.providers.base import ClusterFacts
from rayhpc.providers.node_words import node_words
from rayhpc.wire.feasibility import END_LABEL
from rayhpc.wire.messages.common import UNIT


@dataclass(frozen=True)
class ArrayWords:
    """What a batch system calls things in the script of an array's task, as shell text.

    Attributes:
        task: the variable with the task's number, from 1.
        cancel: the command that cancels the whole array.
        end: shell text that sets `$end` to the machine's end in seconds since 1970, or to nothing;
            empty: only the time limit of its type is known.
        shield: runs before the node starts, in its process: such as `trap '' USR2;`.
        ends: signals that say that the machine is to end.
    """

    task: str
    cancel: str
    end: str = ""
    shield: str = ""
    ends: str = "TERM INT"


_SCRIPT = """\
#!/bin/bash
# One more node for a cluster of rayhpc; it ends when the cluster does, or when it is given back.
key={key}
folder={folder}
name={type}-$(( $1 + {task} ))

over() {{ {cancel} >/dev/null 2>&1; exit 0; }}

[ -e "$key" ] || over  # the cluster has ended
{end}
cd {work_dir} || exit 78
{setup}start() {{
    {shield}
    exec {rayhpc} start --address={address} --key-file="$key" --block \\
        --labels="{machine}=$name,{of_type}={type}${{end:+,{end_label}=$end}}"{labels}{has}
}}
start &
node=$!
trap 'kill -TERM "$node" 2>/dev/null' {ends}
code=0
while kill -0 "$node" 2>/dev/null; do wait "$node"; code=$?; done

[ -e "$key" ] || over
case $code in
71|76)  # no head there; three that find none are enough to know
    : >"$folder/lost.{task}"
    set -- "$folder"/lost.*
    [ $# -lt 3 ] || over
    exit 0 ;;
esac
exit "$code"
"""


def script_for(cluster: ClusterFacts, kind: NodeType, words: ArrayWords) -> str:
    """The batch script of each machine of a type; its argument is the array's base."""
    labels = "".join(f",{key}={value}" for key, value in kind.labels.items())
    return _SCRIPT.format(
        key=shlex.quote(str(cluster.key_file)),
        folder=shlex.quote(str(cluster.folder)),
        work_dir=shlex.quote(cluster.work_dir),
        address=shlex.quote(cluster.address),
        rayhpc=shlex.join(OUR_RAYHPC),
        type=kind.name,
        machine=MACHINE_LABEL,
        of_type=TYPE_LABEL,
        labels=shlex.quote(labels) if labels else "",
        has=_has(kind) if cluster.options is not None else "",
        setup="".join(f"{{ {line}\n}} || exit 78\n" for line in kind.setup),
        task=words.task,
        cancel=words.cancel,
        end=words.end or _end(kind),
        end_label=END_LABEL,
        shield=words.shield or ":",
        ends=words.ends,
    )


def _end(kind: NodeType) -> str:
    """From now on it lives for as long as its type says."""
    life = kind.life_seconds
    return "end=" if life is None else f"end=$(( $(date +%s) + {life:.0f} ))"


def _has(kind: NodeType) -> str:
    """What a cluster's YAML says that its nodes have; a job that grows takes what it gets."""
    amounts = {name: amount / UNIT for name, amount in kind.resources.items()}
    options = node_words(amounts, {}).items()
    return "".join(f" {option}={shlex.quote(value)}" for option, value in options)
