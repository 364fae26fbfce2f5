"""Many runs, some of them side by side, each in a process of its own: one that fails stops no other."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar, cast

import torch

from ..core.errors import UserError
from ..core.processes import end_with_parent, quick_processes
from .reporting.shapes import read_result
from .run import Plan, execute
from .watch import Messages

Heed = Callable[[int, tuple[Any, ...]], None]
"""Is told a plan's place and a message of its run: what `watch.Messages` says, or `finished` or `failed` at the end."""

NEEDED = (
    __name__,
    "torch._dynamo",  # by torch's optimizers
    "torch.utils.tensorboard",
    "sklearn.metrics",
    "matplotlib.backends.backend_agg",
)
"""Modules that nearly every run imports: four seconds, with torch."""


@dataclass(frozen=True)
class Outcome:
    """How one run of a grid ended.

    Attributes:
        result: what `result.json` holds, None where the run failed.
        failure: why, as a sentence; empty where it did not.
    """

    result: dict[str, Any] | None
    failure: str = ""


Runner = Callable[..., list[Outcome]]
"""Called like `run_grid`."""

R = TypeVar("R", bound=Runner)


@dataclass(frozen=True)
class _Running:
    place: int
    slot: int
    process: BaseProcess


class _Pipe:
    """A connection as a channel of messages."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def put(self, item: Any) -> None:
        """Send one item."""
        self.connection.send(item)


def each_folder_once(runner: R) -> R:
    """A runner that executes plans of one run folder once and tells each of them how it goes and ends.

    Args:
        runner: called like `run_grid`, perhaps with more in front of the plans.
    """

    @wraps(runner)
    def run(*arguments: Any, heed: Heed | None = None, **how: Any) -> list[Outcome]:
        *before, plans = arguments
        places: dict[Path, list[int]] = {}
        for place, plan in enumerate(plans):
            places.setdefault(plan.folder.path, []).append(place)
        alike = list(places.values())

        def tell(first: int, message: tuple[Any, ...]) -> None:
            for place in alike[first]:
                if heed is not None:
                    heed(place, message)

        outcomes = dict(zip(places, runner(*before, [plans[each[0]] for each in alike], heed=tell, **how), strict=True))
        return [outcomes[plan.folder.path] for plan in plans]

    return cast(R, run)


@each_folder_once
def run_grid(plans: Sequence[Plan], *, jobs: int = 1, again: bool = False, heed: Heed | None = None) -> list[Outcome]:
    """Execute plans, `jobs` of them at a time, each from its last recorded epoch; finished runs are only read.

    A run has a process of its own, so that its peak memory is its own and a crash ends nothing else. The compute
    threads are divided among the jobs; on several GPUs the jobs take turns over them. Plans of one run folder are one
    run.

    Args:
        plans: from `plan_run`, in the order in which they are to begin.
        jobs: runs side by side, at least 1.
        again: start over what is finished or under way.
        heed: is told of every run's progress and end.

    Returns:
        The outcomes in the plans' order.
    """
    context = quick_processes(NEEDED)
    threads = max(1, torch.get_num_threads() // jobs)
    outcomes: dict[int, Outcome] = {}
    running: dict[Connection, _Running] = {}
    waiting = deque(enumerate(plans))
    free = list(range(jobs))[::-1]

    def end(place: int, outcome: Outcome) -> None:
        outcomes[place] = outcome
        tell_end(heed, place, outcome)

    try:
        while waiting or running:
            while waiting and free:
                place, plan = waiting.popleft()
                before = None if again else ended_before(plan)
                if before is not None:
                    end(place, before)
                    continue
                reader, writer = context.Pipe(duplex=False)
                slot = free.pop()
                process = context.Process(target=_work, args=(writer, plan, threads, slot, again))
                _start(process)
                writer.close()  # the process holds the only end, so that its death is seen as the end of the messages
                running[reader] = _Running(place, slot, process)
            # without a run that is under way there is nothing to wait for, and nobody would ever answer
            ready = wait(list(running)) if running else []
            for reader, run in [found for found in running.items() if found[0] in ready]:
                outcome, message = _receive(reader, run.process)
                if outcome is not None:
                    run.process.join()
                    free.append(run.slot)
                    del running[reader]
                    end(run.place, outcome)
                elif heed is not None:
                    heed(run.place, message)
    finally:
        for run in running.values():
            run.process.terminate()
        for run in running.values():
            run.process.join()
    return [outcomes[place] for place in range(len(plans))]


def ended_before(plan: Plan) -> Outcome | None:
    """How a run ended earlier; None where it is still to be done. A damaged result is a failure like any other."""
    try:
        result = read_result(plan.folder, plan.choice.truth)
    except UserError as error:
        return Outcome(None, str(error))
    return None if result is None else Outcome(result)


def tell_end(heed: Heed | None, place: int, outcome: Outcome) -> None:
    """Tell how a run ended."""
    if heed is not None:
        heed(place, ("failed", outcome.failure) if outcome.failure else ("finished", outcome.result))


def _start(process: BaseProcess) -> None:
    """Start a process that Ctrl-C does not reach: the one that started it ends it, so that none speaks out of turn."""
    resource_tracker.ensure_running()  # else it would be started below, and lift the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _receive(reader: Connection, process: BaseProcess) -> tuple[Outcome | None, tuple[Any, ...]]:
    """A message, and the outcome where it is the last one."""
    try:
        message: tuple[Any, ...] = reader.recv()
    except (EOFError, OSError):
        process.join()
        code = process.exitcode
        how = f"was killed by signal {-code}, perhaps for lack of memory" if code and code < 0 else f"ended with {code}"
        return Outcome(None, f"Its process {how}. Run the same command again to go on."), ()
    if message[0] == "finished":
        return Outcome(message[1]), ()
    if message[0] == "failed":
        return Outcome(None, message[1]), ()
    return None, message


def _work(writer: Connection, plan: Plan, threads: int, slot: int, again: bool) -> None:
    """One run, in its own process."""
    end_with_parent()
    torch.set_num_threads(threads)
    if plan.config.device == "cuda":
        torch.cuda.set_device(slot % torch.cuda.device_count())
    try:
        writer.send(("finished", execute(plan, Messages(_Pipe(writer)), again=again)))
    except UserError as error:
        writer.send(("failed", str(error)))
    except BrokenPipeError:
        pass  # whoever started this is gone; the run goes on from its last epoch when it is asked for again
