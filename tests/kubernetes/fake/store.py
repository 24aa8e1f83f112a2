"""The fake's objects, their versions, and who watches them."""

from __future__ import annotations

import itertools
import queue
import threading
import uuid
from collections.abc import Callable
from copy import deepcopy
from datetime import datetime, timezone
from typing import Any

from tests.kubernetes.fake.rules import Invalid

Object = dict[str, Any]
Key = tuple[str, str]
Watcher = "queue.Queue[tuple[str, Object] | None]"


class Store:
    """All objects of one namespace, by plural and name; every method takes the lock."""

    def __init__(self, changed: Callable[[str, str, Object], None]) -> None:
        self.lock = threading.RLock()
        self._objects: dict[Key, Object] = {}
        self._versions = itertools.count(1)
        self._watchers: list[tuple[str, queue.Queue[tuple[str, Object] | None]]] = []
        self._changed = changed

    def add(self, plural: str, kind: str, manifest: Object) -> Object:
        """Raises Invalid: there is one of that name."""
        with self.lock:
            name = manifest["metadata"]["name"]
            if (plural, name) in self._objects:
                text = f'{plural}.batch "{name}" already exists'
                raise Invalid(409, "AlreadyExists", text)
            made = {"status": {}, **deepcopy(manifest), "kind": kind}
            made["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": now()}
            made["metadata"]["namespace"] = "default"
            self._put("ADDED", plural, made)
            return deepcopy(self._objects[plural, name])

    def get(self, plural: str, name: str) -> Object:
        """Raises Invalid: there is none."""
        with self.lock:
            if (plural, name) not in self._objects:
                raise Invalid(404, "NotFound", f'{plural} "{name}" not found')
            return deepcopy(self._objects[plural, name])

    def all(self, plural: str) -> list[Object]:
        with self.lock:
            return [deepcopy(x) for (each, _), x in self._objects.items() if each == plural]

    def everything(self) -> list[tuple[str, Object]]:
        with self.lock:
            return [(plural, deepcopy(x)) for (plural, _), x in self._objects.items()]

    def change(self, plural: str, name: str, patch: Object) -> Object:
        """A merge patch."""
        with self.lock:
            made = self.get(plural, name)
            merge(made, patch)
            self._put("MODIFIED", plural, made)
            return deepcopy(self._objects[plural, name])

    def remove(self, plural: str, name: str) -> None:
        with self.lock:
            gone = self._objects.pop((plural, name), None)
            if gone is not None:
                self._tell("DELETED", plural, gone)

    def watch(self, plural: str) -> queue.Queue[tuple[str, Object] | None]:
        """Everything that there is, then what happens; None: the server goes away."""
        with self.lock:
            found: queue.Queue[tuple[str, Object] | None] = queue.Queue()
            for each in self.all(plural):
                found.put(("ADDED", each))
            self._watchers.append((plural, found))
            return found

    def end_watches(self) -> None:
        with self.lock:
            for _, each in self._watchers:
                each.put(None)
            self._watchers.clear()

    def _put(self, what: str, plural: str, made: Object) -> None:
        made["metadata"]["resourceVersion"] = str(next(self._versions))
        self._objects[plural, made["metadata"]["name"]] = made
        self._tell(what, plural, made)

    def _tell(self, what: str, plural: str, made: Object) -> None:
        for each, watcher in self._watchers:
            if each == plural:
                watcher.put((what, deepcopy(made)))
        self._changed(what, plural, deepcopy(made))


def merge(into: Object, patch: Object) -> None:
    """JSON merge patch."""
    for key, value in patch.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = deepcopy(value)


def now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
