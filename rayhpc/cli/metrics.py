"""`rayhpc metrics`: a cluster's figures and its programs' own, as Prometheus reads them.

On demand, or into a directory that node_exporter's textfile collector reads; nothing listens.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rayhpc.cli import showing
from rayhpc.machine import whole_file

if TYPE_CHECKING:
    from rayhpc.launch.observer import Observer


@click.command()
@click.option(
    "--address", metavar="HOST:PORT", help="The cluster there (else: yours on this node)."
)
@click.option(
    "--textfile",
    type=click.Path(path_type=Path, exists=True, file_okay=False, writable=True),
    metavar="DIR",
    help="Write a .prom file there, for node_exporter's textfile collector, instead of printing.",
)
def metrics(address: str | None, textfile: Path | None) -> int:
    """Print a cluster's figures, and its programs' own metrics, in Prometheus's text format.

    Nothing listens for it: call it from a timer with --textfile, or print it when you want it.
    """
    from rayhpc.launch.observer import Observer

    record = showing.chosen_session(address)
    with Observer(record.session_dir) as observer:
        text = _text(observer)
    if textfile is None:
        click.echo(text, nl=False)
    else:
        # Whole: the collector must never see half a file; and readable by it, another user.
        place = textfile / f"rayhpc-{record.cluster_id[:8]}.prom"
        whole_file.write(place, text.encode(), 0o644)
    return 0


def _text(observer: Observer) -> str:
    from rayhpc.observe import prometheus
    from rayhpc.util import metrics
    from rayhpc.wire.messages.cluster import KvGet, KvKeys

    own = prometheus.rows(observer.state())
    published: dict[bytes, bytes] = {}
    for key in observer.ask(KvKeys(metrics.SPACE, b""), list[bytes]):
        published[key] = observer.ask(KvGet(metrics.SPACE, key), bytes | None) or b""  # type: ignore[arg-type]
    return metrics.text_of([*own, *metrics.summed(published)])
