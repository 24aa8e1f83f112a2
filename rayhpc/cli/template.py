"""`rayhpc template`: the job scripts' templates, to look at and to copy."""

from __future__ import annotations

import click

from rayhpc.batch import templates
from rayhpc.cli.job_access import json_option, print_json


@click.group()
def template() -> None:
    """List and show the templates of job scripts."""


@template.command("list")
@json_option
def list_templates(as_json: bool) -> None:
    """List the templates that come with rayhpc."""
    found = templates.names()
    if as_json:
        print_json(found)
    else:
        click.echo("\n".join(found))


@template.command()
@click.argument("name", default="slurm/job.sh.j2")
def show(name: str) -> None:
    """Print a template; change a copy and give it to `submit --template`."""
    click.echo(templates.source(name), nl=False)
