"""Training and what was trained as functions; see the package."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from ..core.terminal import silent
from .common import Names, Place, Run, as_path, run_folder

if TYPE_CHECKING:
    from ..relabel.export_run import Exported
    from ..relabel.job import Report


def bench(
    method: Names,
    *,
    manifest: Place | None = None,
    labels: Names = (),
    preset: str | None = None,
    protocol: str | None = None,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    init: Place | None = None,
    data: Place | None = None,
    out: Place = "runs",
    device: str = "auto",
    devices: int = 1,
    again: bool = False,
    progress: bool = True,
) -> list[Run]:
    """Train methods on label sets and score them; finished runs are only read, interrupted ones go on.

    Args:
        method: names, or `all`.
        manifest: what to learn from; None for CIFAR-10's, made where it is not there.
        labels: label sets; empty for all noisy ones, or the protocol's.
        preset: `smoke`, `small` or `paper`; None for `paper` on a GPU, else `small`.
        protocol: `raf-base` or `affectnet-base`.
        seed: of weights, order, dropout and latent vectors.
        options: what `--set`, `--epochs`, `--lambda` and `--arch` say: `{"epochs": 5, "lambda": 0.4}`.
        init: weights to start from.
        data: the dataset's folder or archive, if it has moved.
        out: the folder of run folders.
        device: `cpu`, `cuda` or `auto`.
        devices: processes that share every batch.
        again: start over.
        progress: show how it goes.

    Returns:
        A run a method, in their order.

    Raises:
        UserError: anything that makes one of the runs impossible, before the first one starts.
    """
    from ..benchmark.bench import dataset_root, open_or_make, plan_bench, run_bench
    from ..benchmark.present import Display
    from ..core.names import comma_list

    opened = open_or_make(as_path(manifest), as_path(data), print if progress else silent)
    plans = plan_bench(
        opened,
        comma_list(method),
        labels=comma_list(labels),
        preset=preset,
        protocol=protocol,
        seed=seed,
        changes=options,
        out=out,
        device=device,
        root=dataset_root(opened, as_path(data)),
        init=as_path(init),
        devices=devices,
    )
    with Display() if progress else nullcontext() as display:
        results = run_bench(plans, display, again=again)
    return [Run(plan.folder.path, result) for plan, result in zip(plans, results, strict=True)]


def sweep(
    method: Names,
    *,
    grid: Mapping[str, Any] | None = None,
    seeds: Sequence[int] = (0,),
    manifest: Place | None = None,
    labels: Names = (),
    preset: str | None = None,
    protocol: str | None = None,
    init: Place | None = None,
    data: Place | None = None,
    out: Place = "runs",
    device: str = "auto",
    jobs: int = 1,
    again: bool = False,
    progress: bool = True,
) -> list[Run | None]:
    """Run every method with every combination of values, over seeds; its queue file is that of the command.

    Args:
        method: names, or `all`.
        grid: by option the values to be combined: `{"lambda": [0.2, 0.8]}`, or as text `{"lambda": "0.2,0.8"}`; or
            one value.
        seeds: at least one; repeated ones count once.
        manifest: what to learn from; None for CIFAR-10's, made where it is not there.
        labels: label sets; empty for all noisy ones, or the protocol's.
        preset: `smoke`, `small` or `paper`; None for `paper` on a GPU, else `small`.
        protocol: `raf-base` or `affectnet-base`.
        init: weights to start from.
        data: the dataset's folder or archive, if it has moved.
        out: the folder of run folders.
        device: `cpu`, `cuda` or `auto`.
        jobs: runs side by side.
        again: start over.
        progress: show how it goes.

    Returns:
        The runs, the first seed of every combination before the second; None for one that failed. Values that are
        the same run in other words, such as `"0.001"` and `"1e-3"`, give one.

    Raises:
        UserError: anything that makes one of the runs impossible, before the first one starts.
    """
    from ..benchmark.bench import dataset_root, open_or_make
    from ..benchmark.present_table import GridDisplay
    from ..benchmark.sweep import Queue, plan_sweep, run_sweep
    from ..core.names import comma_list

    opened = open_or_make(as_path(manifest), as_path(data), print if progress else silent)
    values = {name: _values(several) for name, several in (grid or {}).items()}
    runs = plan_sweep(
        opened,
        comma_list(method),
        values,
        seeds,
        labels=comma_list(labels),
        preset=preset,
        protocol=protocol,
        out=out,
        device=device,
        root=dataset_root(opened, as_path(data)),
        init=as_path(init),
    )
    request: dict[str, Any] = {
        "methods": comma_list(method),
        "changes": [f"{name}={','.join(each)}" for name, each in values.items()],
    }
    each_seed = dict.fromkeys(run.plan.config.seed for run in runs)
    request |= {"seeds": ",".join(map(str, each_seed)), "manifest": str(opened.path), "out": str(out), "device": device}
    given = {"labels": ",".join(comma_list(labels)), "preset": preset, "protocol": protocol, "init": init, "data": data}
    request |= {name: str(value) for name, value in given.items() if value}
    with GridDisplay(runs, silent=not progress) as display:
        outcomes = run_sweep(Queue(request, runs), protocol=protocol, jobs=jobs, again=again, heed=display.heed)
    return [
        None if outcome.result is None else Run(run.plan.folder.path, outcome.result)
        for run, outcome in zip(runs, outcomes, strict=True)
    ]


def _values(several: Any) -> list[str]:
    """The values of an option as texts: of a text those between its commas, as the command has them, or the one."""
    from ..core.names import comma_list

    if isinstance(several, str):
        return comma_list(several)
    return [str(value) for value in several] if isinstance(several, Iterable) else [str(several)]


def predict(
    run: Run | Place,
    *,
    images: Place | None = None,
    manifest: Place | None = None,
    out: Place | None = None,
    name: str | None = None,
    data: Place | None = None,
    split: str | None = None,
    batch_size: int = 32,
    workers: int = 2,
    device: str = "auto",
    again: bool = False,
    progress: bool = True,
    stop: threading.Event | None = None,
) -> Report:
    """Label images by a trained run, as a manifest; faces are found and aligned as in training.

    Args:
        run: a run, or its folder.
        images: a folder of images; or
        manifest: a manifest, whose label sets are kept.
        out: the new manifest; None for `data_manifests/<images>_by_<name>.parquet`.
        name: the annotator's, on the command line `--as`; None for the method's.
        data: where the manifest's images are, if they have moved.
        split: only this split of the manifest.
        batch_size: images per step.
        workers: threads that decode.
        device: `cpu`, `cuda` or `auto`.
        again: start over.
        progress: show how it goes.
        stop: when set, the shard in hand is finished and `Stopped` raised.

    Returns:
        The report; its `manifest` is open.

    Raises:
        UserError: no such run, not exactly one of `images` and `manifest`, or as of `relabel`.
    """
    from ..relabel.label import predict_images

    return predict_images(
        run_folder(run),
        images=as_path(images),
        manifest=as_path(manifest),
        out=as_path(out),
        root=as_path(data),
        name=name,
        split=split,
        batch=batch_size,
        workers=workers,
        device=device,
        again=again,
        progress=progress,
        stop=stop,
    )


def export(run: Run | Place, format: str, out: Place | None = None, *, overwrite: bool = False) -> Exported:
    """Write a trained run as one file for other programs and for `relabel`.

    Args:
        run: a run, or its folder.
        format: `checkpoint`, `onnx`, `timm` or `pt2`.
        out: the file; None for the run's name with the format's suffix.
        overwrite: replace what is there.

    Raises:
        UserError: the run cannot be had in this format, a package is missing, or the file is there already.
    """
    from ..relabel.export_run import export_run

    return export_run(run_folder(run), format, as_path(out), overwrite=overwrite)
