"""Ray's modules are attributes of `rayhpc`, too: programs write `import rayhpc as ray`."""

from __future__ import annotations

import pytest

import rayhpc as ray


@pytest.mark.parametrize(
    ("path", "callable_"),
    [
        ("experimental", "get_object_locations"),
        ("internal", "free"),
        ("_private.internal_api", "memory_summary"),
        ("autoscaler.sdk", "request_resources"),
        ("cloudpickle", "dumps"),
        ("dag", "InputNode"),
        ("job_config", "JobConfig"),
    ],
)
def test_a_module_of_ray(path: str, callable_: str) -> None:
    found = ray
    for name in path.split("."):
        found = getattr(found, name)
    assert callable(getattr(found, callable_))


@pytest.mark.parametrize("name", ["tune", "train", "nothing", "_nothing", "__nothing__"])
def test_a_module_that_is_not_served(name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        getattr(ray, name)
