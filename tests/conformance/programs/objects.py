"""References: in other objects, closures, pickled by hand; freeing; lookups."""

import pickle
import threading
import time

import numpy
import ray
from observing import case, got, main, outcome, raised, say, until
from ray.util.state import list_objects

LARGE = b"x" * 1_000_000


@ray.remote
def identity(value):
    return value


def listed(ids):
    """Whether the cluster still knows these objects, each."""
    known = {x.object_id for x in list_objects(limit=5000)}
    return [x in known for x in ids]


@ray.remote
class Holder:
    def hold(self, refs):
        self.refs = refs

    def value(self):
        return len(ray.get(self.refs[0]))

    def drop(self):
        self.refs = None


@case
def what_a_reference_is():
    ref = ray.put(1)
    say(type(ref).__name__, len(ref.hex()) == len(ref.binary()) * 2)
    say(ref == ray.ObjectRef(ref.binary()), {ref: 1}[ref], ref != ray.put(1))
    say(repr(ref) == f"ObjectRef({ref.hex()})", str(ref) == repr(ref))
    say(outcome(ray.put, ref))
    say(
        isinstance(ref, ray.ObjectRef),
        ray.ObjectID is ray.ObjectRef or issubclass(ray.ObjectRef, ray.ObjectID),
    )
    say(outcome(len, ref), outcome(iter, ref), outcome(bool, ref))


@case
def inside_other_objects():
    inner = ray.put(LARGE)
    outer = ray.put({"a": [inner]})
    del inner
    say(len(ray.get(ray.get(outer)["a"][0])))

    @ray.remote
    def makes():
        return [ray.put(LARGE)]

    ref = makes.remote()
    say(len(ray.get(ray.get(ref)[0])))

    @ray.remote
    def nested(refs):
        return len(ray.get(refs[0])), type(refs[0]).__name__

    say(got(nested.remote([ray.put(LARGE)])))


@case
def in_actor_state():
    holder = Holder.remote()
    ref = ray.put(LARGE)
    ray.get(holder.hold.remote([ref]))
    del ref
    time.sleep(0.3)
    say(got(holder.value.remote()))


@case
def in_closures():
    ref = ray.put(LARGE)

    @ray.remote
    def closed():
        return len(ray.get(ref))

    say(got(closed.remote()))


@case
def in_closures_after_the_last_reference():
    def make():
        ref = ray.put(LARGE)

        @ray.remote
        def closed():
            return len(ray.get(ref))

        ray.get(closed.remote())
        return closed

    closed = make()
    time.sleep(0.3)
    say(got(closed.remote()))


@case
def pickled_by_hand():
    ref = ray.put(LARGE)
    data = ray.cloudpickle.dumps(ref)
    again = pickle.loads(data)
    say(again == ref)
    del ref, again
    time.sleep(0.3)

    @ray.remote
    def load(data):
        return len(ray.get(pickle.loads(data)))

    say(got(load.remote(data)))


@case
def freeing_is_observable():
    refs = [ray.put(LARGE) for _ in range(3)]
    ids = [x.hex() for x in refs]
    say(until(lambda: listed(ids) == [True] * 3))
    del refs[0]
    say(until(lambda: listed(ids) == [False, True, True]))
    del refs
    say(until(lambda: listed(ids) == [False] * 3))


@case
def a_value_outlives_the_reference():
    array = ray.get(ray.put(numpy.arange(300_000)))
    again = [ray.put(numpy.zeros(300_000)) for _ in range(5)]
    say(int(array.sum()), len(again))


@case
def owners_that_die():
    @ray.remote
    class Owner:
        def make(self):
            return [ray.put(LARGE)]

    owner = Owner.remote()
    inner = ray.get(owner.make.remote())[0]
    say(len(ray.get(inner)))
    ray.kill(owner)
    time.sleep(1)
    error = raised(ray.get, inner, timeout=20)
    say(type(error).__name__ if error else "still there")


@case
def unpicklable_arguments():
    error = raised(identity.remote, threading.Lock())
    say(type(error).__name__, "lock" in str(error))
    error = raised(ray.put, threading.Lock())
    say(type(error).__name__, "lock" in str(error))

    @ray.remote
    def returns():
        return threading.Lock()

    error = raised(ray.get, returns.remote(), timeout=20)
    say(type(error).__name__, "lock" in str(error))
    lock = threading.Lock()

    @ray.remote
    def closes():
        return lock

    error = raised(closes.remote)
    say(type(error).__name__, "lock" in str(error))


@case
def values_of_many_kinds():
    class Own:
        def __init__(self, x):
            self.x = x

        def __eq__(self, other):
            return self.x == other.x

        __hash__ = None

    for value in (None, True, 1.5, "text", b"bytes", [1], (1,), {"a": {1}}, Own(3), int, 10**40):
        say(ray.get(identity.remote(value)) == value, end_of(value))
    say(ray.get(identity.remote(lambda x: x + 1))(1))
    array = numpy.arange(10).reshape(2, 5).T
    say(bool((ray.get(identity.remote(array)) == array).all()))


def end_of(value):
    return type(value).__name__


@case
def register_serializer():
    class Odd:
        def __init__(self):
            self.lock = threading.Lock()

    ray.util.register_serializer(Odd, serializer=lambda x: "odd", deserializer=lambda x: x + "!")
    say(got(identity.remote(Odd())))
    ray.util.deregister_serializer(Odd)
    say(outcome(ray.put, Odd()))


@case
def a_worker_blocked_in_get_gives_its_cpu_back():
    @ray.remote
    def deep(n):
        return n if n == 0 else ray.get(deep.remote(n - 1))

    say(got(deep.options(num_cpus=4).remote(0)))

    @ray.remote(num_cpus=4)
    def recursive(n):
        return n if n == 0 else ray.get(recursive.remote(n - 1)) + 1

    say(got(recursive.remote(4)))


@case
def locations():
    ref = ray.put(LARGE)
    found = ray.experimental.get_object_locations([ref])
    say(sorted(found[ref]), found[ref]["node_ids"] == [ray.nodes()[0]["NodeID"]])


@case
def get_many():
    refs = [identity.remote(i) for i in range(300)]
    say(ray.get(refs) == list(range(300)))
    say(sum(ray.get([ray.put(i) for i in range(1000)])))


if __name__ == "__main__":
    main(include_dashboard=True)
