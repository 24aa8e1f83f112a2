"""Where rayhpc means to differ from Ray: an error earlier, a clearer one, or none where Ray fails.

Program and case → (Ray's line, rayhpc's line, why).  Whoever adds one must be able to say why it
is better for a program written for Ray; everything else that differs is a defect.
"""

from __future__ import annotations

Difference = tuple[str, str, str]

_AT_ONCE = "an impossible value is refused where it is given, not when a task is submitted"
_NO_HARM = "what it means is plain, and Ray refuses it by accident"
_FUNCTIONS = "options_of_functions_at_decoration", "options_of_functions_later"
_ACTORS = "options_of_actors_at_decoration", "options_of_actors_later"


def _refused(option: str) -> Difference:
    return f"{option} taken", f"{option} refused", _AT_ONCE


def _taken(option: str) -> Difference:
    return f"{option} refused", f"{option} taken", _NO_HARM


def _options() -> dict[tuple[str, str], list[Difference]]:
    both = [_refused("num_gpus=1.5"), _refused("scheduling_strategy='ANY'")]
    functions = [
        *both,
        _refused("runtime_env={'nonsense': 1}"),
        _refused("_generator_backpressure_num_objects=-2"),
        _refused("placement_group_bundle_index=0"),
        _taken("retry_exceptions=None"),
    ]
    actors = [
        *both,
        _refused("max_concurrency=0"),
        _refused("name=''"),
        _refused("namespace=''"),
    ]
    found = {("options", case): functions for case in _FUNCTIONS}
    found |= {("options", case): actors for case in _ACTORS}
    found["options", _FUNCTIONS[1]] = [*functions, _taken("max_calls=0")]
    found["options", _ACTORS[0]] = [
        *actors,
        _refused("concurrency_groups={'io': 0}"),
        _refused("concurrency_groups={'io': '2'}"),
    ]
    found["options", _ACTORS[1]] = [*actors, _taken("concurrency_groups={'io': 2}")]
    found["options", "options_of_methods"] = [_refused("num_returns='some'")]
    return found


MEANT: dict[tuple[str, str], list[Difference]] = {
    **_options(),
    ("results", "an_exception_through_several_gets"): [
        (
            "KeyError ('inner',) (KeyError('inner'),)",
            "KeyError ('inner',) ('inner',)",
            "the exception has the arguments that its own class gives it",
        )
    ],
    ("results", "exceptions_that_are_hard_to_carry"): [
        (
            "unusual True False True",
            "unusual True True True",
            "it is a RayTaskError also where the exception itself cannot be rebuilt",
        )
    ],
    ("results", "a_negative_timeout"): [
        ("1", "raises ValueError", "Ray waits for ever, which a deadline in the past does not mean")
    ],
    ("results", "builtin_fields_of_an_exception_survive"): [
        (
            "RayTaskError(FileNotFoundError) True None None",
            "RayTaskError(FileNotFoundError) True 2 /does/not/exist",
            "programs look at errno",
        ),
        (
            "7 7 (Mine('code code code 7'),)",
            "7 7 ('code code code 7',)",
            "the exception has the arguments that its own class gives it",
        ),
    ],
    ("context", "gpu_ids"): [
        ("([], None)", "([], '')", "a task without GPUs sees none, as in Ray before 2.60")
    ],
    ("generators", "its_callers_end_releases_the_producer"): [
        ("False", "True", "a producer whose caller has ended ends, and gives its CPU back")
    ],
    ("placement", "submitted_to_a_removed_group"): [
        (
            "raises GetTimeoutError",
            "raises TaskPlacementGroupRemoved",
            "Ray lets such a task wait for ever",
        ),
        ("False", "True", "Ray lets such an actor wait for ever"),
    ],
    ("actors", "wrong_arguments"): [
        ("options taken", "options refused", "an unknown option has no effect, which nobody means")
    ],
    ("cancelling", "while_arguments_are_deserialised"): [
        (
            "raises GetTimeoutError",
            "raises TaskCancelledError",
            "cancelling works while arguments are deserialised",
        )
    ],
}


def as_rayhpc(name: str, case: str, lines: list[str]) -> list[str]:
    """Ray's lines of a case with what rayhpc means to do otherwise."""
    for theirs, ours, _ in MEANT.get((name, case), []):
        if theirs not in lines:
            raise ValueError(f"{name}, {case}: Ray does not print {theirs!r} any more")
        lines = [ours if line == theirs else line for line in lines]
    return lines
