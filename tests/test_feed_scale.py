"""The feed where data is large: an order in blocks, nothing copied, pages asked for ahead, staging for a GPU."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from allocation import peak_allocation
from hypothesis import given
from hypothesis import strategies as st
from noisyfer.benchmark.run import plan_run
from noisyfer.core.errors import UserError
from noisyfer.core.streams import rng
from noisyfer.manifest import Labels, Manifest
from noisyfer.training import shuffle
from noisyfer.training.data import SplitData
from noisyfer.training.feed import Feed
from noisyfer.training.shuffle import BLOCK_BYTES, BUFFER_BYTES, ReadAhead, block_order, chosen_shuffle, mapping
from noisyfer.training.staging import BUFFERS, Staging
from torch import Tensor

CPU = torch.device("cpu")
FACE = 64 * 64 * 3


@pytest.fixture
def mapped(tmp_path: Path) -> Any:
    """600 images of 8 px in a file, each filled with its number (mod 251)."""
    images = np.broadcast_to((np.arange(600) % 251).astype(np.uint8)[:, None, None, None], (600, 8, 8, 3))
    np.save(tmp_path / "images.npy", images)
    return np.load(tmp_path / "images.npy", mmap_mode="r")


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 5 images of 8 px, windows of 8 blocks."""
    monkeypatch.setattr(shuffle, "BLOCK_BYTES", 5 * 192 + 100)
    monkeypatch.setattr(shuffle, "BUFFER_BYTES", 2 * 8 * 5 * 192)


# ---- the order


@given(st.integers(1, 3000), st.sampled_from([1000, 300_000, 3 * BLOCK_BYTES]), st.integers(0, 9))
def test_blocks_visit_every_position_once_and_never_hold_more_than_the_buffer(
    count: int, row_bytes: int, seed: int
) -> None:
    plan = block_order(count, row_bytes, rng(seed, "epoch", 0))
    assert np.array_equal(np.sort(plan.order), np.arange(count))
    assert np.array_equal(np.sort(plan.blocks), np.arange(-(-count // plan.rows)))
    # a window being drawn from and one being read for later
    assert plan.rows * row_bytes <= max(BLOCK_BYTES, row_bytes)
    assert 2 * plan.window * plan.rows * row_bytes <= max(BUFFER_BYTES, 2 * row_bytes)
    rest = plan.order
    for first in range(0, len(plan.blocks), plan.window):
        members = set(plan.blocks[first : first + plan.window].tolist())
        length = sum(min(count, (block + 1) * plan.rows) - block * plan.rows for block in members)
        assert set((rest[:length] // plan.rows).tolist()) == members
        rest = rest[length:]
    assert not len(rest)


def test_the_order_in_blocks_follows_seed_and_epoch_alone(mapped: Any, small_blocks: None) -> None:
    def order(seed: int, epoch: int, batch_size: int = 7, size: int = 1) -> list[int]:
        feed = Feed(SplitData(mapped, {}), CPU, shuffle="blocks")
        shares = [list(feed.epoch(seed, epoch, batch_size, rank=rank, size=size)) for rank in range(size)]
        return [index for step in zip(*shares, strict=True) for share in step for index in share.indices.tolist()]

    assert order(1, 2) == order(1, 2, 10) == order(1, 2, 6, size=2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)
    assert sorted(order(1, 2, 8)) == list(range(600))


def test_blocks_mix_as_well_as_a_full_shuffle_does_within_their_noise() -> None:
    count = 60_000  # 706 blocks of 85 faces in six windows
    plan = block_order(count, FACE, rng(0, "epoch", 0))
    assert len(plan.blocks) > 5 * plan.window
    # with 706 blocks at random in place of single images the correlation has a standard deviation of 0.038
    assert abs(np.corrcoef(np.arange(count), plan.order)[0, 1]) < 0.15
    neighbours = np.abs(np.diff(plan.order)) == 1
    assert neighbours.mean() < 1e-3
    # a split sorted by eight classes: in every batch of 64 each class has its eighth, give or take
    shares = np.stack(
        [np.bincount(batch // (count // 8 + 1), minlength=8) for batch in np.split(plan.order[:57_600], 900)]
    )
    assert np.abs(shares.mean(axis=0) - 8).max() < 0.5
    assert shares.std() < 2 * np.sqrt(64 / 8 * 7 / 8)
    later = block_order(count, FACE, rng(0, "epoch", 1))
    together = {frozenset(pair) for pair in zip(plan.blocks[:-1].tolist(), plan.blocks[1:].tolist(), strict=True)}
    again = {frozenset(pair) for pair in zip(later.blocks[:-1].tolist(), later.blocks[1:].tolist(), strict=True)}
    assert len(together & again) < 10


def test_weights_draw_from_everything(mapped: Any, small_blocks: None) -> None:
    weights = np.where(np.arange(600) % 100 == 7, 1.0, 0.0)
    (batch,) = Feed(SplitData(mapped, {}), CPU, shuffle="blocks").epoch(0, 0, 600, weights)
    assert set(batch.indices.tolist()) == set(range(7, 600, 100))


def test_blocks_of_chosen_rows_are_blocks_of_their_positions(mapped: Any, small_blocks: None) -> None:
    rows = np.arange(0, 600, 3)
    batches = list(Feed(SplitData(mapped, {}), CPU, rows=rows, shuffle="blocks").epoch(0, 0, 16))
    indices = torch.cat([batch.indices for batch in batches])
    assert sorted(indices.tolist()) == list(range(200))
    assert torch.equal(torch.cat([batch.images[:, 0, 0, 0] for batch in batches]).long(), indices * 3 % 251)


def test_an_unknown_shuffle_is_answered_with_all(mapped: Any) -> None:
    with pytest.raises(UserError, match="full"):
        Feed(SplitData(mapped, {}), CPU, shuffle="block")


# ---- pages


class Asked(mmap.mmap):
    """A memory map that writes down what it is advised."""

    def madvise(self, option: int, start: int = 0, length: int | None = None) -> None:
        self.__dict__.setdefault("advice", []).append((option, start, length))
        super().madvise(option, start, length) if length else super().madvise(option)


@pytest.fixture
def asked(tmp_path: Path) -> Any:
    """600 images of 64 px in a file, behind a memory map that writes down what it is advised; and the map."""
    file = tmp_path / "faces.npy"
    np.save(file, np.zeros((600, 64, 64, 3), np.uint8))
    offset = file.stat().st_size - 600 * FACE
    with file.open("rb") as opened:
        made = Asked(opened.fileno(), 0, access=mmap.ACCESS_READ)
    return np.ndarray((600, 64, 64, 3), np.uint8, buffer=made, offset=offset), made, offset


def pages(begin: int, end: int) -> set[int]:
    return set(range(begin // mmap.PAGESIZE, -(-end // mmap.PAGESIZE)))


def test_what_is_drawn_was_asked_for_before_and_not_more_than_a_window_ahead(
    asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, made, offset = asked
    monkeypatch.setattr(shuffle, "BLOCK_BYTES", 10 * FACE)
    monkeypatch.setattr(shuffle, "BUFFER_BYTES", 2 * 8 * 10 * FACE)
    feed, drawn = Feed(SplitData(images[:], {}), CPU, shuffle="blocks"), 0
    for batch in feed.epoch(0, 0, 16):
        requested = [(start, start + length) for kind, start, length in made.advice if kind == mmap.MADV_WILLNEED]
        known = set().union(*(pages(*place) for place in requested))
        for row in batch.indices.tolist():
            assert pages(offset + row * FACE, offset + (row + 1) * FACE) <= known
        assert sum(end - begin for begin, end in requested) < (drawn + 90) * FACE + 62 * mmap.PAGESIZE
        drawn += len(batch.indices)
    assert drawn == 600
    assert all(end <= len(made) for _, end in requested)
    assert made.advice[0][0] == mmap.MADV_RANDOM
    assert made.advice[-1][0] == mmap.MADV_NORMAL


def test_an_epoch_that_is_left_gives_the_systems_own_reading_ahead_back(asked: Any) -> None:
    images, made, _ = asked
    batches = Feed(SplitData(images, {}), CPU, shuffle="blocks").epoch(0, 0, 16)
    next(batches)
    assert made.advice[-1][0] != mmap.MADV_NORMAL
    batches.close()  # type: ignore[attr-defined]
    assert made.advice[-1][0] == mmap.MADV_NORMAL


def test_a_full_shuffle_and_images_in_memory_are_given_no_advice(asked: Any) -> None:
    images, made, _ = asked
    list(Feed(SplitData(images, {}), CPU).epoch(0, 0, 64))
    assert "advice" not in made.__dict__
    held = np.zeros((600, 64, 64, 3), np.uint8)
    assert mapping(held) is None
    assert mapping(images[::2]) is None
    assert mapping(images) is made
    assert sum(len(batch.indices) for batch in Feed(SplitData(held, {}), CPU, shuffle="blocks").epoch(0, 0, 64)) == 600
    ReadAhead(None, block_order(600, FACE, rng(0))).advance(100)


# ---- no copies


@pytest.mark.parametrize("way", ["full", "blocks"])
def test_a_feed_shares_the_datasets_memory_and_allocates_a_batch_at_most(way: str, mapped: Any) -> None:
    values = np.arange(2000, dtype=np.int64)
    held = np.zeros((2000, 32, 32, 3), np.uint8)
    for images in (held, mapped):
        feed = Feed(SplitData(images, {}), CPU, shuffle=way)
        assert np.shares_memory(feed.images.numpy(), images)
        assert feed.images.data_ptr() == images.ctypes.data
    batch = 32 * 32 * 32 * 3

    def epoch() -> None:
        feed = Feed(SplitData(held, {"class_a": Labels(values, values >= 0)}), CPU, shuffle=way)
        for found in feed.epoch(0, 0, 32):
            assert len(found.labels["class_a"]) == len(found.images)

    # the batch that is handed out, the one being made, and small change; the dataset is 62 batches
    assert batch <= peak_allocation(epoch) < 2.5 * batch


def test_in_order_batches_are_views(mapped: Any) -> None:
    feed = Feed(SplitData(mapped, {}), CPU)
    for number, batch in enumerate(feed.in_order(64)):
        assert batch.images.data_ptr() == mapped.ctypes.data + number * 64 * 192
        assert torch.equal(batch.images[:, 1, 2, 3].long(), batch.indices % 251)
    assert int(batch.indices[-1]) == 599
    chosen = Feed(SplitData(mapped, {}), CPU, rows=np.array([5, 3, 500]))
    (batch,) = chosen.in_order(64)
    assert batch.images[:, 0, 0, 0].tolist() == [5, 3, 500 - 251]


@pytest.mark.parametrize("way", ["full", "blocks"])
def test_epochs_are_read_from_a_file(way: str, mapped: Any, small_blocks: None) -> None:
    values = np.arange(600, dtype=np.int64)
    feed = Feed(SplitData(mapped, {"class_a": Labels(values, values % 3 > 0)}), CPU, shuffle=way)
    for epoch in range(2):
        seen = []
        for batch in feed.epoch(0, epoch, 16):
            assert torch.equal(batch.images[:, 2, 3, 4].long(), batch.indices % 251)
            assert torch.equal(batch.labels["class_a"], batch.indices)
            assert torch.equal(batch.masks["class_a"], batch.indices % 3 > 0)
            seen += batch.indices.tolist()
        assert sorted(seen) == list(range(600))


# ---- the choice


def test_auto_is_blocks_for_images_larger_than_half_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shuffle, "memory", lambda: 1000)
    assert chosen_shuffle(500) == "full"
    assert chosen_shuffle(501) == "blocks"


def test_a_control_groups_limit_counts_where_it_is_less(tmp_path: Path) -> None:
    groups = tmp_path / "cgroup"
    groups.write_text("8:cpu,cpuacct:/a\n4:memory:/job/inner\n0::/unified\n")
    root = tmp_path / "fs"
    assert shuffle._group_limits(groups, root) == []
    for file, text in (
        ("memory/job/inner/memory.limit_in_bytes", "123\n"),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ("unified/memory.max", "max\n"),
    ):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(text)
    assert sorted(shuffle._group_limits(groups, root)) == [123, 9223372036854771712]
    (root / "unified" / "memory.max").write_text("77")
    assert min(shuffle._group_limits(groups, root)) == 77
    assert shuffle._group_limits(tmp_path / "none", root) == [9223372036854771712]
    assert 2**20 < shuffle.memory() < 2**50


@pytest.mark.parametrize(
    ("memory", "changes", "expected"),
    [
        (2 * 1000 * 32 * 32 * 3 - 1, {"train_images": 1000}, "blocks"),
        (2 * 1000 * 32 * 32 * 3, {"train_images": 1000}, "full"),
        (2 * 1000 * 32 * 32 * 3, {"train_images": 1000, "image_size": 64}, "blocks"),
        (2**50, {}, "full"),
        (1, {"shuffle": "full"}, "full"),
        (2**50, {"shuffle": "blocks"}, "blocks"),
    ],
)
def test_a_planned_run_says_how_it_shuffles(
    digits_manifest: Path, monkeypatch: pytest.MonkeyPatch, memory: int, changes: dict[str, Any], expected: str
) -> None:
    monkeypatch.setattr(shuffle, "memory", lambda: memory)
    plan = plan_run(Manifest.open(digits_manifest), "vgg-all", preset="paper", changes=changes)
    assert plan.config.to_json()["settings"]["shuffle"] == expected


# ---- staging, its device played by a slow one


class SlowDevice:
    """Copies begin when they are asked for and take what is in the buffer only when the event is waited for."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Tensor, Tensor]] = []
        self.made: list[Tensor] = []

    def pinned(self, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        self.made.append(torch.empty(shape, dtype=dtype))
        return self.made[-1]

    def send(self, rows: Tensor) -> Tensor:
        self.waiting.append((torch.zeros_like(rows), rows))
        return self.waiting[-1][0]

    def event(self) -> SlowEvent:
        return SlowEvent(self)


class SlowEvent:
    def __init__(self, device: SlowDevice) -> None:
        self.device, self.upto = device, 0
        self.begun: list[tuple[Tensor, Tensor]] = []

    def record(self) -> None:
        self.begun = list(self.device.waiting)

    def synchronize(self) -> None:
        for target, rows in self.begun:
            if any(target is waiting for waiting, _ in self.device.waiting):
                target.copy_(rows)
        begun = [target for target, _ in self.begun]
        self.device.waiting = [each for each in self.device.waiting if not any(each[0] is target for target in begun)]


def test_a_buffer_is_not_written_while_it_is_copied() -> None:
    images = torch.arange(40, dtype=torch.uint8)[:, None].expand(40, 6).contiguous()
    device = SlowDevice()
    staging = Staging(CPU, pinned=device.pinned, event=device.event, send=device.send)
    order = torch.randperm(40)
    sent = [staging.gather(images, places) for places in order.split(6)]
    assert len(device.waiting) == BUFFERS  # as many are under way as there are buffers, no fewer
    device.event().synchronize()
    last = device.event()
    last.record()
    last.synchronize()
    assert torch.equal(torch.cat(sent)[:, 0].long(), order)
    assert len(device.made) == BUFFERS


def test_a_larger_batch_gets_a_larger_buffer_when_the_old_one_is_free() -> None:
    images = torch.arange(40, dtype=torch.uint8)[:, None].expand(40, 6).contiguous()
    device = SlowDevice()
    staging = Staging(CPU, pinned=device.pinned, event=device.event, send=device.send)
    places = [torch.arange(0, 4), torch.arange(4, 8), torch.arange(8, 20), torch.arange(20, 21), torch.arange(30, 40)]
    sent = [staging.gather(images, each) for each in places]
    last = device.event()
    last.record()
    last.synchronize()
    assert torch.equal(torch.cat(sent)[:, 0].long(), torch.cat(places))
    assert [len(buffer) for buffer in device.made] == [4, 4, 12]
