"""Several processes, a device each, that train one method together: started and connected by Lightning Fabric."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.distributed
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessException

from ..core.errors import UserError, first_line
from ..core.processes import end_with_parent

if TYPE_CHECKING:
    from lightning_fabric import Fabric

STRATEGIES = ("auto", "ddp", "ddp_spawn")
"""Names for one strategy: a process a device, each with all weights and its rows of every batch (data parallel).

Fabric's `ddp` starts the command line anew for each device, and would repeat all that comes before training; its
`ddp_fork` copies a process that has threads and perhaps a GPU, which neither survives; sharded strategies wrap networks
and do not fit losses over the whole batch. So the processes are always spawned.
"""

BUFFER = 2**24
"""Numbers that are added up over processes in one message, at most: 64 MiB of float32."""

PATIENCE = timedelta(days=1)
"""How long a process waits for another, which may be scoring a large test split; a failed one ends all at once."""


class Channel(Protocol):
    """What the processes write to; the process that started them reads."""

    def put(self, item: Any) -> None:
        """Write one item."""


class FabricPeers:
    """`models.peers.Peers` over the process group that Fabric made."""

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.rank: int = fabric.global_rank
        self.size: int = fabric.world_size

    def own(self, whole: Tensor, dim: int = 0) -> Tensor:
        """This process's rows of a whole batch."""
        count = whole.shape[dim] // self.size
        return whole.narrow(dim, self.rank * count, count)

    def gather(self, rows: Tensor) -> Tensor:
        """All processes' rows, in the order of their ranks."""
        gathered: Tensor = _Gather.apply(rows, self.rank, self.size)
        return gathered

    def average(self, values: Tensor) -> Tensor:
        """Mean over processes."""
        averaged: Tensor = _Average.apply(values, self.size)
        return averaged

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up gradients over processes, many of them in one message."""
        waiting: list[Tensor] = []
        for parameter in parameters:
            if parameter.grad is None:
                continue
            waiting.append(parameter.grad)
            if sum(gradient.numel() for gradient in waiting) >= BUFFER:
                _add_up(waiting)
                waiting = []
        if waiting:
            _add_up(waiting)

    def wait(self) -> None:
        """Return when all processes have come here."""
        self.fabric.barrier()


def _add_up(gradients: list[Tensor]) -> None:
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    torch.distributed.all_reduce(flat)
    parts = flat.split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view(gradient.shape))


# torch.distributed.nn.functional has differentiable collectives too, but they are deprecated, and their all_gather adds
# up the gradients of all processes' losses, which here are one and the same loss


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, rank: int, size: int) -> Tensor:
        ctx.place = rank * len(rows), len(rows)
        rows = rows.contiguous()
        parts = [torch.empty_like(rows) for _ in range(size)]
        torch.distributed.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0].narrow(0, *ctx.place), None, None


class _Average(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, size: int) -> Tensor:
        ctx.size = size
        return _mean_over_processes(values, size)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return _mean_over_processes(gradients[0], ctx.size), None


def _mean_over_processes(values: Tensor, size: int) -> Tensor:
    total = values.clone(memory_format=torch.contiguous_format)
    torch.distributed.all_reduce(total)
    return total.div_(size)


def check_strategy(strategy: str) -> None:
    """Refuse a strategy that this package's losses do not allow.

    Raises:
        UserError: says which there are.
    """
    if strategy not in STRATEGIES:
        raise UserError(f"There is no strategy '{strategy}' here; choose one of {', '.join(STRATEGIES)}.")


def check_devices(devices: int, device: str) -> None:
    """Refuse a number of devices that cannot be had here.

    Raises:
        UserError: says how many can.
    """
    if devices < 1:
        raise UserError(f"--devices is {devices}; at least 1 was expected.")
    if device == "cuda" and devices > torch.cuda.device_count():
        raise UserError(f"--devices is {devices} and torch sees {torch.cuda.device_count()} GPUs here; choose fewer.")


def launch(
    work: Callable[..., None], arguments: tuple[Any, ...], devices: int, device: str, heed: Callable[[Any], None]
) -> None:
    """Do a piece of work in several processes at once, each with `work(peers, device, channel, *arguments)`.

    Args:
        work: a function at the top of a module, since the processes are spawned.
        arguments: what pickles.
        devices: how many processes.
        device: `cpu` or `cuda`; on a CPU the processes share this process's compute threads.
        heed: called here, from another thread, with each item that `work` puts into its channel.

    Raises:
        UserError: one of the processes failed; all have ended.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy

    context = multiprocessing.get_context("spawn")
    channel = context.SimpleQueue()
    failures: list[BaseException] = []
    done = threading.Event()
    strategy = DDPStrategy(start_method="spawn", timeout=PATIENCE)
    with _environment(), _no_child_left() as end_children:
        listener = threading.Thread(target=_listen, args=(channel, done, heed, failures, end_children), daemon=True)
        # LightningEnvironment outright: what a batch system's variables say is meant for another way to start
        fabric = Fabric(accelerator=device, devices=devices, strategy=strategy, plugins=[LightningEnvironment()])
        listener.start()
        threads = max(1, torch.get_num_threads() // devices)
        try:
            # bound beforehand, since Fabric looks for networks in arguments and refuses frozen dataclasses there
            fabric.launch(partial(_begin, channel=channel, threads=threads, work=work, arguments=arguments))
        except ProcessException as error:
            failures.append(error)
        finally:
            done.set()
            listener.join(timeout=10)  # a process that was ended while it wrote leaves half an item
    if failures:
        raise _told(failures)


def _begin(fabric: Fabric, channel: Any, threads: int, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """In each process: do the work, and tell an error before the others notice that this one is gone."""
    end_with_parent()
    torch.set_num_threads(threads)
    try:
        work(FabricPeers(fabric), fabric.device, channel, *arguments)
        fabric.barrier()
    except Exception as error:
        sentence = f"Process {fabric.global_rank + 1} of {fabric.world_size} failed ({type(error).__name__}: "
        channel.put(_Failure(_portable(error) or UserError(f"{sentence}{first_line(error)}).")))
        raise
    torch.distributed.destroy_process_group()


class _Failure:
    def __init__(self, error: UserError) -> None:
        self.error = error


def _portable(error: Exception) -> UserError | None:
    """The error itself where it is a sentence that can travel between processes."""
    if not isinstance(error, UserError):
        return None
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  (written in the line itself)
    except Exception:
        return UserError(str(error))
    return error


def _listen(
    channel: Any,
    done: threading.Event,
    heed: Callable[[Any], None],
    failures: list[BaseException],
    end_children: Callable[[], None],
) -> None:
    while True:
        if channel.empty():
            if done.wait(0.02) and channel.empty():
                return
            continue
        item = channel.get()
        if isinstance(item, _Failure):
            failures.append(item.error)
            continue
        try:
            heed(item)
        except BaseException as error:  # such as a KeyboardInterrupt of someone who looks on; raised in `launch`
            failures.append(error)
            end_children()


def _told(failures: list[BaseException]) -> BaseException:
    """The first error that explains itself; the others are its consequences."""
    for error in failures:
        if not isinstance(error, ProcessException):
            return error
    last = str(failures[0]).strip().splitlines()[-1:] or [type(failures[0]).__name__]  # of a traceback, what went wrong
    return UserError(f"A training process ended before its time ({last[0].rstrip('.')}).")


@contextmanager
def _environment() -> Iterator[None]:
    """Give back the variables that Fabric sets, so that a later launch gets a port of its own."""
    before = dict(os.environ)
    for name in ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        os.environ.pop(name, None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _no_child_left() -> Iterator[Callable[[], None]]:
    """After an error inside the block, end the processes that it started: one that waits would wait forever."""
    before = set(multiprocessing.active_children())

    def end_children() -> None:
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()

    try:
        yield end_children
    except BaseException:
        end_children()
        for child in set(multiprocessing.active_children()) - before:
            child.join(timeout=10)
        raise
