"""Messages from a command to its user, apart from its output: sentences on standard error.

Used by all commands, and by `main` for errors.  At a terminal lines break between words; elsewhere
a sentence stays on one line, for searching in logs.
"""

from __future__ import annotations

import shutil
import sys
import textwrap

import click

_NARROWEST = 40


def say(sentence: str) -> None:
    """Print one message."""
    text = f"rayhpc: {sentence}"
    if sys.stderr.isatty():
        text = wrapped(text, shutil.get_terminal_size().columns)
    click.echo(text, err=True)


def wrapped(text: str, width: int) -> str:
    """The text in lines of at most `width`, broken only between words: paths stay whole."""
    lines = (
        textwrap.fill(
            line,
            max(width, _NARROWEST),
            break_long_words=False,
            break_on_hyphens=False,
            replace_whitespace=False,
        )
        for line in text.split("\n")
    )
    return "\n".join(lines)
