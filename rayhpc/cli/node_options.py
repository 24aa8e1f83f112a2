"""The options that describe a node, shared by `rayhpc start` and `rayhpc run`.

Converts texts to values; `launch.options` checks which values are valid, by the same rules as for
`init`.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import Any

import click

from rayhpc.cli.option_types import Size, Whole, shortened
from rayhpc.launch.options import NodeOptions

_PORT = re.compile(r"\d{1,5}", re.ASCII)


class Resources(click.ParamType):  # type: ignore[type-arg]
    """A JSON object of names and amounts."""

    name = "JSON"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, float]:
        """Amounts by name."""
        if isinstance(value, dict):
            return value
        found = _json_object(value)
        if found is None:
            self.fail(
                f"{shortened(value)} is not a JSON object; write it like '{{\"disk\": 2}}'",
                param,
                ctx,
            )
        return found


class Labels(click.ParamType):  # type: ignore[type-arg]
    """Pairs like `zone=a,kind=fast`, or a JSON object as older versions of Ray expect."""

    name = "K=V,…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, str]:
        """Values by key."""
        if isinstance(value, dict):
            return value
        if value.lstrip().startswith("{"):
            return self._from_json(value, param, ctx)
        found: dict[str, str] = {}
        for pair in filter(None, value.split(",")):
            key, separator, text = pair.partition("=")
            if not separator or not key.strip():
                self.fail(f"{shortened(pair)} is not a pair like zone=a", param, ctx)
            found[key.strip()] = text.strip()
        return found

    def _from_json(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, str]:
        found = _json_object(value)
        if found is None or not all(isinstance(each, str) for each in found.values()):
            self.fail(
                f"{shortened(value)} is not a JSON object of strings; write it like "
                '\'{"zone": "a"}\', or zone=a',
                param,
                ctx,
            )
        return found


class Ports(click.ParamType):  # type: ignore[type-arg]
    """A range of ports, `A-B`."""

    name = "A-B"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """First and last port."""
        if isinstance(value, tuple):
            return value
        first, separator, last = value.partition("-")
        if not separator or not all(_PORT.fullmatch(each.strip()) for each in (first, last)):
            self.fail(f"{shortened(value)} is not a range of ports like 20000-20100", param, ctx)
        return int(first), int(last)


def _json_object(text: str) -> dict[str, Any] | None:
    """The text as a JSON object; None if it is not one."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


_OPTIONS = (
    click.option("--num-cpus", type=Whole(), help="CPUs to offer (default: this machine's)."),
    click.option("--num-gpus", type=Whole(), help="GPUs to offer."),
    click.option("--memory", type=Size(), help="Memory that tasks may request."),
    click.option("--object-store-memory", type=Size(), help="Size of the object store."),
    click.option("--resources", type=Resources(), default={}, help="Further resources."),
    click.option("--labels", type=Labels(), default={}, help="Labels of the node."),
    click.option("--node-ip-address", help="The address (or name) this node is known by."),
    click.option("--interface", help="Interface, address or subnet to use (comma-separated)."),
    click.option("--port-range", type=Ports(), help="Range for all ports this node listens on."),
    click.option(
        "--session-dir", type=click.Path(), help="Where to create the private session directory."
    ),
)


def node_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command with the options of a node; it gets them as `node`, a NodeOptions."""

    @functools.wraps(command)
    def wrapper(**given: Any) -> Any:
        names = (
            *("num_cpus", "num_gpus", "memory", "object_store_memory", "resources", "labels"),
            *("interface", "session_dir"),
        )
        node = NodeOptions(
            **{name: given.pop(name) for name in names},
            node_ip=given.pop("node_ip_address"),
            ports=given.pop("port_range"),
        )
        return command(node=node, **given)

    for option in reversed(_OPTIONS):
        wrapper = option(wrapper)
    return wrapper
