"""The views as one self-contained HTML file: no other file, no host, no server.

Used by `rayhpc report`.  The front end in `static/` is built from `dashboard/`.  Whatever a program
can name (functions, nodes, errors) is data to the page, never markup: it is embedded as JSON in
which nothing can end a script, and the page's policy lets no other script run.
"""

from __future__ import annotations

import base64
import hashlib
import html
from importlib import resources

import msgspec

from rayhpc.observe.views.everything import Views

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<div id="report">{text}</div>
<script type="application/json" id="views">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def page(views: Views) -> str:
    """The whole HTML file."""
    static = resources.files("rayhpc.observe") / "static"
    script = (static / "report.js").read_text("utf-8")
    style = (static / "report.css").read_text("utf-8")
    data = msgspec.json.encode(views).decode()
    policy = f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'"
    title = f"rayhpc report: {views.overview.command}"
    return _PAGE.format(
        policy=policy,
        title=html.escape(title),
        style=style,
        text=_in_short(views),
        data=data.replace("<", "\\u003c"),
        script=script,
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _in_short(views: Views) -> str:
    """What readers without scripts see (an email preview, say)."""
    seen = views.overview
    runs = f"{seen.tasks + seen.calls:,} runs, {seen.failed:,} failed"
    nodes = f"{seen.nodes_used:.1f} of {seen.nodes_given} nodes"
    cpus = f"{seen.cpus_used:.1f} of {seen.cpus_given:g} CPUs"
    lines = [seen.command, f"{seen.end}, {seen.seconds:.1f} s, {runs}", f"{nodes}, {cpus} used"]
    lines += [f"{each.finding} {each.remedy}" for each in views.advice]
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines)
