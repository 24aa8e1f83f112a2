"""The lines above the table of `rayhpc top`: the cluster in figures, with bars as in htop.

Used by `screen`.  Pure functions of what a look has found.
"""

from __future__ import annotations

from rich.text import Text

from rayhpc.cli import showing
from rayhpc.cli.terminal.tables import plain, rate
from rayhpc.observe.live.now import ClusterNow

_BAR = 30


def lines(x: ClusterNow, note: str) -> list[Text]:
    """Each line; `note` comes last and stands out (empty: none)."""
    gone = f", {x.nodes_gone} gone" if x.nodes_gone else ""
    left = "" if x.time_left is None else f", {showing.age(x.time_left)} left"
    found = [
        Text.assemble(
            ("cluster ", "bold"),
            f"{x.address}, {x.nodes} node{'s' * (x.nodes != 1)}{gone}, "
            f"{x.workers} workers, {x.programs} program{'s' * (x.programs != 1)}, "
            f"up {showing.age(x.at - x.started)}{left}",
        ),
        _bar("CPU", x.cpus_used, x.cpus, f"{x.cpus_used:g}/{x.cpus:g}"),
    ]
    if x.gpus:
        found.append(_bar("GPU", x.gpus_used, x.gpus, f"{x.gpus_used:g}/{x.gpus:g}"))
    store = showing.share_of_size(x.store_used, x.store)
    if x.spilled:
        store += f" +{showing.size_in_words(x.spilled)} on disk"
    found.append(_bar("Sto", x.store_used, x.store, store))
    failed = f", {x.failed:,} failed" if x.failed else ""
    behind = f" (reading what {x.behind} nodes have run before)" if x.behind else ""
    found.append(
        Text.assemble(
            ("runs ", "bold"),
            f"{x.runs:,}{failed}, {rate(x.rate)} now{behind}; ",
            ("waiting ", "bold"),
            f"{x.waiting:,}",
        )
    )
    if x.errors:
        text = f"{x.errors} errors inside rayhpc, the last: {plain(x.last_error)}"
        found.append(Text(text, style="bold red"))
    if note:
        found.append(Text(plain(note), style="bold reverse"))
    for line in found:
        line.no_wrap, line.overflow = True, "ellipsis"
    return found


def _bar(name: str, used: float, total: float, words: str) -> Text:
    full = round(_BAR * min(1.0, used / total)) if total else 0
    return Text.assemble(
        (f"{name}[", "bold"), ("|" * full, "green"), " " * (_BAR - full), ("] ", "bold"), words
    )
