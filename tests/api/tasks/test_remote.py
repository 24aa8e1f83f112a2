"""`remote`: bare, with options, of any function or class, as often as one likes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import cloudpickle
import pytest

import rayhpc
from rayhpc.api.actors.actor import ActorClassInheritanceException


def _function(a: int, b: int = 2) -> int:
    """Adds."""
    return a + b


class _Class:
    """Counts."""

    LIMIT = 7

    def __init__(self, start: int = 0) -> None:
        self.count = start

    def increase(self, by: int = 1) -> int:
        self.count += by
        return self.count

    @staticmethod
    def double(x: int) -> int:
        return 2 * x


def test_bare_and_with_options() -> None:
    bare = rayhpc.remote(_function)
    given = rayhpc.remote(num_cpus=2)(_function)
    assert isinstance(bare, rayhpc.RemoteFunction)
    assert given.options_given.num_cpus == 2
    assert bare.options(num_cpus=3).options_given.num_cpus == 3
    assert bare.options_given.num_cpus is None
    assert bare.__doc__ == "Adds."
    assert bare.__name__ == "_function"


def test_twice_and_of_what_is_remote_already() -> None:
    one, two = rayhpc.remote(_function), rayhpc.remote(_function)
    assert one is not two
    assert rayhpc.remote(one) is one
    actor = rayhpc.remote(_Class)
    assert rayhpc.remote(actor) is actor
    assert rayhpc.remote(num_cpus=2)(actor).options_given.num_cpus == 2


def test_builtin_functions() -> None:
    assert isinstance(rayhpc.remote(time.time), rayhpc.RemoteFunction)


@pytest.mark.parametrize("target", [3, "text", None, [1]])
def test_neither_function_nor_class(target: Any) -> None:
    with pytest.raises(TypeError, match="either a function or a class"):
        rayhpc.remote(target)


def test_empty_parentheses_and_positional_options() -> None:
    with pytest.raises(TypeError, match="no parentheses"):
        rayhpc.remote()
    with pytest.raises(TypeError, match="no parentheses"):
        rayhpc.remote(_function, num_cpus=1)


def test_calling_directly_says_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"_function\.remote\("):
        rayhpc.remote(_function)(1)
    with pytest.raises(TypeError, match=r"_Class\.remote\("):
        rayhpc.remote(_Class)()
    assert rayhpc.remote(_function)._function(1) == 3


def test_async_functions_belong_into_actors() -> None:
    async def coroutine() -> None: ...

    with pytest.raises(ValueError, match="async def"):
        rayhpc.remote(coroutine)


def test_bind_makes_a_node_and_needs_no_cluster() -> None:
    assert repr(rayhpc.remote(_function).bind(1)) == "FunctionNode(_function)"
    assert repr(rayhpc.remote(_Class).bind()) == "ClassNode(_Class)"
    assert repr(rayhpc.remote(_Class).bind().increase.bind()) == "ClassMethodNode(increase)"


def test_remote_functions_and_classes_are_picklable() -> None:
    function = cloudpickle.loads(cloudpickle.dumps(rayhpc.remote(num_cpus=2)(_function)))
    assert function.options_given.num_cpus == 2
    assert function._function(1) == 3
    actor = cloudpickle.loads(cloudpickle.dumps(rayhpc.remote(max_restarts=2)(_Class)))
    assert actor.options_given.max_restarts == 2
    assert actor.LIMIT == 7


def test_an_actor_class_is_named_after_its_class() -> None:
    actor = rayhpc.remote(_Class)
    assert type(actor).__name__ == "ActorClass(_Class)"
    assert isinstance(actor, rayhpc.ActorClass)
    assert actor.__ray_actor_class__ is _Class
    assert repr(actor) == "ActorClass(_Class)"
    assert actor.__doc__ == "Counts."


def test_attributes_of_the_class_can_be_read() -> None:
    actor = rayhpc.remote(_Class)
    assert actor.LIMIT == 7
    assert actor.double(4) == 8
    with pytest.raises(AttributeError):
        _ = actor.nothing


def test_no_class_inherits_from_an_actor_class() -> None:
    actor = rayhpc.remote(_Class)

    with pytest.raises(ActorClassInheritanceException, match="Inheriting from actor classes"):

        class Derived(actor):  # type: ignore[misc, valid-type]
            pass


def test_what_refers_to_itself(run_program: Callable[..., object]) -> None:
    """In a program's own file, whose functions and classes are pickled with what they refer to."""
    run_program(
        """
        import rayhpc
        rayhpc.init(num_cpus=2)

        @rayhpc.remote
        def deep(n, step=1, *, end=0):
            return n if n <= end else rayhpc.get(deep.remote(n - step))

        @rayhpc.remote(num_cpus=0)
        class Tree:
            def __init__(self, depth, width=2):
                self.below = [Tree.remote(depth - 1) for _ in range(width if depth else 0)]

            def count(self):
                return 1 + sum(rayhpc.get([x.count.remote() for x in self.below]))

            def with_too_many(self):
                Tree.remote(1, 2, 3)

        assert rayhpc.get(deep.remote(3)) == 0
        tree = Tree.remote(2)
        assert rayhpc.get(tree.count.remote()) == 7
        try:
            rayhpc.get(tree.with_too_many.remote())
        except TypeError as error:
            assert "Tree(): too many positional arguments" in str(error), error
        else:
            raise AssertionError("nothing was refused")
        """
    )
