"""Options are checked when they are given, at decoration too."""

import ray
from observing import case, main, raised, say


def function():
    return 1


def generator():
    yield 1


class Class:
    def method(self):
        return 1


GROUPS = {
    "functions": [
        {"num_cpus": -1},
        {"num_cpus": "1"},
        {"num_cpus": 0.00001},
        {"num_cpus": 0.5},
        {"num_gpus": -1},
        {"num_gpus": 1.5},
        {"num_gpus": 2.0},
        {"num_gpus": 0.25},
        {"memory": -1},
        {"memory": 1.5},
        {"memory": "1"},
        {"resources": {"CPU": 1}},
        {"resources": {"GPU": 1}},
        {"resources": {"a": -1}},
        {"resources": {"a": 0.00001}},
        {"resources": None},
        {"resources": {"a": 0.5}},
        {"resources": ["a"]},
        {"resources": {}},
        {"num_returns": -1},
        {"num_returns": "some"},
        {"num_returns": "dynamic"},
        {"num_returns": "streaming"},
        {"num_returns": 1.5},
        {"num_returns": None},
        {"max_retries": -1},
        {"max_retries": -2},
        {"max_retries": 1.5},
        {"max_retries": "1"},
        {"retry_exceptions": 1},
        {"retry_exceptions": [KeyError]},
        {"retry_exceptions": "all"},
        {"retry_exceptions": [1]},
        {"retry_exceptions": None},
        {"retry_exceptions": []},
        {"max_calls": -1},
        {"max_calls": 0},
        {"max_calls": "1"},
        {"max_calls": 1.5},
        {"name": 1},
        {"name": ""},
        {"runtime_env": 1},
        {"runtime_env": {"nonsense": 1}},
        {"runtime_env": {"env_vars": {"a": 1}}},
        {"runtime_env": {"env_vars": {"a": "1"}}},
        {"runtime_env": {}},
        {"runtime_env": None},
        {"scheduling_strategy": "ANY"},
        {"scheduling_strategy": "SPREAD"},
        {"scheduling_strategy": "DEFAULT"},
        {"scheduling_strategy": 1},
        {"scheduling_strategy": None},
        {"label_selector": {"a": 1}},
        {"label_selector": 1},
        {"label_selector": {"a": "b"}},
        {"_generator_backpressure_num_objects": 0},
        {"_generator_backpressure_num_objects": 1},
        {"_generator_backpressure_num_objects": -1},
        {"_generator_backpressure_num_objects": -2},
        {"max_restarts": 1},
        {"lifetime": "detached"},
        {"max_concurrency": 1},
        {"nonsense": 1},
        {"num_cpu": 1},
        {"accelerator_type": "A100"},
        {"accelerator_type": 1},
        {"placement_group_bundle_index": 0},
        {"enable_task_events": True},
    ],
    "actors": [
        {"num_cpus": -1},
        {"num_cpus": 0.00001},
        {"num_gpus": 1.5},
        {"num_gpus": -0.5},
        {"memory": -1},
        {"resources": {"CPU": 1}},
        {"resources": {"a": 0.00001}},
        {"max_restarts": -1},
        {"max_restarts": -2},
        {"max_restarts": 1.5},
        {"max_restarts": "1"},
        {"max_task_retries": -1},
        {"max_task_retries": -2},
        {"max_task_retries": 1},
        {"max_concurrency": 0},
        {"max_concurrency": -1},
        {"max_concurrency": 2},
        {"max_concurrency": 1.5},
        {"max_pending_calls": -1},
        {"max_pending_calls": -2},
        {"max_pending_calls": 0},
        {"max_pending_calls": 5},
        {"lifetime": "detached"},
        {"lifetime": "non_detached"},
        {"lifetime": "forever"},
        {"lifetime": None},
        {"lifetime": 1},
        {"name": 1},
        {"name": ""},
        {"name": "x"},
        {"namespace": 1},
        {"namespace": ""},
        {"get_if_exists": True},
        {"get_if_exists": 1},
        {"concurrency_groups": {"io": 2}},
        {"concurrency_groups": 1},
        {"concurrency_groups": {"io": 0}},
        {"concurrency_groups": {"io": "2"}},
        {"scheduling_strategy": "ANY"},
        {"max_retries": 1},
        {"num_returns": 2},
        {"max_calls": 1},
        {"retry_exceptions": True},
        {"nonsense": 1},
        {"runtime_env": {"env_vars": {"a": 1}}},
    ],
}


def shown(option):
    return ", ".join(
        f"{k}={v!r}".replace("<class 'KeyError'>", "KeyError") for k, v in option.items()
    )


def target(option):
    return generator if option.get("num_returns") in ("dynamic", "streaming") else function


def verdict(call, option):
    error = raised(call, **option)
    return "taken" if error is None else "refused"


@case
def options_of_functions_at_decoration():
    for option in GROUPS["functions"]:
        say(shown(option), verdict(lambda t=target(option), **x: ray.remote(**x)(t), option))


@case
def options_of_functions_later():
    for option in GROUPS["functions"]:
        remote = ray.remote(target(option))
        say(shown(option), verdict(remote.options, option))


@case
def options_of_actors_at_decoration():
    for option in GROUPS["actors"]:
        say(shown(option), verdict(lambda **x: ray.remote(**x)(Class), option))


@case
def options_of_actors_later():
    remote = ray.remote(Class)
    for option in GROUPS["actors"]:
        say(shown(option), verdict(lambda **x: remote.options(**x), option))


@case
def options_of_methods():
    for option in (
        {"num_returns": 2},
        {"num_returns": -1},
        {"num_returns": "some"},
        {"nonsense": 1},
        {"concurrency_group": "io"},
        {"max_task_retries": 1},
        {"retry_exceptions": True},
        {"num_cpus": 1},
    ):
        say(shown(option), verdict(lambda **x: ray.method(**x)(function), option))


@case
def the_message_names_what_is_allowed():
    say("detached" in str(raised(lambda: ray.remote(lifetime="forever")(Class))))
    say("nonsense" in str(raised(lambda: ray.remote(nonsense=1)(function))))


@case
def forms_of_decoration():
    for wrong in (
        lambda: ray.remote()(function),
        lambda: ray.remote(1),
        lambda: ray.remote(1, num_cpus=1),
        lambda: ray.remote(num_cpus=1)(1),
        lambda: ray.remote(function, Class),
    ):
        say(verdict(wrong, {}))
    say(ray.get(ray.remote(function).remote()), ray.get(ray.remote(function).remote()))
    bare = ray.remote(Class)
    say(ray.get(bare.remote().method.remote()))
    say(ray.get(ray.remote(num_cpus=0)(lambda x: x + 1).remote(1)))


@case
def options_do_not_change_the_original():
    remote = ray.remote(num_returns=1)(lambda: (1, 2))
    two = remote.options(num_returns=2)
    say(len(two.remote()), ray.get(remote.remote()))


@case
def together():
    say(verdict(lambda **x: ray.remote(Class).options(**x).remote(), {"get_if_exists": True}))
    say(
        verdict(
            lambda **x: ray.remote(Class).options(**x).remote(),
            {"max_restarts": 0, "max_task_retries": 1},
        )
    )


if __name__ == "__main__":
    main()
