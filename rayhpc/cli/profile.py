"""`rayhpc profile`: options shared by all jobs of a site or project."""

from __future__ import annotations

import os
from typing import Any

import click

from rayhpc.batch import profiles
from rayhpc.batch.request import JobRequest
from rayhpc.cli.job_access import json_option, print_json, say
from rayhpc.cli.submit_options import from_profile


@click.group()
def profile() -> None:
    """List, show and choose profiles."""


@profile.command("list")
@json_option
def list_profiles(as_json: bool) -> None:
    """List all profiles, the chosen one marked."""
    chosen = profiles.chosen_name(os.environ)
    rows = [profiles.load(os.environ, name) for name in profiles.known(os.environ)]
    if as_json:
        print_json(
            [
                {
                    "name": row.name,
                    "description": row.description,
                    "file": str(row.path),
                    "chosen": chosen is not None and row.name == chosen[0],
                }
                for row in rows
            ]
        )
        return
    width = max((len(row.name) for row in rows), default=0)
    for row in rows:
        mark = "*" if chosen is not None and row.name == chosen[0] else " "
        click.echo(f"{mark} {row.name.ljust(width)}  {row.description}".rstrip())


@profile.command()
@click.argument("name", required=False)
@click.option("--origin", is_flag=True, help="Say where each value comes from.")
@json_option
def show(name: str | None, origin: bool, as_json: bool) -> None:
    """Show what NAME, or the profile in effect, sets."""
    chosen = profiles.chosen_name(os.environ, name)
    settings = profiles.settings(os.environ, chosen[0]) if chosen is not None else []
    if chosen is not None:
        from_profile(os.environ, chosen[0])
    rows: list[tuple[str, Any, str]] = [
        (each.option, each.value, str(each.origin)) for each in settings
    ]
    if origin:
        rows += _defaults({name for name, _, _ in rows})
    if as_json:
        print_json(
            {
                "profile": chosen[0] if chosen else None,
                "chosen_by": chosen[1] if chosen else None,
                "options": {
                    option: {"value": value, "origin": source} for option, value, source in rows
                },
            }
        )
        return
    say(f"profile {chosen[0]} ({chosen[1]})" if chosen else "no profile is in effect")
    width = max((len(option) for option, _, _ in rows), default=0)
    for option, value, source in rows:
        tail = f"   ({source})" if origin else ""
        click.echo(f"{option.ljust(width)}  {value}{tail}")


@profile.command()
@click.argument("name")
def use(name: str) -> None:
    """Make NAME the default profile for future submissions; `none` for none."""
    if name != "none":
        from_profile(os.environ, name)
    say(f"{name} is recorded in {profiles.use(os.environ, name)}")


def _defaults(set_already: set[str]) -> list[tuple[str, Any, str]]:
    """The values in effect where no profile sets them."""
    plain = JobRequest(("",))
    shown = []
    for field in JobRequest.__dataclass_fields__:
        option = {"modules": "module"}.get(field, field).replace("_", "-")
        value = getattr(plain, field)
        if field not in ("command", "work_dir") and option not in set_already and value:
            shown.append((option, value, "default"))
    return shown
