"""Reads Ray's cluster YAML: types, typos, contradictions, each with its line.

Called by `cli.cluster_access`.  Opens the file and nothing else; asks no machine anything.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from rayhpc.clusters.errors import ClusterFileError
from rayhpc.clusters.ignored import without_effect
from rayhpc.clusters.schema import HEAD_TYPE, Auth, ClusterConfig, Docker, NodeTypeConfig
from rayhpc.clusters.yaml_lines import Document, Path, YamlError, load

_BYTES = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
# What stands in Ray's examples for something that only the user knows.
_PLACEHOLDER = re.compile(r"(YOUR|TYPICALLY|WORKER_NODE)_[A-Z0-9_]+|\.\.\.")
# The head's type if the file does not say: what Ray's own defaults call it.
_HEADS = (HEAD_TYPE, "ray_head_default")
# What Ray had before it had node types; some of its examples still have it, empty.
_OF_OLD = ("head_node", "worker_nodes")
_IN_A_PATH = re.compile(r"\.([^.\[]+)|\[(\d+)\]|(\[\.\.\.\])")
_WORDS = {"array": "a list", "object": "a mapping", "str": "a text", "int": "a whole number"}
_WORDS |= {"float": "a number", "bool": "true or false", "null": "nothing"}
Fault = tuple[int, str]


@dataclass(frozen=True)
class ClusterFile:
    """A cluster's YAML, read.

    Attributes:
        config: what it says.
        source: the file's name, as the user gave it.
        document: its values and their lines, for errors found later.
        ignored: what is in it that has no effect here, one sentence each.
    """

    config: ClusterConfig
    source: str
    document: Document
    ignored: tuple[str, ...]

    def fault(self, path: Path, sentence: str) -> ClusterFileError:
        """The error for something wrong at `path`."""
        return ClusterFileError(self.source, [(self.document.line(path), sentence)])


def read_file(path: str) -> ClusterFile:
    """Read a file.

    Raises:
        ClusterFileError: naming every line that is wrong.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        data = file.read(_BYTES + 1)
    if len(data) > _BYTES:
        raise ClusterFileError(path, [(0, "it is larger than 1 MiB: this is no cluster's file")])
    try:
        return read(data.decode(), path)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ClusterFileError(path, [(line, "this is not UTF-8")]) from None


def read(text: str, source: str) -> ClusterFile:
    """Read a text; `source` names it in errors.

    Raises:
        ClusterFileError: naming every line that is wrong.
    """
    try:
        document = load(text)
    except YamlError as error:
        raise ClusterFileError(source, [(error.line, str(error))]) from None
    if not isinstance(document.value, dict):
        raise ClusterFileError(source, [(0, "it has no keys such as cluster_name and provider")])
    for key in _OF_OLD:
        if document.value.get(key) == {}:
            del document.value[key]
    faults = [*_typos(document), *_placeholders(document), *_missing(document)]
    if faults:
        raise ClusterFileError(source, faults)
    config = _convert(_without_nothing(document.value), document, source)
    faults = list(_contradictions(config, document))
    if faults:
        raise ClusterFileError(source, faults)
    return ClusterFile(config, source, document, without_effect(config, document))


def _without_nothing(value: dict[Any, Any]) -> dict[Any, Any]:
    """`key:` with nothing after it is as if the key were not there."""
    plain = {key: each for key, each in value.items() if each is not None}
    types = plain.get("available_node_types")
    if isinstance(types, dict):
        plain["available_node_types"] = {
            name: {k: v for k, v in each.items() if v is not None}
            if isinstance(each, dict)
            else each or {}
            for name, each in types.items()
        }
    return plain


def _typos(document: Document) -> Iterator[Fault]:
    value = document.value
    yield from _unknown(document, (), value, ClusterConfig)
    for key, struct in (("auth", Auth), ("docker", Docker)):
        yield from _unknown(document, (key,), value.get(key), struct)
    types = value.get("available_node_types")
    for name, each in types.items() if isinstance(types, dict) else ():
        path = ("available_node_types", str(name))
        yield from _unknown(document, path, each, NodeTypeConfig)


def _unknown(document: Document, path: Path, value: Any, struct: Any) -> Iterator[Fault]:
    known = [field.name for field in msgspec.structs.fields(struct)]
    for key in value if isinstance(value, dict) else ():
        if key in known:
            continue
        where = f" in {path[-1]}" if path else ""
        near = difflib.get_close_matches(str(key), known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
        yield document.line((*path, str(key))), f"there is no {str(key)!r}{where}; {hint}"


def _placeholders(document: Document) -> Iterator[Fault]:
    """What Ray's example for lists of machines leaves to be filled in."""
    value = document.value
    for key in ("provider", "auth", "min_workers", "max_workers"):
        for path, text in _texts((key,), value.get(key)):
            if _PLACEHOLDER.fullmatch(text):
                yield document.line(path), f"{text} stands for a value of yours: fill it in"


def _texts(path: Path, value: Any) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _texts((*path, str(key)), each)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _texts((*path, index), each)


def _missing(document: Document) -> Iterator[Fault]:
    value = document.value
    if value.get("cluster_name") is None:
        yield 0, "cluster_name is missing: a name for the cluster, such as `cluster_name: demo`"
    provider = value.get("provider")
    if not isinstance(provider, dict) or not isinstance(provider.get("type"), str):
        line = document.line(("provider",)) if "provider" in value else 0
        yield line, "provider needs a type, such as `provider: {type: local, head_ip: …}`"


def _convert(value: Any, document: Document, source: str) -> ClusterConfig:
    """Each node type by itself: msgspec's paths do not name keys of mappings."""
    types = value.get("available_node_types", {})
    if not isinstance(types, dict):
        line = document.line(("available_node_types",))
        raise ClusterFileError(source, [(line, "available_node_types maps names to node types")])
    found = {
        str(name): _one(each, NodeTypeConfig, ("available_node_types", str(name)), document, source)
        for name, each in types.items()
    }
    rest = {**value, "available_node_types": {}}
    config: ClusterConfig = _one(rest, ClusterConfig, (), document, source)
    head = config.head_node_type or next((each for each in _HEADS if each in found), None)
    return msgspec.structs.replace(config, available_node_types=found, head_node_type=head)


def _one(value: Any, kind: Any, path: Path, document: Document, source: str) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        sentence, _, where = str(error).partition(" - at `$")
        inner = (*path, *_steps(where.rstrip("`")))
        name = ".".join(str(each) for each in inner) or "the file"
        line = document.line(inner)
        raise ClusterFileError(source, [(line, f"{name}: {_plain(sentence)}")]) from None


def _steps(path: str) -> Iterable[str | int]:
    """The keys of a path of msgspec's, such as `.setup_commands[2]`, up to what it leaves open."""
    for match in _IN_A_PATH.finditer(path):
        if match[3]:
            return
        yield int(match[2]) if match[2] else match[1]


def _plain(sentence: str) -> str:
    """msgspec's sentence in YAML's words."""
    sentence = re.sub(
        r"`([a-z]+)(?: \| null)?`", lambda found: _WORDS.get(found[1], found[0]), sentence
    )
    return sentence[:1].lower() + sentence[1:]


def _contradictions(config: ClusterConfig, document: Document) -> Iterator[Fault]:
    if not _NAME.fullmatch(config.cluster_name):
        text = "cluster_name is made of letters, digits, '.', '_' and '-', at most 63 of them"
        yield document.line(("cluster_name",)), text
    yield from _wrong_numbers(config, document)
    types, head = config.available_node_types, config.head_node_type
    if types and head is None:
        line = document.line(("available_node_types",))
        yield line, f"head_node_type is missing: which of {', '.join(types)} is the head?"
    if head is not None and head not in types:
        near = difflib.get_close_matches(head, types, 1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        yield document.line(("head_node_type",)), f"there is no node type {head!r}{meant}"


def _wrong_numbers(config: ClusterConfig, document: Document) -> Iterator[Fault]:
    rows: list[tuple[Path, int, int | None]] = [((), config.min_workers or 0, config.max_workers)]
    for name, each in config.available_node_types.items():
        rows.append((("available_node_types", name), each.min_workers, each.max_workers))
        for resource, amount in each.resources.items():
            if amount < 0:
                at = ("available_node_types", name, "resources", resource)
                yield document.line(at), f"{resource} is {amount:g}; it must be 0 or more"
    for path, least, most in rows:
        if least < 0 or (most is not None and most < 0):
            key = "min_workers" if least < 0 else "max_workers"
            yield document.line((*path, key)), f"{key} must be 0 or more"
        elif most is not None and least > most:
            sentence = f"min_workers {least} is more than max_workers {most}"
            yield document.line((*path, "min_workers")), sentence
