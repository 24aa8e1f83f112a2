"""Selects jobs: `last`, `all`, an id, a range of ids, a name like `local-3`.

`12_3` is task 3 of the array job 12, `12_[1,4-6]` are several of its tasks, as SLURM writes them.
Called by every command that takes jobs.  Only selects from the folders it is given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from rayhpc.batch import values
from rayhpc.batch.errors import UnknownJobError
from rayhpc.batch.folder import JobFolder

_RANGE = re.compile(r"(?:(?P<prefix>[a-z]+-))?(?P<low>\d{1,18})-(?P<high>\d{1,18})", re.ASCII)
_TASKS = re.compile(r"(?P<job>\d+|last)_(?:(?P<one>\d+)|\[(?P<several>\d[\d,:-]*)\])")
_COMMA = re.compile(r",(?![^\[]*\])")
_NUMBERED = re.compile(r"(?:(?P<prefix>[a-z]+-))?(?P<number>\d{1,18})", re.ASCII)


def select(known: Sequence[JobFolder], words: Sequence[str]) -> list[JobFolder]:
    """The folders that `words` select, once each, oldest first; no word means `last`.

    An array task is a folder of its own unless the whole array is selected, too.

    Raises UnknownJobError, saying what there is, if a word matches none.
    """
    by_id = {folder.record().id: folder for folder in known}
    chosen: list[JobFolder] = []
    for word in [part for each in words or ["last"] for part in _COMMA.split(each) if part]:
        found = _find(list(known), by_id, word)
        if not found:
            raise UnknownJobError(_nothing(by_id, word))
        chosen += found
    return list(_in_order(known, chosen))


def select_one(known: Sequence[JobFolder], word: str | None) -> JobFolder:
    """The one folder that `word` selects.  Raises UnknownJobError if it selects several or none."""
    found = select(known, [word] if word else [])
    if len(found) > 1:
        raise UnknownJobError(f"{word} matches {len(found)} jobs; this command takes one")
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
    tasks = _TASKS.fullmatch(word)
    if tasks:
        found = _find(known, by_id, tasks["job"])
        return _tasks_of(found[0], tasks["one"] or tasks["several"]) if found else []
    return [each for each in known if word in (each.path.name, str(each.path))]


def _tasks_of(job: JobFolder, numbers: str) -> list[JobFolder]:
    """These tasks of an array.  Raises UnknownJobError for one that it does not have."""
    record = job.record()
    if not record.array:
        raise UnknownJobError(f"job {record.id} is not an array: name it as {record.id}")
    wanted = values.array_tasks(values.array(record.id, numbers))
    missing = [task for task in wanted if task not in record.array]
    if missing:
        there = ", ".join(map(str, record.array[:8])) + (", …" if len(record.array) > 8 else "")
        raise UnknownJobError(f"job {record.id} has no task {missing[0]}; it has {there}")
    return [job.of_task(task) for task in wanted]


def _in_order(known: Sequence[JobFolder], chosen: Sequence[JobFolder]) -> Iterator[JobFolder]:
    tasks: dict[Path, set[int]] = {}
    for each in chosen:
        if each.task is not None:
            tasks.setdefault(each.path, set()).add(each.task)
    whole = set(chosen)
    for folder in known:
        if folder in whole:
            yield folder
        else:
            yield from map(folder.of_task, sorted(tasks.get(folder.path, ())))


def _within(name: str, prefix: str | None, low: int, high: int) -> bool:
    found = _NUMBERED.fullmatch(name)
    return found is not None and found["prefix"] == prefix and low <= int(found["number"]) <= high


def _nothing(by_id: dict[str, JobFolder], word: str) -> str:
    if not by_id:
        return "there is no job yet; submit one with `rayhpc submit -- python train.py`"
    latest = ", ".join([*filter(None, by_id)][-5:])
    return f"no job {word!r}; there are {latest} (see `rayhpc jobs`)"
