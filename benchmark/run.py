"""Train one method on one manifest and score it: resumable at every epoch, the same result bit for bit."""

from __future__ import annotations

import json
import platform
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import __version__
from ..core.config import differences, to_dict
from ..core.errors import UserError
from ..core.files import finite, refuse_undecodable, write_json
from ..core.streams import stream_seed
from ..manifest import Manifest
from ..models.methods import METHODS, Method, Problem
from ..models.methods.base import TrainingConfig, configured_trunk
from ..models.networks.backbone import VGG
from ..models.networks.encoder import Trunk
from ..models.peers import ALONE, Peers
from ..training.accelerate import arithmetic, check_compiling, compile_networks
from ..training.data import SplitData, load_split
from ..training.feed import Feed
from ..training.folder import RunFolder, identity
from ..training.initial import load_trunk
from ..training.loop import check_weights, predictions, repeatable, train_epoch
from ..training.parallel import Channel, check_devices, launch
from ..training.shuffle import chosen_shuffle
from ..training.trained import Learned
from ..training.weights import weights_digest
from .choose import Choice, choose, choose_split, refuse_missing, vote
from .evaluate import agreement_subset, evaluate, final_details, main_score, oracle
from .loggers import DEFAULT_LOGGERS, Loggers, check_loggers
from .predictions import write_predictions
from .reporting.shapes import read_result
from .settings import RunConfig, RunSettings, resolve
from .watch import Messages, Watcher, passing_on


@dataclass(frozen=True)
class Plan:
    """A run that has been checked and not yet been started.

    Attributes:
        manifest: where images and labels come from.
        config: everything that decides the outcome.
        choice: the label sets.
        folder: where it will be.
        root: the dataset's root, where it is not at the manifest's hint.
        init: the file that the encoder starts from, None for random weights.
        devices: how many processes share each batch; the result differs only in rounding, so it names no other run.
        loggers: where figures go besides the folder.
        others: folders of the same method, manifest and seed with another configuration, and what differs.
    """

    manifest: Manifest
    config: RunConfig
    choice: Choice
    folder: RunFolder
    root: Path | None
    init: Path | None = None
    devices: int = 1
    loggers: tuple[str, ...] = DEFAULT_LOGGERS
    others: tuple[tuple[Path, tuple[str, ...]], ...] = ()


def plan_run(
    manifest: Manifest,
    method: str,
    *,
    preset: str,
    seed: int = 0,
    labels: Sequence[str] = (),
    partly: bool = False,
    changes: Mapping[str, Any] | None = None,
    out: str | Path = "runs",
    device: str = "cpu",
    root: Path | None = None,
    init: Path | None = None,
    devices: int = 1,
    loggers: Sequence[str] = DEFAULT_LOGGERS,
) -> Plan:
    """Check everything about a run that can be checked before anything is loaded.

    Args:
        manifest: where images and labels come from.
        method: a registered name.
        preset: `smoke`, `small` or `paper`.
        seed: of weights, order, augmentation, dropout and latent vectors.
        labels: label sets to learn from; empty for all noisy ones.
        partly: leave out of them what the method cannot use, with a note.
        changes: option values that differ from the preset's.
        out: the folder of run folders.
        device: `cpu` or `cuda`.
        root: the dataset's folder or archive.
        init: weights that the encoder starts from, such as VGG-Face's; None to start at random.
        devices: how many processes, a device each, share every batch.
        loggers: where figures go besides the folder, of `LOGGERS`.

    Raises:
        UserError: an unknown name, a value out of range, labels or devices that the method cannot use, a name of `out`
            that is no UTF-8.
    """
    refuse_undecodable(Path(out))
    settings, options = resolve(method, preset, changes or {})
    check_devices(devices, device)
    check_compiling(settings.compile_, device, devices)
    _check_shares(method, settings.batch_size, devices)
    choice = choose(manifest, method, labels, partly=partly)
    if settings.labelled_by:
        manifest.label_set(settings.labelled_by)
    split, choice = choose_split(manifest, choice, settings.test_split)
    settings = replace(settings, test_split=split)
    if settings.shuffle == "auto":
        images = manifest.select(splits=["train"]).rows
        images = min(images, settings.train_images or images)
        settings = replace(settings, shuffle=chosen_shuffle(images * 3 * settings.image_size**2))
    _check_encoder(method, settings, options, devices, init)
    digest = weights_digest(init)
    config = RunConfig(method, preset, seed, choice.labels, choice.truth, device, digest, settings, options)
    stem = f"{manifest.path.stem}-{method}-seed{seed}"
    folder = RunFolder(Path(out) / f"{stem}-{identity(config.to_json(), manifest.fingerprint)}")
    others = _others(folder, stem, config)
    return Plan(manifest, config, choice, folder, root, init, devices, check_loggers(loggers), others)


def _check_shares(method: str, batch_size: int, devices: int) -> None:
    if devices > 1 and not METHODS[method].parallel:
        able = ", ".join(name for name in METHODS if METHODS[name].parallel)
        raise UserError(f"{method} cannot train on several devices; these can: {able}. Leave out --devices.")
    if batch_size % devices:
        raise UserError(
            f"batch_size is {batch_size}, which {devices} devices cannot share equally; change --devices or batch_size."
        )


def _check_encoder(
    method: str, settings: RunSettings, options: TrainingConfig, devices: int, init: Path | None
) -> None:
    """Build the encoder once, and fill it if it is to start from a file, so that what cannot work is said now."""
    if options.arch == VGG and init is None:
        return
    trunk = configured_trunk(options, settings.image_size)
    if options.arch != VGG and devices > 1:
        raise UserError(f"{options.arch} cannot be shared by several devices, only {VGG} can; leave out --devices.")
    if METHODS[method].uses.maps:
        trunk.maps(torch.zeros(2, 3, settings.image_size, settings.image_size))
    if init is not None:
        load_trunk(trunk, init)


def execute(plan: Plan, watcher: Watcher | None = None, *, again: bool = False) -> dict[str, Any]:
    """Run a plan to its end, from its last recorded epoch; a finished run is only read.

    Args:
        plan: from `plan_run`.
        watcher: is told how it goes.
        again: forget what is there and start over.

    Returns:
        What `result.json` holds.

    Raises:
        UserError: unusable data, a loss that is not finite, a folder in use or not writable, a damaged result.
    """
    folder = plan.folder
    with folder.locked(), repeatable():
        if again:
            folder.clear()
        finished = read_result(folder, plan.choice.truth)
        if finished is not None:
            return finished
        if plan.devices == 1:
            folder.start(_description(plan))
            return _train(plan, watcher, ALONE, torch.device(plan.config.device))
    launch(_train_together, (plan,), plan.devices, plan.config.device, passing_on(plan, watcher))
    result = read_result(folder, plan.choice.truth)
    if result is None:
        raise UserError(f"The processes ended without a result in {folder.path}; run the same command again to go on.")
    return result


def _train_together(peers: Peers, device: torch.device, channel: Channel, plan: Plan) -> None:
    """The work of one of several processes; only the first holds the folder, writes and tells."""
    first = peers.rank == 0
    with plan.folder.locked() if first else nullcontext(), repeatable():
        if first:
            plan.folder.start(_description(plan))
        _train(plan, Messages(channel) if first else None, peers, device)


def _train(plan: Plan, watcher: Watcher | None, peers: Peers, device: torch.device) -> dict[str, Any]:
    """Train what is left to train; the first process scores and writes, and only there is a result."""
    config, settings = plan.config, plan.config.settings
    if peers.rank:
        peers.wait()  # the first one decodes large data into a file that the others find
    train, test = _load(plan, watcher)
    if not peers.rank:
        peers.wait()
    train_feed = Feed(train, device, augment=settings.augment, shuffle=settings.shuffle)
    test_feed, agreement_feed = Feed(test, device), Feed(agreement_subset(train, settings.agreement_images), device)
    method = _build(plan, len(train), device)
    method.join(peers)
    method.prepare(train_feed)
    compile_networks(method, settings.compile_)
    stored = plan.folder.load(device)
    done = 0
    rows: list[dict[str, Any]] = []
    if stored is not None:
        done, state, rows = stored
        method.load_state_dict(state)
    if watcher is not None:
        watcher.started(plan, done)
    steps = Feed.steps(len(train), settings.batch_size, peers.size)
    if not steps:
        raise UserError(f"{len(train)} training images are too few for {peers.size} devices; use fewer.")
    shown = {"method": config.method, "seed": config.seed, **to_dict(settings), **to_dict(config.options)}
    loggers = nullcontext() if peers.rank else Loggers(plan.loggers, plan.folder.path, done, shown)
    with loggers as log:
        for epoch in range(done, settings.epochs):

            def on_step(step: int, loss: float, epoch: int = epoch) -> None:
                if watcher is not None:
                    watcher.step(epoch + 1, step, steps, loss)

            began = time.perf_counter()
            with arithmetic(settings.precision, device):
                losses = train_epoch(
                    method,
                    train_feed,
                    seed=config.seed,
                    epoch=epoch,
                    batch_size=settings.batch_size,
                    on_step=on_step,
                    compiled=settings.compile_,
                )
            check_weights(method, epoch)
            if log is None:
                continue  # meets the first process again in the next epoch's first step
            trained = time.perf_counter()
            row = {
                "epoch": epoch + 1,
                "losses": losses,
                **evaluate(plan.manifest, plan.choice, method, test, test_feed, agreement_feed),
            }
            row["seconds"] = {"training": trained - began, "evaluation": time.perf_counter() - trained}
            rows.append(row)
            plan.folder.save(epoch + 1, method.state_dict(), rows)
            log.add(row)
            if watcher is not None:
                watcher.epoch(row)
    return {} if peers.rank else _finish(plan, method, rows, test, test_feed, agreement_feed, len(train))


def _finish(
    plan: Plan,
    method: Method,
    rows: list[dict[str, Any]],
    test: SplitData,
    test_feed: Feed,
    agreement_feed: Feed,
    train_images: int,
) -> dict[str, Any]:
    """Draw the pictures, and write the result after everything else."""
    from .pictures import draw_run

    by_task, by_head = predictions(method, test_feed)
    details = final_details(plan.manifest, plan.choice, method, test, by_task, agreement_feed)
    details["head_tasks"] = {name: method.heads[name] for name in by_head}
    result = _result(plan, rows, details, train_images, len(test))
    if len(test):
        write_predictions(plan.folder.predictions, test, by_task, plan.choice)
    draw_run(plan.folder.path, plan.manifest, rows, details["confusion"], method, plan.config.seed)
    write_json(plan.folder.result, result)
    return dict(finite(result))


def load_images(plan: Plan, split: str, label_sets: Sequence[str], watcher: Watcher | None = None) -> SplitData:
    """The images of a split that a run trains on or is scored on, with these labels."""
    settings = plan.config.settings
    scored = split == "train" or bool(plan.choice.truth)
    return load_split(
        plan.manifest,
        split,
        label_sets,
        size=settings.image_size,
        limit=settings.train_images if split == "train" else settings.test_images,
        labelled_by=settings.labelled_by if scored else "",
        may_be_empty=not scored,
        root=plan.root,
        progress=None if watcher is None else partial(watcher.decoding, split),
    )


def _load(plan: Plan, watcher: Watcher | None) -> tuple[SplitData, SplitData]:
    settings, choice, manifest = plan.config.settings, plan.choice, plan.manifest
    wanted = list(dict.fromkeys([*choice.labels, *(spec.name for spec in choice.specs), *choice.truth.values()]))
    stored = [name for name in wanted if name != choice.voted]

    train = load_images(plan, "train", stored, watcher)
    labels = dict(train.labels)
    if choice.voted is not None:
        labels[choice.voted] = vote([labels[name] for name in choice.labels], choice.specs[0].width, plan.config.seed)
    refuse_missing(manifest, plan.config.method, labels, [spec.name for spec in choice.specs])
    split = settings.test_split
    test = load_images(plan, split, list(choice.truth.values()), watcher)
    for name in choice.truth.values():
        if not test.labels[name].present.any():
            raise UserError(
                f"'{name}' in {manifest.path} labels no {split} image, so there is nothing to score against."
            )
    return SplitData(train.images, labels), test


def _build(plan: Plan, samples: int, device: torch.device) -> Method:
    config = plan.config
    torch.manual_seed(stream_seed(config.seed, "weights"))
    problem = Problem(config.settings.image_size, plan.choice.specs, samples)
    method = METHODS[config.method](problem, config.options, device)
    if plan.init is not None:
        for network in method.networks.values():
            for trunk in network.modules():
                if isinstance(trunk, Trunk):
                    load_trunk(trunk, plan.init)
    return method


def _result(plan: Plan, rows: list[dict[str, Any]], details: dict[str, Any], train: int, test: int) -> dict[str, Any]:
    last = rows[-1]
    training = sum(row["seconds"]["training"] for row in rows)
    return {
        "method": plan.config.method,
        "labels": list(plan.config.labels),
        "truth": dict(plan.choice.truth),
        "seed": plan.config.seed,
        "preset": plan.config.preset,
        "images": {"train": train, "test": test},
        "metric": main_score(last["test"])[0],
        "last": {key: last[key] for key in ("epoch", "losses", "test", "heads", "agreement")},
        "oracle": oracle(rows),
        "label_tasks": {name: plan.manifest.header.label_sets[name].task for name in plan.config.labels},
        "classes": {task: list(plan.manifest.header.tasks[task].classes) for task in details["confusion"]},
        **details,
        "seconds": {"training": training, "evaluation": sum(row["seconds"]["evaluation"] for row in rows)},
        "images_per_second": train * len(rows) / training,
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def _description(plan: Plan) -> dict[str, Any]:
    return {
        "run": plan.config.to_json(),
        "manifest": {"name": plan.manifest.path.name, "sha256": plan.manifest.fingerprint},
        "learned": Learned.of(plan.manifest, plan.choice.specs).to_json(),
        # where they were, as the user said it; no part of what the run is
        "places": {
            "manifest": str(plan.manifest.path),
            "data": None if plan.root is None else str(plan.root),
            "init": None if plan.init is None else str(plan.init),
        },
        "versions": {
            "noisyfer": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": sys.version.split()[0],
        },
        "machine": {
            "processor": platform.machine(),
            "threads": torch.get_num_threads(),  # of each process
            "devices": plan.devices,
        },
    }


def _others(folder: RunFolder, stem: str, config: RunConfig) -> tuple[tuple[Path, tuple[str, ...]], ...]:
    """Runs beside this one that differ only in configuration or manifest, and in what."""
    found = []
    for path in sorted(folder.path.parent.glob(f"{stem}-????????/config.json")):
        if path.parent == folder.path:
            continue
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))["run"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # someone else's file; only a hint is lost
        found.append((path.parent, tuple(differences(stored, config.to_json()) or ["the manifest"])))
    return tuple(found)
