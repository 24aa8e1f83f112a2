"""Options are checked when they are given, with messages that name what is allowed."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

import rayhpc
from rayhpc.api.groups import strategies
from rayhpc.api.groups.placing import scheduling_class
from rayhpc.api.tasks import options as opts
from rayhpc.exceptions import NotServedError


def _function() -> int:
    return 1


class _Class:
    def method(self) -> int:
        return 1


def test_an_unknown_option_names_the_nearest_right_one() -> None:
    with pytest.raises(ValueError, match=r"'num_cpu' .*Did you mean 'num_cpus'"):
        rayhpc.remote(num_cpu=1)
    with pytest.raises(ValueError, match=r"'max_restart'.*Did you mean 'max_restarts'"):
        rayhpc.remote(_Class).options(max_restart=1)
    with pytest.raises(ValueError, match=r"num_return.*Did you mean 'num_returns'"):
        rayhpc.method(num_return=2)


def test_options_of_the_other_kind_are_refused_once_the_kind_is_known() -> None:
    with pytest.raises(ValueError, match="'max_restarts' for remote functions"):
        rayhpc.remote(max_restarts=1)(_function)
    with pytest.raises(ValueError, match="'max_retries' for actors"):
        rayhpc.remote(max_retries=1)(_Class)
    with pytest.raises(ValueError, match="'num_cpus' for actor methods"):
        rayhpc.method(num_cpus=1)


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"num_cpus": "two"}, TypeError, "a number"),
        ({"num_cpus": True}, TypeError, "a number"),
        ({"num_cpus": -1}, ValueError, "negative"),
        ({"num_cpus": 0.00001}, ValueError, "0.0001"),
        ({"num_cpus": float("nan")}, ValueError, "finite"),
        ({"num_gpus": 1.5}, ValueError, "whole number above 1"),
        ({"memory": -5}, ValueError, "negative"),
        ({"resources": {"CPU": 1}}, ValueError, "num_cpus"),
        ({"resources": {"GPU": 1}}, ValueError, "num_gpus"),
        ({"resources": {"disk": -1}}, ValueError, "negative"),
        ({"resources": {"disk": "x"}}, TypeError, "a number"),
        ({"resources": ["disk"]}, TypeError, "a dict"),
        ({"num_returns": -1}, ValueError, "'dynamic' or 'streaming'"),
        ({"num_returns": "many"}, ValueError, "'dynamic' or 'streaming'"),
        ({"num_returns": 1.5}, TypeError, "'dynamic' or 'streaming'"),
        ({"max_retries": -2}, ValueError, "-1 for infinity"),
        ({"max_retries": "x"}, TypeError, "-1 for infinity"),
        ({"max_calls": -1}, ValueError, "0 or a positive integer"),
        ({"retry_exceptions": [3]}, ValueError, "not an exception type"),
        ({"retry_exceptions": "all"}, TypeError, "list of exception types"),
        ({"scheduling_strategy": "NEAR"}, ValueError, "'DEFAULT', 'SPREAD'"),
        ({"scheduling_strategy": 3}, TypeError, "NodeAffinitySchedulingStrategy"),
        ({"label_selector": {"zone": 3}}, TypeError, "text"),
        ({"label_selector": {"zone": ""}}, ValueError, "in\\(a,b\\)"),
        ({"namespace": ""}, ValueError, "empty"),
        ({"name": 3}, TypeError, "text"),
        ({"runtime_env": "x"}, TypeError, "RuntimeEnv"),
        ({"_generator_backpressure_num_objects": 0}, ValueError, "-1 for no bound"),
        ({"max_restarts": -2}, ValueError, "-1 for infinity"),
        ({"max_task_retries": -2}, ValueError, "-1 for infinity"),
        ({"max_concurrency": 0}, ValueError, "a positive integer"),
        ({"lifetime": "forever"}, ValueError, "'detached'"),
        ({"concurrency_groups": {"io": 0}}, ValueError, "positive"),
        ({"concurrency_groups": ["io"]}, TypeError, "a dict"),
        ({"get_if_exists": "yes"}, TypeError, "True or False"),
    ],
)
def test_impossible_values_are_refused_at_decoration(
    options: dict[str, object], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        rayhpc.remote(**options)


def test_values_that_are_right() -> None:
    checked = opts.FunctionOptions().merged(
        num_cpus=1 / 3,
        num_gpus=0.5,
        memory=2**30,
        resources={"disk": 0.25},
        num_returns="streaming",
        max_retries=-1,
        retry_exceptions=[ValueError],
        max_calls=3,
    )
    assert checked.num_cpus == 1 / 3
    assert opts.resources(checked) == {
        "CPU": 1 / 3,
        "GPU": 0.5,
        "memory": 2**30,
        "disk": 0.25,
    }
    assert pickle.loads(pickle.dumps(checked)) == checked


def lasting(seconds: object) -> dict[str, object]:
    return {"rayhpc.io/options": {"seconds": seconds}}


def test_how_long_it_runs_is_part_of_where_it_may_run() -> None:
    def seconds(options: opts.FunctionOptions) -> float:
        return scheduling_class(options, {"CPU": 1.0}, 1, b"").strategy.seconds

    none = opts.FunctionOptions()
    kept = none.merged(_metadata={"workflow.io/options": {"x": 1}, **lasting(90)})
    assert [seconds(each) for each in (none, kept)] == [0.0, 90.0]
    # As with Ray, where nothing of this has an effect, the options of each library are overridden
    # by themselves.
    other = kept.merged(_metadata={"workflow.io/options": {"y": 2}})
    assert other._metadata == {"workflow.io/options": {"x": 1, "y": 2}, **lasting(90)}
    assert seconds(kept.merged(_metadata=lasting(60.5))) == 60.5
    assert seconds(kept.merged(_metadata=None)) == 0.0


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"rayhpc.io/seconds": 1}, ValueError, "did you mean 'rayhpc.io/options'"),
        ({"rayhpc.io/options": {"second": 1}}, ValueError, "no 'second' in .*: only 'seconds'"),
        ({"rayhpc.io/options": 60}, TypeError, "a dict such as"),
        (lasting(0), ValueError, "above 0, not 0"),
        (lasting(float("nan")), ValueError, "above 0, not nan"),
        (lasting(True), TypeError, "a number"),
        (lasting("1h"), TypeError, "a number"),
        (["seconds"], TypeError, "a dict"),
    ],
)
def test_an_impossible_time_is_refused(given: object, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        opts.FunctionOptions().merged(_metadata=given)


def test_none_takes_an_option_back() -> None:
    two = opts.FunctionOptions().merged(num_cpus=2, max_retries=7)
    back = two.merged(num_cpus=None, max_retries=None, resources=None)
    assert back == opts.FunctionOptions()
    assert opts.resources(back) == {"CPU": 1.0}


def test_numpy_numbers_count_as_numbers() -> None:
    numpy = pytest.importorskip("numpy")
    checked = opts.FunctionOptions().merged(num_cpus=numpy.float64(0.5), num_returns=numpy.int64(3))
    assert (checked.num_cpus, checked.num_returns) == (0.5, 3)
    assert type(checked.num_returns) is int


def test_an_actor_is_placed_with_a_cpu_and_holds_none_unless_it_says_so() -> None:
    bare = opts.ActorOptions()
    assert opts.actor_resources(bare) == ({"CPU": 1.0}, {"CPU": 0.0})
    two = bare.merged(num_cpus=2)
    assert opts.actor_resources(two) == ({"CPU": 2}, {"CPU": 2})
    none = bare.merged(num_cpus=0)
    assert opts.actor_resources(none) == ({"CPU": 0}, {"CPU": 0})
    gpu = bare.merged(num_gpus=1)
    assert opts.actor_resources(gpu) == ({"CPU": 1.0, "GPU": 1}, {"CPU": 1.0, "GPU": 1})


def test_get_if_exists_needs_a_name() -> None:
    with pytest.raises(ValueError, match="name must be specified"):
        rayhpc.remote(_Class).options(get_if_exists=True)
    rayhpc.remote(_Class).options(get_if_exists=True, name="x")


def test_the_bundle_index_needs_a_group() -> None:
    strategy = strategies.PlacementGroupSchedulingStrategy(None, placement_group_bundle_index=0)
    with pytest.raises(ValueError, match="there is no placement group"):
        rayhpc.remote(_function).options(scheduling_strategy=strategy)
    none = strategies.PlacementGroupSchedulingStrategy(None)
    rayhpc.remote(_function).options(scheduling_strategy=none)
    with pytest.raises(ValueError, match="there is no placement group"):
        rayhpc.remote(_function).options(placement_group_bundle_index=1)


def test_the_old_placement_group_option_is_the_strategy() -> None:
    from rayhpc.api.groups.placement_group import PlacementGroup
    from rayhpc.runtime.values.ids import PlacementGroupID

    group = PlacementGroup(PlacementGroupID.from_random(), [{"CPU": 1.0}])
    checked = opts.FunctionOptions().merged(placement_group=group, placement_group_bundle_index=0)
    assert checked.scheduling_strategy.placement_group == group
    assert checked.scheduling_strategy.placement_group_bundle_index == 0
    with pytest.raises(ValueError, match="either placement_group or scheduling_strategy"):
        opts.FunctionOptions().merged(placement_group=group, scheduling_strategy="SPREAD")
    with pytest.raises(ValueError, match="either placement_group or scheduling_strategy"):
        checked.merged(placement_group=group)
    assert checked.merged(placement_group="default").scheduling_strategy is not None
    assert checked.merged(scheduling_strategy="SPREAD").scheduling_strategy == "SPREAD"
    for index in (-2, 1):
        strategy = strategies.PlacementGroupSchedulingStrategy(group, index)
        with pytest.raises(ValueError, match="from 0 to 0"):
            opts.FunctionOptions().merged(scheduling_strategy=strategy)


@pytest.mark.parametrize("field", ["conda", "container", "image_uri", "nsight"])
def test_environments_that_are_not_served_name_the_alternative(field: str) -> None:
    with pytest.raises(NotServedError, match=field):
        rayhpc.remote(runtime_env={field: ["x"]})
    with pytest.raises(NotImplementedError):
        rayhpc.RuntimeEnv(**{field: "x"})


def test_methods_take_their_own_options() -> None:
    from rayhpc.api.actors.actor_kind import OPTIONS_ATTRIBUTE

    @rayhpc.method(num_returns=2, concurrency_group="io")
    def method(self: object) -> tuple[int, int]:
        return 1, 2

    options = getattr(method, OPTIONS_ATTRIBUTE)
    assert (options.num_returns, options.concurrency_group) == (2, "io")
    with pytest.raises(TypeError, match="at least one of its options"):
        rayhpc.method(_function)
    with pytest.raises(TypeError, match="at least one of its options"):
        rayhpc.method()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("num_cpus", each) for each in (1e20, 10**400, float("inf"), 1e300)),
        *(("num_gpus", each) for each in (1e20, 10**400)),
        ("memory", 2**63),
        ("resources", {"disk": 1e20}),
        ("max_retries", 10**30),
        ("max_calls", 2**63),
        ("num_returns", 10**9),
        ("_generator_backpressure_num_objects", 10**30),
        ("name", "\udc80"),
        ("accelerator_type", "\udc80"),
        ("resources", {"\udc80": 1}),
        ("label_selector", {"zone": "\udc80"}),
        ("scheduling_strategy", "x" * 100_000),
    ],
)
def test_an_absurd_option_of_a_task_is_named(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=option) as caught:
        rayhpc.remote(lambda: 1).options(**{option: value})
    assert type(caught.value) in (ValueError, UnicodeEncodeError)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *((each, 10**30) for each in ("max_restarts", "max_task_retries", "max_concurrency")),
        ("max_pending_calls", 10**400),
        pytest.param("max_pending_calls", 10**5000, id="digits"),
        ("concurrency_groups", {"io": 10**30}),
        ("concurrency_groups", {"\udc80": 1}),
        ("namespace", "\udc80"),
        ("lifetime", "x" * 100_000),
    ],
)
def test_an_absurd_option_of_an_actor_is_named(option: str, value: Any) -> None:
    class Actor:
        pass

    with pytest.raises(ValueError, match=option) as caught:
        rayhpc.remote(Actor).options(**{option: value})
    assert type(caught.value) in (ValueError, UnicodeEncodeError)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("text", "expected"), [("0", 0), ("7", 7), ("-1", -1), ("", 3), ("many", 3), ("-5", 3)]
)
def test_retries_where_none_are_given(
    monkeypatch: pytest.MonkeyPatch, text: str, expected: int
) -> None:
    monkeypatch.setenv("RAY_TASK_MAX_RETRIES", text)
    assert opts.FunctionOptions().max_retries == expected
    assert opts.FunctionOptions().merged(max_retries=1).max_retries == 1
