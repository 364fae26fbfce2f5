"""Several processes that share every batch learn what one process with the whole batch learns."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from method_builders import AFFECT, CLASSES, EXPRESSION, build, flat, make_batch
from noisyfer.benchmark.run import Plan, _train_together, execute, plan_run
from noisyfer.core.errors import UserError
from noisyfer.manifest import Labels, Manifest
from noisyfer.models.methods import METHODS, Batch, LabelSetSpec, Method, classifier, proposed
from noisyfer.models.networks.shared import BatchNorm2d, Dropout
from noisyfer.models.peers import ALONE, Peers
from noisyfer.models.set_rates import ASSUMED_RATE, LATEST_EPOCH
from noisyfer.training.accelerate import arithmetic
from noisyfer.training.augment import AUGMENTATIONS
from noisyfer.training.data import SplitData
from noisyfer.training.feed import Feed
from noisyfer.training.loop import TrainingDiverged
from noisyfer.training.parallel import _begin, _told, check_devices, check_strategy, launch
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessException

STEPS = 3
FIRST = LATEST_EPOCH
"""The epoch of the first step: by then losses tell a rate."""
ROWS = 16
KINDS = (torch.float64, torch.float32)
CASES: dict[str, tuple[str, tuple[LabelSetSpec, ...], dict[str, Any]]] = {
    "vgg-all": ("vgg-all", (CLASSES[0], CLASSES[1], AFFECT), {}),
    "proposed": ("proposed", (EXPRESSION, AFFECT), {"start_epoch": FIRST + 1}),
    # λ hangs on slopes at all processes' rows, and on a noise rate that each works out
    "balanced": (
        "proposed",
        (EXPRESSION, AFFECT),
        {"start_epoch": FIRST + 1, "lambda_rule": "balance", "balance_ratio": 0.1},
    ),
}
TINY = {"train_images": 96, "test_images": 40, "agreement_images": 40, "batch_size": 32, "epochs": 3}


def uneven(batch: Batch) -> Batch:
    """Labels are missing in other numbers in the two halves, so that no mean of the halves' means is the whole's."""
    rows = torch.arange(len(batch.images))
    masks = {name: (rows + number) % 4 > rows // (ROWS // 2) for number, name in enumerate(batch.labels)}
    return dataclasses.replace(batch, masks=masks)


def steps(method: Method, peers: Peers | None = None) -> list[dict[str, float]]:
    """A few updates, each with this process's rows; the losses they told."""
    told = []
    torch.manual_seed(11)
    for step in range(STEPS):
        method.start_epoch(FIRST + step)
        batch = uneven(make_batch(method.problem.label_sets, ROWS, seed=step))
        if peers is not None:
            batch = Batch(
                peers.own(batch.images),
                {name: peers.own(values) for name, values in batch.labels.items()},
                {name: peers.own(mask) for name, mask in batch.masks.items()},
                peers.own(batch.indices),
            )
        told.append({name: value.item() for name, value in method.update(batch).items()})
    return told


def built(name: str) -> Method:
    """Of the current default precision; the adversarial part begins with the second step, and attention is on."""
    kind, sets, settings = CASES[name]
    method = build(kind, sets, **settings)
    for network in method.networks.values():
        network.to(torch.get_default_dtype())
    if kind == "proposed":
        with torch.no_grad():
            method.networks["discriminator"].image.blocks[1].gain.fill_(0.4)  # type: ignore[union-attr,index]
    head = method.networks["classifier"].head if kind == "vgg-all" else method.networks["encoder"].labels
    with torch.no_grad():
        head.weight[-2:].mul_(40)  # type: ignore[union-attr,operator,index]  # values beyond [-1, 1]
    return method


@contextmanager
def precision(kind: torch.dtype) -> Iterator[None]:
    """All numbers of this kind; the package's own unit_images would round to float32."""
    before = classifier.unit_images
    try:
        torch.set_default_dtype(kind)
        for module in (classifier, proposed):
            module.unit_images = lambda images: images.to(kind) / 127.5 - 1
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        for module in (classifier, proposed):
            module.unit_images = before


def learn(peers: Peers, device: torch.device, channel: Any, whole: Plan) -> None:
    layer = BatchNorm2d(3)
    layer.peers = peers
    channel.put(("batch norm", peers.rank, normalised(layer, peers)))
    for name in CASES:
        for kind in KINDS:
            with precision(kind):
                method = built(name)
                method.join(peers)
                told = steps(method, peers)
            channel.put(((name, kind), peers.rank, (told, as_arrays(method.state_dict()))))
    method = built("proposed")
    method.join(peers)
    with arithmetic("bf16", device):
        told = steps(method, peers)
    channel.put((("proposed", "autocast"), peers.rank, told))
    _train_together(peers, device, channel, whole)


def as_arrays(state: Any) -> dict[str, Any]:
    return {key: value.numpy() for key, value in flat(state).items() if isinstance(value, Tensor)}


@pytest.fixture(scope="module")
def learned(digits_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Any]:
    """By method and precision, what each of two processes told and is left with; and a whole run.

    All in one launch, since starting processes takes seconds.
    """
    found: dict[Any, Any] = {"run": plan(digits_manifest, tmp_path_factory.mktemp("whole"), 2)}

    def heed(message: Any) -> None:
        if not isinstance(message[0], str) or message[0] == "batch norm":  # the run speaks too
            what, rank, values = message
            found.setdefault(what, {})[rank] = values

    launch(learn, (found["run"],), 2, "cpu", heed)
    return found


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("name", list(CASES))
def test_two_processes_with_half_a_batch_are_one_with_the_whole(name: str, kind: torch.dtype, learned: Any) -> None:
    """Parameters, Adam's moments, running statistics, power iterations' vectors and losses; dropout is on."""
    assert METHODS[CASES[name][0]].parallel
    with precision(kind):
        start = as_arrays(built(name).state_dict())
        method = built(name)
        told, state = steps(method), as_arrays(method.state_dict())
    (first_told, first), (second_told, second) = (learned[name, kind][rank] for rank in range(2))
    assert first_told == second_told
    assert all(abs(1 - row["similarity"]) > 1e-4 for row in told)  # or nothing would be seen of the CCC
    assert all(row["out_of_range"] > 1e-3 for row in told)
    assert name != "balanced" or ASSUMED_RATE != told[-1]["noise_rate"] > 0
    for step, (one, two) in enumerate(zip(told, first_told, strict=True)):
        # in float32 what rounding did to the first steps of Adam is seen in the losses of the later ones
        close = 1e-9 if kind is torch.float64 else 1e-5 if step == 0 else 2e-3
        assert one == pytest.approx(two, rel=close, abs=close), step
    assert state.keys() == first.keys() == second.keys()
    room = 1e-9 if kind is torch.float64 else STEPS * method.config.learning_rate
    gaps = {}
    for key, value in state.items():
        np.testing.assert_array_equal(first[key], second[key], err_msg=key)
        gaps[key] = np.abs(first[key] - value)
        assert gaps[key].max() <= room, key
    # Adam divides by the root of the squared gradient: where that is nothing but rounding, as of biases in front of
    # batch norm, a number moves by whole steps either way; most do not
    assert np.concatenate([gap.ravel() for gap in gaps.values()]).mean() <= 1e-3 * room
    moved = [key for key in state if key.startswith("/networks/") and not np.array_equal(state[key], start[key])]
    assert any("running_var" in key for key in moved) == (name != "vgg-all")


def test_processes_share_batches_under_autocast(learned: Any) -> None:
    """Batch norm meets bf16 features there; its statistics and running ones are in fp32, as torch's own are."""
    with arithmetic("bf16", torch.device("cpu")):
        told = steps(built("proposed"))
    first, second = (learned["proposed", "autocast"][rank] for rank in range(2))
    assert first == second
    for one, other in zip(told, first, strict=True):
        assert other == pytest.approx(one, rel=0.05, abs=0.03)


def test_batch_norm_of_half_floats_has_statistics_in_fp32() -> None:
    halves, layer, plain = features().bfloat16(), BatchNorm2d(3), nn.BatchNorm2d(3)
    layer.peers = Twin()  # type: ignore[assignment]
    result, expected = layer(halves), plain(halves.float())
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result.float(), expected, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(layer.running_mean, plain.running_mean)


class Twin:
    """One of two processes that have the same rows."""

    rank, size = 0, 2

    def average(self, values: Tensor) -> Tensor:
        return values


def normalised(layer: nn.BatchNorm2d, peers: Peers) -> list[Any]:
    """Result, gradients and running statistics of this process's rows."""
    images = peers.own(features()).clone().requires_grad_()
    result = layer(images)
    (result * peers.own(weights())).sum().backward()
    peers.add_gradients(layer.parameters())
    found = [result, images.grad, layer.weight.grad, layer.bias.grad, *layer.buffers()]
    return [value.detach().numpy() for value in found]


def features() -> Tensor:
    # a mean far from 0, where E[x²] − E[x]² would have few digits left
    source = torch.Generator().manual_seed(2)
    return torch.randn(6, 3, 4, 4, generator=source) * torch.arange(1, 7)[:, None, None, None] + 300


def weights() -> Tensor:
    return torch.randn(6, 3, 4, 4, generator=torch.Generator().manual_seed(3))


def test_batch_norm_knows_the_whole_batch(learned: Any) -> None:
    first, second = (learned["batch norm"][rank] for rank in range(2))
    expected = normalised(nn.BatchNorm2d(3), ALONE)
    joined = [np.concatenate(parts) for parts in zip(first[:2], second[:2], strict=True)]
    for one, other in zip([*joined, *first[2:], *joined, *second[2:]], expected * 2, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


class Share:
    """One of two processes, as far as its part of the rows goes."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size

    def own(self, whole: Tensor, dim: int = 0) -> Tensor:
        return whole.chunk(self.size, dim)[self.rank]


def test_dropout_of_a_share_is_that_of_the_whole() -> None:
    whole = torch.ones(8, 50)
    torch.manual_seed(4)
    expected = Dropout(0.3)(whole)
    parts = []
    for rank in range(4):
        layer = Dropout(0.3)
        layer.peers = Share(rank, 4)  # type: ignore[assignment]
        torch.manual_seed(4)
        parts.append(layer(layer.peers.own(whole)))
        assert torch.equal(layer.eval()(whole), whole)
    assert torch.equal(torch.cat(parts), expected)
    assert 0 < (expected == 0).sum() < expected.numel()


@pytest.mark.parametrize("augment", list(AUGMENTATIONS))
def test_the_shares_of_a_feed_are_its_batches(augment: str) -> None:
    draw = np.random.default_rng(0)
    labels = {"class_a": Labels(draw.integers(0, 3, 45), draw.integers(0, 2, 45).astype(bool))}
    data = SplitData(draw.integers(0, 256, (45, 32, 32, 3), dtype=np.uint8), labels)
    feed = Feed(data, torch.device("cpu"), augment=augment)
    whole = list(feed.epoch(3, 1, 12))
    shares = [list(feed.epoch(3, 1, 12, rank=rank, size=2)) for rank in range(2)]
    assert [len(batch.indices) for batch in whole] == [12, 12, 12, 9]
    assert Feed.steps(45, 12, 2) == len(shares[0]) == len(shares[1]) == 4
    for number, batch in enumerate(whole):
        halves = [share[number] for share in shares]
        kept = len(batch.indices) // 2 * 2
        assert torch.equal(torch.cat([half.indices for half in halves]), batch.indices[:kept])
        for field in ("labels", "masks"):
            joined = torch.cat([getattr(half, field)["class_a"] for half in halves])
            assert torch.equal(joined, getattr(batch, field)["class_a"][:kept])
        if kept == len(batch.indices):  # of a batch that is cut other numbers are drawn
            assert torch.equal(torch.cat([half.images for half in halves]), batch.images)


def test_a_last_batch_that_is_too_small_to_share_is_left_out() -> None:
    data = SplitData(np.zeros((26, 32, 32, 3), np.uint8), {})
    feed = Feed(data, torch.device("cpu"))
    for size, expected in ((1, 4), (2, 4), (4, 3)):
        assert Feed.steps(26, 8, size) == expected
        assert len(list(feed.epoch(0, 0, 8, rank=size - 1, size=size))) == expected


class Onlooker:
    def __init__(self, interrupt_at: tuple[int, int] | None = None) -> None:
        self.interrupt_at = interrupt_at
        self.epochs: list[int] = []
        self.resumed_after: int | None = None

    def started(self, plan: Plan, epochs_done: int) -> None:
        self.resumed_after = epochs_done

    def decoding(self, split: str, done: int, total: int) -> None: ...

    def step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        if (epoch, step) == self.interrupt_at:
            raise KeyboardInterrupt

    def epoch(self, row: Any) -> None:
        self.epochs.append(row["epoch"])


def plan(manifest: Path, out: Path, devices: int, method: str = "proposed", **changes: Any) -> Plan:
    opened = Manifest.open(manifest)
    changes = {**TINY, "augment": "crop-flip", **changes}
    return plan_run(opened, method, preset="smoke", out=out, changes=changes, devices=devices)


def losses(planned: Plan) -> list[dict[str, Any]]:
    return [json.loads(line)["losses"] for line in planned.folder.metrics.read_text().splitlines()]


def test_a_run_stops_and_goes_on_with_any_number_of_processes(
    digits_manifest: Path, tmp_path: Path, learned: Any
) -> None:
    """Two processes, stopped, then two: as two from start to end; two, stopped, then one: the same up to rounding."""
    whole: Plan = learned["run"]
    broken = plan(digits_manifest, tmp_path / "two", 2)
    with pytest.raises(KeyboardInterrupt):
        execute(broken, Onlooker(interrupt_at=(2, 1)))
    assert not multiprocessing.active_children()
    assert not broken.folder.result.exists()
    shutil.copytree(tmp_path / "two", tmp_path / "one")
    for devices, out in ((2, "two"), (1, "one")):
        gone_on = plan(digits_manifest, tmp_path / out, devices)
        # how many processes is no part of a run's name
        assert gone_on.folder.path.name == broken.folder.path.name == whole.folder.path.name
        second = Onlooker()
        result = execute(gone_on, second)
        assert second.resumed_after in (1, 2)  # a message is heard a little after its step
        assert second.epochs == list(range(second.resumed_after + 1, 4))
        assert execute(gone_on, Onlooker()) == result  # read, not run again
        # of the process that began it
        assert json.loads(gone_on.folder.config.read_text())["machine"]["devices"] == 2
        if devices == 2:
            assert losses(gone_on) == losses(whole)
            continue
        for one, other in zip(losses(gone_on), losses(whole), strict=True):
            assert one == pytest.approx(other, rel=1e-2, abs=1e-2)


def die_in_the_second(peers: Peers, device: torch.device, channel: Any) -> None:
    if peers.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    peers.wait()


def test_a_process_that_is_killed_ends_all_with_a_sentence() -> None:
    with pytest.raises(UserError, match=r"SIGKILL|Process 1 of 2 failed"):  # whichever is noticed first
        launch(die_in_the_second, (), 2, "cpu", lambda _: None)
    assert not multiprocessing.active_children()
    assert not {"LOCAL_RANK", "MASTER_PORT"} & set(os.environ)  # or the next launch would take them for its own


@pytest.mark.parametrize("error", [ZeroDivisionError("by zero"), TrainingDiverged("The loss became nan.")], ids=repr)
def test_the_error_of_a_process_is_told_as_a_sentence(error: Exception) -> None:
    fabric: Any = SimpleNamespace(global_rank=1, world_size=2, device=torch.device("cpu"))
    channel: Any = SimpleNamespace(items=[])
    channel.put = channel.items.append

    def fail(*_: Any) -> None:
        raise error

    with pytest.raises(type(error)):
        _begin(fabric, channel=channel, threads=1, work=fail, arguments=())
    told = _told([ProcessException("the first to be noticed", 0, 1), channel.items[0].error])
    if isinstance(error, UserError):
        assert (type(told), str(told)) == (TrainingDiverged, "The loss became nan.")
    else:
        assert (type(told), str(told)) == (UserError, "Process 2 of 2 failed (ZeroDivisionError: by zero).")


def test_what_cannot_be_shared_is_refused(
    digits_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="batch_size is 32, which 3 devices cannot share equally"):
        plan(digits_manifest, tmp_path, 3)
    with pytest.raises(UserError, match="--devices is 0; at least 1"):
        plan(digits_manifest, tmp_path, 0)
    with pytest.raises(UserError, match=r"no strategy 'fsdp' here; choose one of auto, ddp, ddp_spawn\.$"):
        check_strategy("fsdp")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="--devices is 2 and torch sees 1 GPUs"):
        check_devices(2, "cuda")
    monkeypatch.setattr(METHODS["vgg-all"], "parallel", False)
    with pytest.raises(UserError, match="vgg-all cannot train on several devices; these can: "):
        plan(digits_manifest, tmp_path, 2, "vgg-all")
