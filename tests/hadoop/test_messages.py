"""The declared messages are what Hadoop's own classes say, in every version.

Fields that only some of the versions have are not declared.
"""

from __future__ import annotations

from enum import IntEnum

import pytest

from rayhpc.hadoop.messages import records
from rayhpc.hadoop.protobuf import Message
from tests.hadoop.test_protobuf import every_message
from yarn.lab import jars
from yarn.lab.errors import LabError


@pytest.mark.parametrize("version", jars.VERSIONS)
def test_declared_fields_are_hadoops(version: str) -> None:
    theirs = _declared(_dumped(version))
    problems = []
    for cls in every_message():
        fields = theirs[cls.__name__]
        for field in cls.NAMES.values():
            ours = _describe(cls, field.name)
            if ours not in fields:
                problems.append(f"{cls.__name__}: {ours}")
    assert problems == []


def _dumped(version: str) -> str:
    """What DumpMessages.java says of a version."""
    reason = jars.why_not(version)
    if not reason:
        try:
            return jars.declarations(version)
        except LabError as error:
            reason = str(error)
    pytest.skip(reason)


def _describe(cls: type[Message], name: str) -> str:
    """A field of ours, in the words of DumpMessages.java without defaults and enums' names."""
    field = cls.NAMES[name]
    label = "repeated " if field.repeated else "required " if field.required else ""
    kind = type(field.kind.zero).__name__ if field.kind.name == "enum" else field.kind.name
    return f"{field.number} {label}{kind} {name}"


def _declared(text: str) -> dict[str, set[str]]:
    """Each message's fields."""
    found: dict[str, set[str]] = {}
    current: set[str] = set()
    for line in text.splitlines():
        words = line.split()
        if words[0] == "message":
            current = found.setdefault(words[1].rpartition(".")[2], set())
        elif words[0] != "enum":
            *label, kind, name = line.partition(" = ")[0].split()
            current.add(" ".join([*label, kind.rpartition(".")[2], name]))
    return found


def test_enumerations_have_hadoops_numbers() -> None:
    theirs = {}
    for line in _dumped(jars.DEFAULT_VERSION).splitlines():
        if line.startswith("enum "):
            _, name, *values = line.split()
            pairs = (each.split("=") for each in values)
            theirs[name.rpartition(".")[2]] = {key: int(number) for key, number in pairs}
    ours = {
        type(field.kind.zero)
        for cls in every_message()
        for field in cls.NAMES.values()
        if field.kind.name == "enum"
    }
    assert records.ContainerStateProto in ours
    for enum in ours:
        assert issubclass(enum, IntEnum)
        assert {each.name: each.value for each in enum} == theirs[enum.__name__], enum
