"""`ActorGroup`: several copies of an actor, called all at once.

Used by programs, under Ray's name (deprecated there, and therefore here).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import rayhpc
from rayhpc.util.annotations import Deprecated


class ActorWrapper(NamedTuple):
    """One actor, and the result of its `get_actor_metadata()` (None: it has no such method)."""

    actor: Any
    metadata: Any


class ActorGroupMethod:
    """A method of all actors of a group.

    Args:
        actors: the group's actors.
        name: the method.
    """

    def __init__(self, actors: list[Any], name: str) -> None:
        self._actors = actors
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        raise TypeError(
            f"A method of an ActorGroup cannot be called directly: use {self._name}.remote(...) "
            f"instead of {self._name}(...)."
        )

    def remote(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Call it on every actor.

        Returns:
            One reference per actor, in order.
        """
        return [getattr(actor, self._name).remote(*args, **kwargs) for actor in self._actors]


@Deprecated(
    message="For work without state use ray.util.multiprocessing; for work with state, actors and "
    "ray.util.ActorPool.",
    warning=True,
)
class ActorGroup:
    """Several actors of one class; `group.method.remote(…)` calls all of them.

    Args:
        actor_cls: the class, not decorated.
        num_actors: how many.
        num_cpus_per_actor: CPUs for each.
        num_gpus_per_actor: GPUs for each.
        resources_per_actor: custom resources for each.
        init_args: arguments for each constructor.
        init_kwargs: keyword arguments for each constructor.

    Raises:
        ValueError: fewer than one actor, or a negative amount.
    """

    def __init__(
        self,
        actor_cls: type[Any],
        num_actors: int = 1,
        num_cpus_per_actor: float = 1,
        num_gpus_per_actor: float = 0,
        resources_per_actor: dict[str, float] | None = None,
        init_args: tuple[Any, ...] | None = None,
        init_kwargs: dict[str, Any] | None = None,
    ) -> None:
        if num_actors <= 0:
            raise ValueError(f"num_actors must be greater than 0, not {num_actors}.")
        if num_cpus_per_actor < 0 or num_gpus_per_actor < 0:
            raise ValueError(
                "The CPUs and GPUs of an actor cannot be negative: num_cpus_per_actor="
                f"{num_cpus_per_actor}, num_gpus_per_actor={num_gpus_per_actor}."
            )
        self.actors: list[ActorWrapper] = []
        self.num_actors = num_actors
        self._init_args = init_args or ()
        self._init_kwargs = init_kwargs or {}
        self._remote_cls = rayhpc.remote(
            num_cpus=num_cpus_per_actor,
            num_gpus=num_gpus_per_actor,
            resources=resources_per_actor,
        )(actor_cls)
        self.start()

    def __getattr__(self, name: str) -> ActorGroupMethod:
        if name.startswith("__"):
            raise AttributeError(name)
        if not self.actors:
            raise RuntimeError("This ActorGroup has been shut down: call start() first.")
        return ActorGroupMethod([x.actor for x in self.actors], name)

    def __len__(self) -> int:
        return len(self.actors)

    def __getitem__(self, index: Any) -> Any:
        return self.actors[index]

    def start(self) -> None:
        """Start the actors.

        Raises:
            RuntimeError: they are already running.
        """
        if self.actors:
            raise RuntimeError("The actors are already running: call shutdown() first.")
        self.add_actors(self.num_actors)

    def shutdown(self, patience_s: float = 5) -> None:
        """End the actors after their pending calls, or at once if that takes too long.

        Args:
            patience_s: seconds that those calls may take.
        """
        actors = [x.actor for x in self.actors]
        self.actors = []
        if patience_s > 0:
            ends = [actor.__ray_terminate__.remote() for actor in actors]
            _, late = rayhpc.wait(ends, num_returns=len(ends), timeout=patience_s)
            actors = [actor for actor, end in zip(actors, ends, strict=True) if end in late]
        for actor in actors:
            rayhpc.kill(actor)

    def remove_actors(self, actor_indexes: Iterable[int]) -> None:
        """Release the actors at these positions."""
        removed = set(actor_indexes)
        self.actors = [x for i, x in enumerate(self.actors) if i not in removed]

    def add_actors(self, num_actors: int) -> None:
        """Start more actors.

        Raises:
            RayError: an actor whose `get_actor_metadata()` is called fails to start.
        """
        made = [
            self._remote_cls.remote(*self._init_args, **self._init_kwargs)
            for _ in range(num_actors)
        ]
        told = [
            actor.get_actor_metadata.remote() if hasattr(actor, "get_actor_metadata") else None
            for actor in made
        ]
        metadata = iter(rayhpc.get([x for x in told if x is not None]))
        for actor, asked in zip(made, told, strict=True):
            self.actors.append(ActorWrapper(actor, None if asked is None else next(metadata)))

    @property
    def actor_metadata(self) -> list[Any]:
        """The result of each actor's `get_actor_metadata()`."""
        return [x.metadata for x in self.actors]
