"""The engines by name: this process, or a cluster of Ray."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from ..core.errors import UserError, unknown_name
from ..training.device import choose_device
from .local import LocalEngine
from .teachers import Teacher, load_teachers
from .work import Engine

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class Opened:
    """An engine that is ready.

    Attributes:
        engine: for `run_job`.
        teachers: for `plan_job`.
        device: on which the engine labels.
    """

    engine: Engine
    teachers: Sequence[Teacher]
    device: str


@contextmanager
def open_engine(
    name: str, models: Sequence[str], device: str, *, address: str | None = None, actors: int = 0
) -> Iterator[Opened]:
    """An engine with its teachers loaded; a cluster is connected inside the block.

    Args:
        name: `local` or `ray`.
        models: teachers, as `load_teacher` takes them.
        device: `cpu`, `cuda` or `auto`.
        address: of the cluster; see `core.cluster`.
        actors: labelling processes on the cluster at most, 0 for as many as it holds.

    Raises:
        UserError: an unknown name, an option of the other engine, no cluster, a file that is no teacher.
    """
    if name not in ENGINES:
        raise unknown_name("engine", name, ENGINES)
    if actors < 0:
        raise UserError(f"actors is {actors}; it must be at least 0 (labelling processes, 0 for as many as there fit).")
    if name == "local":
        if address is not None or actors:
            raise UserError("--address and --actors are for the cluster; add --engine ray, or leave them out.")
        chosen = choose_device(device)
        yield Opened(LocalEngine(), load_teachers(models, chosen), chosen)
        return
    from ..core.cluster import cluster

    with cluster(address) as found:
        from .distributed import RayEngine

        # here they are only looked at; every worker loads its own
        yield Opened(
            RayEngine(partial(load_teachers, tuple(models)), actors), load_teachers(models), found.device(device)
        )
