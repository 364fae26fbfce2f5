"""The runs of a grid on Ray: a task a run, on any node, each from its last recorded epoch."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty
from typing import Any

from ..core.cluster import Cluster, cluster, enter
from ..core.errors import UserError, first_line, unknown_name
from .grid import Heed, Outcome, Runner, each_folder_once, ended_before, run_grid, tell_end
from .run import Plan, execute
from .watch import Messages

ENGINES = ("local", "ray")

TRIES = 3
"""So often a run may lose its process before it counts as failed; each time it goes on from its last epoch."""

SECONDS = 0.5
"""Between two looks at what the runs tell."""


@contextmanager
def grid_runner(engine: str, address: str | None = None) -> Iterator[Runner]:
    """Who executes the runs of a grid; a cluster is connected inside the block.

    Args:
        engine: `local` for processes of this machine, or `ray`.
        address: of the cluster; see `core.cluster`.

    Raises:
        UserError: an unknown engine, an address without a cluster, no cluster.
    """
    if engine not in ENGINES:
        raise unknown_name("engine", engine, ENGINES)
    if engine == "local":
        if address is not None:
            raise UserError("--address is of a cluster; add --engine ray, or leave it out.")
        yield run_grid
        return
    with cluster(address) as found:
        yield partial(run_on_ray, found)


@each_folder_once
def run_on_ray(
    found: Cluster, plans: Sequence[Plan], *, jobs: int = 1, again: bool = False, heed: Heed | None = None
) -> list[Outcome]:
    """Execute plans on the cluster that is connected, as `grid.run_grid` does in processes of this machine.

    A run has a CPU of its own, or with several to a job the job's share of a node, and on `cuda` a GPU. One whose
    process or node dies begins again elsewhere, from its last epoch.

    Args:
        found: what the cluster has.
        plans: from `plan_run`; their folders must be seen by every node under the same paths.
        jobs: runs side by side, at least 1; those that the cluster has no room for wait.
        again: start over what is finished or under way.
        heed: is told of every run's progress and end.

    Returns:
        The outcomes in the plans' order.
    """
    import ray
    from ray.exceptions import RayError, RayTaskError
    from ray.util.queue import Queue

    cpus = max(1, int(min(found.largest, found.cpus / jobs)))
    cuda = any(plan.config.device == "cuda" for plan in plans)
    work = ray.remote(num_cpus=cpus, num_gpus=int(cuda), max_retries=0)(_work)
    outcomes: dict[int, Outcome] = {}
    lost: Counter[int] = Counter()
    waiting = deque(range(len(plans)))
    running: dict[Any, int] = {}
    inbox = Queue()

    def end(place: int, outcome: Outcome) -> None:
        outcomes[place] = outcome
        tell_end(heed, place, outcome)

    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                place = waiting.popleft()
                anew = again and not lost[place]
                before = None if anew else ended_before(plans[place])
                if before is not None:
                    end(place, before)
                    continue
                task = work.remote(_Told(place, inbox), plans[place], cpus, anew, str(Path.cwd()))
                running[task] = place
            ready, _ = ray.wait(list(running), timeout=SECONDS) if running else ([], [])
            _pass_on(inbox, heed)
            for task in ready:
                place = running.pop(task)
                try:
                    end(place, Outcome(*ray.get(task)))
                except RayTaskError as error:
                    end(place, Outcome(None, f"Its process failed ({first_line(error)}). Run the same command again."))
                except RayError as error:  # its process or its node has died
                    lost[place] += 1
                    if lost[place] < TRIES:
                        waiting.appendleft(place)
                    else:
                        how = f"Its process was lost {TRIES} times ({first_line(error)})."
                        end(place, Outcome(None, f"{how} Run the same command again to go on."))
    finally:
        for task in running:
            ray.cancel(task, force=True)
        inbox.shutdown(force=True)
    return [outcomes[place] for place in range(len(plans))]


@dataclass(frozen=True)
class _Told:
    """A run's end of the queue of messages."""

    place: int
    inbox: Any

    def put(self, item: Any) -> None:
        """Send one item."""
        self.inbox.put((self.place, item))


def _pass_on(inbox: Any, heed: Heed | None) -> None:
    """Tell what the runs have told since."""
    while True:
        try:
            place, message = inbox.get_nowait()
        except Empty:
            return
        if heed is not None:
            heed(place, message)


def _work(told: _Told, plan: Plan, threads: int, again: bool, folder: str) -> tuple[dict[str, Any] | None, str]:
    """One run, on some node: its result, or why it failed."""
    import torch

    torch.set_num_threads(threads)
    try:
        enter(folder)
        return execute(plan, Messages(told), again=again), ""
    except UserError as error:
        return None, str(error)
