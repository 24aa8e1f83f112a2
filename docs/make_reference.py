"""Writes docs/reference/api.md and cli.md from docstrings and command help.

python docs/make_reference.py          write
python docs/make_reference.py --check  exit 1 if they are not up to date (the test suite does)
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

FOLDER = Path(__file__).parent / "reference"
MODULES = {
    "rayhpc": "The words every program uses.",
    "rayhpc.exceptions": "Errors.",
    "rayhpc.util": "Tools on top of the core.",
    "rayhpc.util.queue": "A queue between tasks and actors.",
    "rayhpc.util.multiprocessing": "`multiprocessing.Pool` on the cluster.",
    "rayhpc.util.futures": "`concurrent.futures` on the cluster.",
    "rayhpc.util.collective": "Collective operations between actors.",
    "rayhpc.util.dag": "Graphs of tasks and actor calls.",
    "rayhpc.util.scheduling_strategies": "Where tasks and actors run.",
    "rayhpc.util.state": "Listings of what there is.",
    "rayhpc.util.metrics": "Counters, gauges, histograms.",
    "rayhpc.cluster_utils": "Clusters for tests.",
}


def api() -> Iterator[str]:
    """The lines of api.md."""
    yield "# API reference"
    yield "Made from the docstrings by `docs/make_reference.py`. Names and meaning are Ray's."
    for name, title in MODULES.items():
        module = importlib.import_module(name)
        yield f"## `{name}`"
        yield title
        for public in sorted(getattr(module, "__all__", ())):
            yield from _entry(name, public, getattr(module, public))


def _entry(module: str, name: str, thing: Any) -> Iterator[str]:
    if inspect.ismodule(thing) or not callable(thing):
        return
    yield f"### `{module}.{name}{_signature(thing)}`"
    yield inspect.cleandoc(_own_doc(thing))
    if inspect.isclass(thing) and not issubclass(thing, BaseException):
        for method, member in sorted(vars(thing).items()):
            doc = getattr(member, "__doc__", None)
            if not method.startswith("_") and doc and (callable(member) or hasattr(member, "fget")):
                function = getattr(member, "fget", None) or getattr(member, "__func__", member)
                yield f"- `{method}{_signature(function)}`: {_first_sentence(doc)}"


def _own_doc(thing: Any) -> str:
    doc = thing.__doc__ if isinstance(getattr(thing, "__doc__", None), str) else None
    return doc or "(no description)"


def _signature(thing: Any) -> str:
    try:
        text = str(inspect.signature(thing))
    except (TypeError, ValueError):
        return "(…)"
    return text.replace("'", "")


def _first_sentence(doc: str) -> str:
    return " ".join(inspect.cleandoc(doc).split("\n\n")[0].split())


def cli() -> Iterator[str]:
    """The lines of cli.md."""
    from rayhpc.cli.main import cli as group

    yield "# Command line"
    yield "Made from the commands' own help by `docs/make_reference.py`."
    yield from _command(group, "rayhpc", None)


def _command(command: click.Command, path: str, parent: click.Context | None) -> Iterator[str]:
    context = click.Context(command, info_name=path.split()[-1], parent=parent, terminal_width=96)
    yield f"## `{path}`"
    yield f"```text\n{command.get_help(context)}\n```"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                yield from _command(child, f"{path} {name}", context)


def pages() -> dict[Path, str]:
    """Both pages as they should be."""
    return {FOLDER / "api.md": _page(api()), FOLDER / "cli.md": _page(cli())}


def _page(parts: Iterator[str]) -> str:
    """Paragraphs apart, the items of a list together."""
    text, in_list = "", False
    for part in parts:
        is_item = part.startswith("- ")
        text += "\n" * (2 if text and not (is_item and in_list) else 1 if text else 0) + part
        in_list = is_item
    return text + "\n"


def main() -> int:
    """Write the pages, or compare them."""
    stale = [p for p, text in pages().items() if not p.exists() or p.read_text() != text]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.name} is not up to date: run python docs/make_reference.py")
        return 1 if stale else 0
    FOLDER.mkdir(exist_ok=True)
    for path in stale:
        path.write_text(pages()[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())
