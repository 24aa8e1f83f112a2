"""`rayhpc template`: ready-made job scripts, and the templates that `submit` renders."""

from __future__ import annotations

import click

from rayhpc.batch import job_scripts, templates
from rayhpc.batch.errors import OptionError
from rayhpc.cli.job_access import json_option, print_json


@click.group()
def template() -> None:
    """List and show job scripts and their templates, to copy and change."""


@template.command("list")
@json_option
def list_templates(as_json: bool) -> None:
    """List the job scripts and templates that come with rayhpc."""
    scripts, rendered = job_scripts.names(), templates.names()
    if as_json:
        print_json([*scripts, *rendered])
        return
    width = max(map(len, (*scripts, *rendered)))
    click.echo("Job scripts (`rayhpc template show ray_job > ray_job.sh`):")
    for name in scripts:
        click.echo(f"  {name:{width}}  {job_scripts.purpose_of(name)}")
    click.echo("\nTemplates of `rayhpc submit` (edit a copy and pass it with --template):")
    for name in rendered:
        click.echo(f"  {name}")


@template.command()
@click.argument("name", default="slurm/job.sh.j2")
def show(name: str) -> None:
    """Print a job script or a template; without NAME the template for SLURM jobs."""
    script = job_scripts.text_of(name)
    if script is None and name not in templates.names():
        there = ", ".join((*job_scripts.names(), *templates.names()))
        raise OptionError(f"no job script or template {name!r}; choose from {there}")
    click.echo(templates.source(name) if script is None else script, nl=False)
