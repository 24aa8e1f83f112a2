"""ray.util: queues, pools, joblib, states, metrics."""

import asyncio
import time

import observing
import ray
from observing import case, got, main, raised, say, until
from ray.util import ActorPool
from ray.util.multiprocessing import Pool
from ray.util.queue import Empty, Full, Queue


def outcome(call, *args, **kwargs):
    """As observing's; whether an error came through a task does not matter."""
    found = observing.outcome(call, *args, **kwargs)
    return found.replace("RayTaskError(", "").replace(")", "") if "Error(" in found else found


@case
def queues():
    queue = Queue(maxsize=2)
    queue.put(1)
    queue.put_nowait(2)
    say(queue.size(), queue.qsize(), len(queue), queue.full(), queue.empty())
    say(outcome(queue.put_nowait, 3), outcome(queue.put, 3, timeout=0.1))
    say(outcome(queue.put, 3, block=False))
    say(queue.get(), queue.get_nowait())
    say(outcome(queue.get_nowait), outcome(queue.get, timeout=0.1), outcome(queue.get, block=False))
    say(outcome(queue.get, timeout=-1), outcome(queue.put, 1, timeout=-1))
    queue.put_nowait_batch([1, 2])
    say(outcome(queue.put_nowait_batch, [3]), queue.get_nowait_batch(2))
    say(outcome(queue.get_nowait_batch, 1))
    say(issubclass(Empty, Exception), issubclass(Full, Exception))

    @ray.remote
    def fill(queue):
        for i in range(3):
            queue.put(i)

    fill.remote(queue)
    say([queue.get(timeout=20) for _ in range(3)])
    queue.shutdown()
    say(outcome(queue.size).startswith("raises"))


@case
def queues_in_event_loops():
    async def main():
        queue = Queue(actor_options={"num_cpus": 0})
        await queue.put_async(1)
        found = await queue.get_async()
        try:
            await queue.get_async(timeout=0.1)
        except Empty:
            return found, "Empty"

    say(asyncio.run(main()))


@ray.remote
class Worker:
    def double(self, x):
        time.sleep(0.01 * (x % 3))
        return 2 * x

    def fail(self, x):
        if x == 1:
            raise ValueError("one")
        return x


@case
def pools_of_actors():
    pool = ActorPool([Worker.remote() for _ in range(2)])
    say(list(pool.map(lambda a, v: a.double.remote(v), range(5))))
    say(sorted(pool.map_unordered(lambda a, v: a.double.remote(v), range(5))))
    for i in range(3):
        pool.submit(lambda a, v: a.double.remote(v), i)
    say(pool.has_next(), pool.has_free())
    say(pool.get_next(), pool.get_next_unordered() in (2, 4), pool.has_next())
    say(pool.get_next_unordered(timeout=20) in (2, 4), pool.has_next())
    say(outcome(pool.get_next), outcome(pool.get_next_unordered))
    idle = pool.pop_idle()
    say(type(idle).__name__, outcome(pool.push, idle))
    say(outcome(pool.push, idle))
    say(len(pool._idle_actors), pool._future_to_actor, pool._next_task_index)
    say(outcome(lambda: list(pool.map(lambda a, v: a.fail.remote(v), range(3)))))


@case
def a_pool_of_actors_times_out():
    @ray.remote
    class Slow:
        def wait(self, x):
            time.sleep(x)
            return x

    pool = ActorPool([Slow.remote()])
    pool.submit(lambda a, v: a.wait.remote(v), 1)
    say(outcome(pool.get_next, timeout=0.1))
    say(pool.get_next(timeout=20))


def square(x):
    return x * x


def add(x, y=10):
    return x + y


def fails(x):
    raise KeyError(x)


@case
def multiprocessing_pools():
    with Pool(2) as pool:
        say(pool.map(square, range(5)), pool.map(square, range(5), chunksize=2))
        say(pool.starmap(add, [(1, 2), (3, 4)]), pool.apply(add, (1,), {"y": 2}))
        say(list(pool.imap(square, range(4))), sorted(pool.imap_unordered(square, range(4))))
        result = pool.apply_async(square, (3,))
        say(result.get(timeout=20), result.ready(), result.successful())
        say(pool.map_async(square, [1, 2]).get(20), pool.starmap_async(add, [(1,)]).get(20))
        say(outcome(pool.apply, fails, (1,)), outcome(pool.map, fails, [1]))
        called = []
        pool.map_async(square, [1, 2], callback=called.append).wait(20)
        say(until(lambda: bool(called)), called)
        errors = []
        failed = pool.apply_async(fails, (1,), error_callback=errors.append)
        failed.wait(20)
        say(until(lambda: bool(errors)), failed.successful())
        slow = pool.apply_async(time.sleep, (3,))
        say(outcome(slow.get, timeout=0.1), slow.ready(), outcome(slow.successful))
    say(outcome(pool.map, square, [1]))
    pool = Pool(1, initializer=setattr, initargs=(time, "conformance", 5))
    say(pool.apply(lambda: time.conformance))
    pool.close()
    pool.join()
    say(outcome(pool.apply, square, (1,)))


@case
def joblib():
    from joblib import Parallel, delayed, parallel_backend
    from ray.util.joblib import register_ray

    register_ray()
    with parallel_backend("ray", n_jobs=2):
        say(Parallel()(delayed(square)(i) for i in range(6)))
        say(outcome(lambda: Parallel()(delayed(fails)(i) for i in range(2))))


@ray.remote
class Listed:
    def pid(self):
        return 1


@case
def states():
    from ray.util.state import get_actor, list_actors, list_nodes, list_tasks, summarize_tasks

    actor = Listed.options(name="listed").remote()
    ray.get(actor.pid.remote())
    rows = list_actors(filters=[("class_name", "=", "Listed"), ("state", "=", "ALIVE")])
    say(len(rows), rows[0].name, rows[0]["state"], rows[0].class_name)
    say(rows[0].actor_id == actor._actor_id.hex(), rows[0].pid > 0)
    say(list_actors(filters=[("class_name", "=", "Nobody")]))
    say(get_actor(actor._actor_id.hex()).state, get_actor("0" * 32))
    ray.kill(actor)
    say(until(lambda: list_actors(filters=[("name", "=", "listed")])[0].state == "DEAD"))
    say(len(list_actors(limit=1)))
    nodes = list_nodes()
    say(len(nodes), nodes[0].state, nodes[0].is_head_node)
    say(nodes[0].node_id == ray.nodes()[0]["NodeID"])

    @ray.remote
    def listed_task():
        return 1

    ray.get(listed_task.remote())
    found = [("name", "=", "listed_task"), ("state", "=", "FINISHED")]
    say(until(lambda: len(list_tasks(filters=found)) == 1))
    row = list_tasks(filters=found, detail=True)[0]
    say(row.name, row.type, row.state, row.func_or_class_name)
    say("listed_task" in str(summarize_tasks()))
    say(outcome(list_actors, filters=[("nonsense", "=", 1)]).startswith("raises"))
    say(len(list_actors(filters=[("class_name", "!=", "Listed")])) >= 0)


@case
def list_objects_and_groups():
    from ray.util.state import list_objects, list_placement_groups

    ref = ray.put(b"x" * 500_000)
    say(until(lambda: ref.hex() in {x.object_id for x in list_objects(limit=1000)}))
    group = ray.util.placement_group([{"CPU": 1}], name="grouped")
    group.wait(20)
    rows = list_placement_groups(filters=[("name", "=", "grouped")])
    say(len(rows), rows[0].state, rows[0].placement_group_id == group.id.hex())
    ray.util.remove_placement_group(group)


@case
def metrics():
    from ray.util.metrics import Counter, Gauge, Histogram

    counter = Counter("conformance_counter", description="x", tag_keys=("a",))
    say(outcome(counter.inc, 1, {"a": "1"}), outcome(counter.inc, 0, {"a": "1"}))
    say(outcome(counter.inc, 1, {"b": "1"}), outcome(counter.inc, -1, {"a": "1"}))
    say(outcome(counter.inc, 1))
    counter.set_default_tags({"a": "2"})
    say(outcome(counter.inc, 1), counter.info)
    gauge = Gauge("conformance_gauge")
    say(outcome(gauge.set, 1), outcome(gauge.set, "x"))
    histogram = Histogram("conformance_histogram", boundaries=[1, 2])
    say(outcome(histogram.observe, 1.5))
    say(outcome(Histogram, "h", boundaries=[]), outcome(Histogram, "h", boundaries=[-1]))
    say(outcome(Counter, ""), outcome(Counter, "c", tag_keys="a"))


@case
def inspecting_serializability():
    import threading

    from ray.util import inspect_serializability

    lock = threading.Lock()

    def closes():
        return lock

    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()):
        found, failures = inspect_serializability(closes, name="closes")
    say(found, len(failures) > 0)
    say(raised(ray.put, closes) is not None)


@case
def annotations():
    from ray.util.annotations import Deprecated, DeveloperAPI, PublicAPI

    @PublicAPI
    def public():
        """Docs."""

    @PublicAPI(stability="alpha")
    class Alpha:
        """Docs."""

    @DeveloperAPI
    def developer():
        """Docs."""

    say(public.__name__, Alpha.__name__, developer.__name__, public(), Deprecated is not None)


@case
def progress_bars():
    from ray.experimental import tqdm_ray

    @ray.remote
    def work():
        bar = tqdm_ray.tqdm(total=3, desc="work")
        for _ in range(3):
            bar.update(1)
        bar.close()
        return "done"

    say(got(work.remote()))


if __name__ == "__main__":
    main(include_dashboard=True)
