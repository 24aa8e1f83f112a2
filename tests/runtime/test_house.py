"""The modules of the runtime and of the API form no ring: each can be read before what uses it.

Imports for type checkers alone count, and so do those inside functions: what is read together with
a module is what its text names.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import rayhpc

PACKAGES = ("rayhpc.runtime", "rayhpc.api")
Graph = dict[str, set[str]]


def _modules() -> dict[str, Path]:
    root = Path(rayhpc.__file__).parent
    found = {}
    for path in root.rglob("*.py"):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{x.name}" for x in node.names)
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (x.name for x in node.names)


def _graph(packages: Iterable[str]) -> Graph:
    modules = {k: v for k, v in _modules().items() if k.startswith(tuple(packages))}
    graph: Graph = {}
    for name, path in modules.items():
        graph[name] = {x for x in _imported(path) if x in modules} - {name, *_parents(name)}
        graph[name] -= {x for x in graph[name] if modules[x].name == "__init__.py"}
    return graph


def _parents(name: str) -> Iterator[str]:
    while name := name.rpartition(".")[0]:
        yield name


def rings(graph: Graph) -> list[set[str]]:
    """The sets of modules that reach each other (strongly connected components of two or more)."""
    reached = {name: _reached(graph, name) for name in graph}
    found: list[set[str]] = []
    for name in graph:
        ring = {x for x in reached[name] if name in reached[x]}
        if ring and ring not in found:
            found.append(ring)
    return found


def _reached(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    ahead = list(graph[start])
    while ahead:
        name = ahead.pop()
        if name not in seen:
            seen.add(name)
            ahead += graph[name]
    return seen


def test_rings_are_found() -> None:
    assert rings({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [{"b", "c"}]
    assert rings({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_modules_form_a_ring() -> None:
    graph = _graph(PACKAGES)
    assert len(graph) > 40
    assert rings(graph) == []
