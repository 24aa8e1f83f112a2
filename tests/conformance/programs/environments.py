"""A job's runtime environment: its folder, modules and variables, and what replaces them."""

import os
import sys

import ray
from observing import case, got, main, outcome, say

HERE = os.getcwd()


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


write("working/data.txt", "data")
write("working/working_module.py", "VALUE = 'working'\n")
write("working/skipped/big.bin", "x")
write("working/inner/deep/file.txt", "deep")
os.makedirs("working/empty", exist_ok=True)
write("modules/conformance_module/__init__.py", "VALUE = 'module'\n")


@ray.remote
def in_a_task():
    import conformance_module
    import working_module

    with open("data.txt") as file:
        data = file.read()
    return data, working_module.VALUE, conformance_module.VALUE, os.environ["JOBS"]


@case
def a_jobs_folder_modules_and_variables():
    say(got(in_a_task.remote()))


@case
def in_actors_too():
    @ray.remote
    class Actor:
        def read(self):
            import working_module

            with open("inner/deep/file.txt") as file:
                return file.read(), working_module.VALUE, os.environ["JOBS"]

    say(got(Actor.remote().read.remote()))


@case
def the_copy_is_not_the_folder():
    @ray.remote
    def where(here):
        return os.getcwd() == here, os.path.exists("skipped"), os.path.isdir("inner")

    say(got(where.remote(os.path.join(HERE, "working"))))
    say(os.getcwd() == HERE)


@case
def variables_are_merged_and_replaced():
    @ray.remote
    def both():
        return os.environ.get("JOBS"), os.environ.get("TASKS"), os.path.exists("data.txt")

    say(got(both.options(runtime_env={"env_vars": {"TASKS": "task"}}).remote()))
    say(got(both.options(runtime_env={"env_vars": {"JOBS": "task"}}).remote()))
    say(got(both.remote()))


@case
def the_context_shows_it():
    env = ray.get_runtime_context().runtime_env
    say(env["env_vars"], sorted(x for x in env if x in ("env_vars", "working_dir", "py_modules")))

    @ray.remote
    def shown():
        return ray.get_runtime_context().runtime_env["env_vars"]

    say(got(shown.remote()))


@case
def children_inherit():
    @ray.remote
    def child():
        return os.environ.get("JOBS"), os.environ.get("TASKS")

    @ray.remote
    def parent():
        return ray.get(child.remote())

    say(got(parent.options(runtime_env={"env_vars": {"TASKS": "parent"}}).remote()))


@case
def a_bad_one():
    say(
        outcome(
            lambda: ray.get(
                in_a_task.options(runtime_env={"working_dir": "/does/not/exist"}).remote(),
                timeout=20,
            )
        ).startswith("raises")
    )
    say("pytest" in sys.modules)


if __name__ == "__main__":
    main(
        runtime_env={
            "working_dir": os.path.abspath("working"),
            "py_modules": [os.path.abspath("modules/conformance_module")],
            "env_vars": {"JOBS": "job"},
            "excludes": ["skipped"],
        }
    )
