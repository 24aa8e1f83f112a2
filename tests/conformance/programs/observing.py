"""What the programs print with: cases, observations, and the names of errors.

Knows only `ray`, and must run on the real one as on rayhpc.
"""

import gc
import os
import signal
import sys
import time
import traceback

import ray

LIMIT = int(os.environ.get("CONFORMANCE_LIMIT", "40"))  # seconds for a case
_cases = []


def case(function):
    """A decorator: the function is one case of the program."""
    _cases.append(function)
    return function


def say(*words):
    """Print one observation."""
    print("|", *words, flush=True)


def outcome(call, *args, **kwargs):
    """What a call returns, or the class of what it raises."""
    try:
        return repr(call(*args, **kwargs))
    except Exception as error:
        return f"raises {type(error).__name__}"


def got(ref, timeout=25):
    """What `get` of a reference returns or raises."""
    return outcome(ray.get, ref, timeout=timeout)


def raised(call, *args, **kwargs):
    """The exception that a call raises; None: it does not."""
    try:
        call(*args, **kwargs)
    except Exception as error:
        return error
    return None


def until(condition, seconds=20):
    """Whether the condition holds within so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


def main(connect=True, **cluster):
    """Run all cases (or those named as arguments) on one cluster, each with a limit of time."""
    if connect:
        ray.init(**{"num_cpus": 4, "log_to_driver": False, "include_dashboard": False, **cluster})
    if cluster.get("include_dashboard"):  # Ray's listings come from there, once it is up
        from ray.util.state import list_nodes

        until(lambda: raised(list_nodes) is None, 90)
    signal.signal(signal.SIGALRM, _too_late)
    for function in _cases:
        if sys.argv[1:] and function.__name__ not in sys.argv[1:]:
            continue
        print("==", function.__name__, flush=True)
        signal.alarm(LIMIT)
        try:
            function()
        except BaseException as error:
            say(f"case ended with {type(error).__name__}")
            traceback.print_exc()
        signal.alarm(0)
        gc.collect()
    ray.shutdown()


def _too_late(*_):
    raise TimeoutError("the case takes too long")
