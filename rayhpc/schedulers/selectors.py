"""Which jobs the user means: `last`, `all`, a number, a range of numbers, a name of `local-3`.

Called by every verb that takes jobs.  Only picks from the folders it is given.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rayhpc.schedulers.errors import UnknownJobError
from rayhpc.schedulers.folder import JobFolder

_RANGE = re.compile(r"(?:(?P<prefix>[a-z]+-))?(?P<low>\d+)-(?P<high>\d+)")
_NUMBERED = re.compile(r"(?:(?P<prefix>[a-z]+-))?(?P<number>\d+)")


def select(known: Sequence[JobFolder], words: Sequence[str]) -> list[JobFolder]:
    """The folders that `words` name, each once, oldest first; no word means `last`.

    Raises UnknownJobError, saying what there is, if a word names none.
    """
    by_id = {folder.record().id: folder for folder in known}
    chosen: list[JobFolder] = []
    for word in [part for each in words or ["last"] for part in each.split(",") if part]:
        found = _find(list(known), by_id, word)
        if not found:
            raise UnknownJobError(_nothing(by_id, word))
        chosen += found
    paths = {folder.path for folder in chosen}
    return [folder for folder in known if folder.path in paths]


def select_one(known: Sequence[JobFolder], word: str | None) -> JobFolder:
    """The one folder that `word` names.  Raises UnknownJobError if it names several or none."""
    found = select(known, [word] if word else [])
    if len(found) > 1:
        raise UnknownJobError(f"{word} names {len(found)} jobs; this command takes one")
    return found[0]


def _find(known: list[JobFolder], by_id: dict[str, JobFolder], word: str) -> list[JobFolder]:
    if word == "all":
        return known
    if word == "last":
        return known[-1:]
    if word in by_id:
        return [by_id[word]]
    span = _RANGE.fullmatch(word)
    if span:
        low, high = int(span["low"]), int(span["high"])
        return [each for name, each in by_id.items() if _within(name, span["prefix"], low, high)]
    return [each for each in known if word in (each.path.name, str(each.path))]


def _within(name: str, prefix: str | None, low: int, high: int) -> bool:
    found = _NUMBERED.fullmatch(name)
    return found is not None and found["prefix"] == prefix and low <= int(found["number"]) <= high


def _nothing(by_id: dict[str, JobFolder], word: str) -> str:
    if not by_id:
        return "there is no job yet; submit one with `rayhpc submit -- python train.py`"
    some = ", ".join(sorted(filter(None, by_id))[-5:])
    return f"no job {word!r}; there are {some} (see `rayhpc jobs`)"
