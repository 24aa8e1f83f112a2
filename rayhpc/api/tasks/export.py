"""A function or class to be sent to a cluster: pickled once, whatever options its users give it.

Used by `remote_function` and `actor_class`; shared by all copies that differ only in options.
"""

from __future__ import annotations

import weakref
from typing import Any

from rayhpc.runtime.owner.definitions import Definition
from rayhpc.runtime.process.client import Client
from rayhpc.runtime.values import serialization
from rayhpc.runtime.values.references import collect_refs
from rayhpc.wire import limits


class Export:
    """One function or class.

    Args:
        thing: the function or class.
        name: its name, for messages.
    """

    def __init__(self, thing: Any, name: str) -> None:
        self.thing = thing
        self.name = name
        self._made: Definition | None = None
        self._client: weakref.ref[Client] | None = None

    def definition(self, client: Client) -> Definition:
        """Its pickle; made again in another cluster, where what it captured may be foreign.

        Raises:
            TypeError: it cannot be pickled; the text names the path to what cannot.
            ValueError: it is larger than a message may be.
            RaySystemError: it captured something from a cluster that this program has left.
        """
        made = self._made
        if made is None or self._client is None or self._client() is not client:
            self._made = None  # whatever it captured belongs to another cluster
            with collect_refs() as found:
                blob = serialization.dump_definition(self.thing)
            limits.check_definition(self._words(), blob)
            key = serialization.definition_id(blob)
            self._made = made = client.the_one(Definition(key, blob, list(found)))
            self._client = weakref.ref(client)
        return made

    def _words(self) -> str:
        kind = "actor" if isinstance(self.thing, type) else "remote function"
        return f"{kind} {self.name}"
