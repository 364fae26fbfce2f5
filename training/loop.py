"""One epoch of training and one evaluation, for any method."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.utils.deterministic
from torch import Tensor

from ..core.errors import UserError
from ..core.streams import stream_seed
from ..models.methods import Method
from ..models.methods.base import images_at_once
from .accelerate import arithmetic, new_step
from .feed import Feed

CHECK_EVERY = 50
"""Steps between looks at the losses on a GPU, where a look waits for the device; on a CPU every step is looked at."""

StepCallback = Callable[[int, float], None]


class TrainingDiverged(UserError):
    """A loss became NaN or infinite."""


def train_epoch(
    method: Method,
    feed: Feed,
    *,
    seed: int,
    epoch: int,
    batch_size: int,
    on_step: StepCallback | None = None,
    weights: np.ndarray[Any, Any] | None = None,
    compiled: str = "no",
) -> dict[str, float]:
    """Train one epoch; returns the mean of each loss over its steps.

    The random state of torch is set from (seed, epoch), so that an epoch repeats exactly wherever a run resumed; the
    same one in all processes that train together, since each draws the whole batch's numbers.

    Args:
        method: updated in place.
        feed: the training images.
        seed: of the run.
        epoch: counted from 0.
        batch_size: images per step, those of all processes together.
        on_step: called with steps done in this epoch and the latest loss, every `CHECK_EVERY` steps on a GPU.
        weights: how often each sample is to be drawn; see `Feed.epoch`.
        compiled: how the method's networks are compiled; see `compile_networks`.

    Raises:
        TrainingDiverged: a loss is not finite; says at which step.
    """
    torch.manual_seed(stream_seed(seed, "training", epoch))
    method.start_epoch(epoch)
    every = 1 if feed.device.type == "cpu" else CHECK_EVERY
    sums: dict[str, float] = {}
    pending: list[dict[str, Tensor]] = []
    step = 0
    peers = method.peers
    for batch in feed.epoch(seed, epoch, batch_size, weights, rank=peers.rank, size=peers.size):
        new_step(compiled)
        pending.append(method.update(batch))
        step += 1
        if len(pending) == every:
            latest = _collect(pending, sums, epoch, step)
            if on_step is not None:
                on_step(step, latest)
    if pending:
        _collect(pending, sums, epoch, step)
    return {name: total / step for name, total in sums.items()}


def _collect(pending: list[dict[str, Tensor]], sums: dict[str, float], epoch: int, step: int) -> float:
    """Fetch the pending losses, add them to the sums and empty the list; returns the latest `loss`."""
    names = list(pending[0])
    values = torch.stack([torch.stack([scalars[name] for name in names]) for scalars in pending]).tolist()
    first = step - len(pending)
    pending.clear()
    for offset, row in enumerate(values):
        for name, value in zip(names, row, strict=True):
            if not math.isfinite(value):
                raise TrainingDiverged(
                    f"The {name} became {value} at step {first + offset + 1} of epoch {epoch + 1}. The checkpoint of "
                    "the epoch before is kept. A smaller learning_rate or lambda may help (--set learning_rate=…)."
                )
            sums[name] = sums.get(name, 0.0) + value
    latest: float = dict(zip(names, values[-1], strict=True))["loss"]
    return latest


def check_weights(method: Method, epoch: int) -> None:
    """Refuse weights that the epoch's last step has spoilt after its losses were computed.

    Raises:
        TrainingDiverged: a parameter is not finite.
    """
    for name, network in method.networks.items():
        if not all(bool(parameter.isfinite().all()) for parameter in network.parameters()):
            raise TrainingDiverged(
                f"The weights of the {name} are no longer finite after epoch {epoch + 1}. The checkpoint of the epoch "
                "before is kept. A smaller learning_rate or lambda may help (--set learning_rate=…)."
            )


def predictions(method: Method, feed: Feed) -> tuple[dict[str, Any], dict[str, Any]]:
    """Predictions for all images of a feed, in order: by task, and by label set where the method has a head a set.
    They are computed in fp32, whatever the training steps were.

    Returns:
        Two dicts of N×K probabilities or N×2 values, as NumPy arrays.
    """
    tasks: dict[str, list[Tensor]] = {}
    sets: dict[str, list[Tensor]] = {}
    with torch.inference_mode(), arithmetic("fp32", method.device):
        for batch in feed.in_order(images_at_once(feed.images.shape[1])):
            by_task, by_set = method.predict_with_sets(batch.images)
            for store, found in ((tasks, by_task), (sets, by_set)):
                for name, value in found.items():
                    store.setdefault(name, []).append(value.float())
    return _arrays(tasks), _arrays(sets)


def _arrays(parts: dict[str, list[Tensor]]) -> dict[str, np.ndarray[Any, Any]]:
    return {name: torch.cat(tensors).cpu().numpy() for name, tensors in parts.items()}


@contextmanager
def repeatable() -> Iterator[None]:
    """Ask torch for deterministic kernels inside the block; warns where a device has none for an operation."""
    before = torch.are_deterministic_algorithms_enabled()
    warn_before = torch.is_deterministic_algorithms_warn_only_enabled()
    fill_before = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    # cuBLAS reads this when it starts, and repeats its sums only with a fixed workspace
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    # no code here reads memory it has not written, so filling every new tensor would only cost time
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_before)
        torch.utils.deterministic.fill_uninitialized_memory = fill_before  # type: ignore[attr-defined]
