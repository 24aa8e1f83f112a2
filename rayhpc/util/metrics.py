"""`Counter`, `Gauge`, `Histogram`: numbers reported by a program's processes, with tags.

Used by programs and libraries.  Each process keeps its own and publishes changes to the head every
two seconds; `snapshot` and `prometheus_text` aggregate them for the cluster.
"""

from __future__ import annotations

import bisect
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

import rayhpc
from rayhpc.api.state import key_values

PUBLISH_EVERY_S = 2.0
SPACE = "metrics"
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
Tags = tuple[tuple[str, str], ...]


class Series(msgspec.Struct, array_like=True):
    """One metric of one process with one set of tags, in the form it is sent.

    `values` is [sum] for a counter or gauge; for a histogram the count per bucket (the last one
    open), then the sum.
    """

    name: str
    kind: str
    description: str
    tags: list[tuple[str, str]]
    values: list[float]
    boundaries: list[float] = []


class Metric:
    """What the three kinds have in common.

    Args:
        name: letters, digits and underscores.
        description: what it measures.
        tag_keys: the tags its values may have.

    Raises:
        ValueError: an invalid name.
        TypeError: the tag keys are not a tuple of text.
    """

    _kind = ""

    def __init__(
        self, name: str, description: str = "", tag_keys: Sequence[str] | None = None
    ) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(
                f"A metric's name has letters, digits and underscores, and does not start with a "
                f"digit; not {name!r}."
            )
        keys = tag_keys or ()
        if isinstance(keys, str) or not all(isinstance(x, str) for x in keys):
            raise TypeError(f"tag_keys is a tuple of text, not {tag_keys!r}.")
        self._name = name
        self._description = description
        self._tag_keys = tuple(keys)
        self._default_tags: dict[str, str] = {}
        self._values: dict[Tags, list[float]] = {}
        _registry.add(self)

    def set_default_tags(self, default_tags: Mapping[str, str]) -> Metric:
        """Tags that every value has unless it overrides them; returns the metric.

        Raises:
            ValueError: a tag that is not among the tag keys.
            TypeError: a value that is not text.
        """
        self._check(default_tags)
        self._default_tags = dict(default_tags)
        return self

    @property
    def info(self) -> dict[str, Any]:
        """Name, description, tag keys and default tags."""
        return {
            "name": self._name,
            "description": self._description,
            "tag_keys": self._tag_keys,
            "default_tags": dict(self._default_tags),
        }

    def series(self) -> list[Series]:
        """Its values in this process."""
        boundaries = list(getattr(self, "boundaries", ()))
        return [
            Series(self._name, self._kind, self._description, list(tags), list(x), boundaries)
            for tags, x in list(self._values.items())
        ]

    def _row(self, tags: Mapping[str, str] | None, width: int = 1) -> list[float]:
        merged = self._default_tags
        if tags:
            self._check(tags)
            merged = {**merged, **tags}
        missing = [x for x in self._tag_keys if x not in merged]
        if missing:
            raise ValueError(f"{self._name}: no value for the tag(s) {', '.join(missing)}.")
        return self._values.setdefault(tuple(sorted(merged.items())), [0.0] * width)

    def _check(self, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            if key not in self._tag_keys:
                raise ValueError(
                    f"{self._name}: {key!r} is not one of its tags "
                    f"({', '.join(self._tag_keys) or 'it has none'})."
                )
            if not isinstance(value, str):
                raise TypeError(f"{self._name}: the tag {key!r} must be text, not {value!r}.")

    def __reduce__(self) -> Any:
        return _rebuild, (type(self), self._arguments(), self._default_tags)

    def _arguments(self) -> tuple[Any, ...]:
        return self._name, self._description, self._tag_keys


class Counter(Metric):
    """A number that only increases."""

    _kind = "counter"

    def inc(self, value: float = 1.0, tags: Mapping[str, str] | None = None) -> None:
        """Add `value`.

        Args:
            value: what is added.
            tags: its tags.

        Raises:
            ValueError: not above 0, or a tag is missing or unknown.
            TypeError: not a number.
        """
        if not isinstance(value, (int, float)):
            raise TypeError(f"{self._name}: {value!r} is not a number.")
        if value <= 0:
            raise ValueError(f"{self._name}: a counter grows; {value} is not above 0.")
        with _registry.lock:
            self._row(tags)[0] += value
        _registry.changed()


class Gauge(Metric):
    """A number that goes up and down; for the cluster, the values of all processes are shown."""

    _kind = "gauge"

    def set(self, value: float | None, tags: Mapping[str, str] | None = None) -> None:
        """Set it to `value` (None: unchanged).

        Raises:
            ValueError: a tag is missing or unknown.
            TypeError: not a number.
        """
        if value is None:
            return
        if not isinstance(value, (int, float)):
            raise TypeError(f"{self._name}: {value!r} is not a number.")
        with _registry.lock:
            self._row(tags)[0] = float(value)
        _registry.changed()


class Histogram(Metric):
    """Counts how many values fell between boundaries.

    Args:
        name, description, tag_keys: as for every metric.
        boundaries: the upper bounds of the buckets, above 0, ascending.
    """

    _kind = "histogram"

    def __init__(
        self,
        name: str,
        description: str = "",
        boundaries: Sequence[float] | None = None,
        tag_keys: Sequence[str] | None = None,
    ) -> None:
        bounds = list(boundaries or ())
        if not bounds or any(x <= 0 for x in bounds) or bounds != sorted(set(bounds)):
            raise ValueError(
                f"{name}: boundaries are numbers above 0 that ascend, for example [0.1, 1, 10]."
            )
        self.boundaries = bounds
        super().__init__(name, description, tag_keys)

    def observe(self, value: float, tags: Mapping[str, str] | None = None) -> None:
        """Count `value`.

        Raises:
            ValueError: a tag is missing or unknown.
            TypeError: not a number.
        """
        if not isinstance(value, (int, float)):
            raise TypeError(f"{self._name}: {value!r} is not a number.")
        with _registry.lock:
            row = self._row(tags, len(self.boundaries) + 2)
            row[bisect.bisect_left(self.boundaries, value)] += 1
            row[-1] += value
        _registry.changed()

    @property
    def info(self) -> dict[str, Any]:
        """As for every metric, plus the boundaries."""
        return {**super().info, "boundaries": list(self.boundaries)}

    def _arguments(self) -> tuple[Any, ...]:
        return self._name, self._description, self.boundaries, self._tag_keys


class _Registry:
    """This process's metrics, and the thread that publishes them while they change."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._metrics: list[Metric] = []
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None
        self._pause = threading.Event()

    def add(self, metric: Metric) -> None:
        """Add a new metric."""
        with self.lock:
            self._metrics.append(metric)

    def changed(self) -> None:
        """A value was recorded."""
        self._changed.set()
        if self._thread is None and rayhpc.is_initialized():
            with self.lock:
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._publish_for_ever, name="rayhpc-metrics", daemon=True
                    )
                    self._thread.start()

    def publish(self) -> None:
        """Send this process's values to the head; a no-op outside a cluster."""
        if not rayhpc.is_initialized():
            return
        self._changed.clear()
        with self.lock:
            rows = [row for metric in self._metrics for row in metric.series()]
        key_values.publish(SPACE, msgspec.msgpack.encode(rows))

    def _publish_for_ever(self) -> None:
        while True:
            self._changed.wait()
            try:
                self.publish()
            except Exception:  # the cluster is ending: there is nobody to send to
                self._thread = None
                return
            self._pause.wait(PUBLISH_EVERY_S)


_registry = _Registry()


def publish() -> None:
    """Send this process's values to the head now, instead of within two seconds."""
    _registry.publish()


def snapshot() -> list[Series]:
    """All processes' values: counters and histograms summed, gauges listed per process.

    Gauges get the tag `process`.
    """
    _registry.publish()
    return summed({key: key_values.get(SPACE, key) or b"" for key in key_values.keys(SPACE)})


def summed(published: Mapping[bytes, bytes]) -> list[Series]:
    """The values of processes, by the key under which each has published its own."""
    found: dict[tuple[str, Tags], Series] = {}
    for key, data in published.items():
        for row in msgspec.msgpack.decode(data or b"\x90", type=list[Series]):
            if row.kind == "gauge":
                row.tags.append(("process", key.hex()))
            known = found.setdefault((row.name, tuple(row.tags)), row)
            if known is not row and len(known.values) == len(row.values):
                known.values = [a + b for a, b in zip(known.values, row.values, strict=True)]
    return [found[key] for key in sorted(found)]


def prometheus_text() -> str:
    """All processes' values in Prometheus's text format."""
    return text_of(snapshot())


def text_of(rows: Iterable[Series]) -> str:
    """Values in Prometheus's text format; those of one metric must follow each other."""
    lines: list[str] = []
    last = ""
    for row in rows:
        if row.name != last:
            last = row.name
            lines.append(f"# HELP {row.name} {_escaped(row.description)}")
            lines.append(f"# TYPE {row.name} {row.kind}")
        lines.extend(_lines_of(row))
    return "\n".join(lines) + "\n"


def _lines_of(row: Series) -> Iterable[str]:
    if row.kind != "histogram":
        yield f"{row.name}{_labels(row.tags)} {row.values[0]}"
        return
    count = 0.0
    for bound, value in zip([*map(str, row.boundaries), "+Inf"], row.values[:-1], strict=True):
        count += value
        yield f"{row.name}_bucket{_labels([*row.tags, ('le', bound)])} {count}"
    yield f"{row.name}_sum{_labels(row.tags)} {row.values[-1]}"
    yield f"{row.name}_count{_labels(row.tags)} {count}"


def _labels(tags: Sequence[tuple[str, str]]) -> str:
    if not tags:
        return ""
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in tags) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _rebuild(kind: Any, arguments: tuple[Any, ...], tags: dict[str, str]) -> Metric:
    metric: Metric = kind(*arguments)
    return metric.set_default_tags(tags)


__all__ = ["Counter", "Gauge", "Histogram", "prometheus_text", "publish", "snapshot"]
