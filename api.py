"""The commands as functions, with the same words: `--batch-size 8` is `batch_size=8`, `--model` twice a list.

They show progress as the commands do, on a terminal or in a notebook (bars need ipywidgets there, else lines are
printed), unless `progress=False`; what they return is for a program. Errors are `noisyfer.core.errors.UserError`. The
root of the package has all of them: `noisyfer.bench(…)`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .benchmark.aggregate import Aggregated
    from .manifest import Manifest
    from .relabel.convert import Converted
    from .relabel.drawn.make import Made
    from .relabel.export_run import Exported
    from .relabel.job import Report

Place = str | Path
Names = str | Sequence[str]
"""One name, several with commas between them, or a list."""


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: where its files are.
        result: what its `result.json` holds.
    """

    folder: Path
    result: Mapping[str, Any]

    @property
    def scores(self) -> Mapping[str, Mapping[str, float]]:
        """The last epoch's test scores by task and name, such as `scores["class"]["accuracy"]`."""
        found: Mapping[str, Mapping[str, float]] = self.result["last"]["test"]
        return found


def open(manifest: Place) -> Manifest:
    """Open a manifest.

    Raises:
        ManifestError: there is none, or it is damaged.
    """
    from .manifest import Manifest

    return Manifest.open(manifest)


def make_faces(out: Place = "datasets", *, n: int = 2000, seed: int = 0, workers: int = 0) -> list[Made]:
    """Draw two small datasets of faces in the layouts of RAF-DB and AffectNet, for trying the tool.

    Args:
        out: the folder of datasets.
        n: training images of each.
        seed: of all random streams.
        workers: processes that draw; 0 for one a core.

    Raises:
        UserError: an option out of range, or a place that cannot be written.
    """
    from .relabel.drawn.make import FacesOptions, make_faces

    return make_faces(Path(out), FacesOptions(n=n, seed=seed, workers=workers))


def relabel(
    source: str,
    model: str | Path | Sequence[str | Path] = (),
    *,
    root: Place | None = None,
    out: Place | None = None,
    split: str | None = None,
    limit: int = 0,
    labels: Place | None = None,
    contempt: bool = False,
    probs: bool = True,
    whole: bool = False,
    save_faces: bool = False,
    face_size: int = 128,
    batch: int = 32,
    shard_rows: int = 512,
    workers: int = 2,
    max_failed: float = 0.5,
    device: str = "auto",
    again: bool = False,
    progress: bool = True,
    stop: threading.Event | None = None,
) -> Report:
    """Label a dataset by teachers, as a manifest; the same call again goes on where an earlier one stopped.

    Args:
        source: a dataset in its own layout, or `manifest:FILE`.
        model: teachers as `[NAME=]FILE`, one or a list; none for the dataset's own labels.
        root: where the dataset is.
        out: the manifest; None for `data_manifests/<source>_by_<model>.parquet`.
        split: only this split.
        limit: only so many rows; 0 for all.
        labels: a csv of labels, for the source `folder`.
        contempt: keep contempt as an eighth expression.
        probs: keep class probabilities.
        whole: take pictures whole.
        save_faces: keep the aligned faces beside the manifest.
        face_size: their side in pixels.
        batch: images per step.
        shard_rows: rows between two points from which a job goes on.
        workers: threads that decode.
        max_failed: share of rows that may fail.
        device: `cpu`, `cuda` or `auto`.
        again: start over.
        progress: show how it goes.
        stop: when set, the shard in hand is finished and `Stopped` raised.

    Returns:
        The report; its `manifest` is open.

    Raises:
        UserError: an unknown source, a file that is no teacher, too many failures, a place that cannot be written.
    """
    from .relabel.label import label
    from .relabel.plan import JobOptions
    from .relabel.sources import SourceOptions
    from .relabel.teachers import load_teacher
    from .training.device import choose_device

    chosen = choose_device(device)
    options = JobOptions(
        split=split,
        limit=limit,
        probs=probs,
        whole=whole,
        kept_size=face_size if save_faces else 0,
        batch=batch,
        shard_rows=shard_rows,
        workers=workers,
        device=chosen,
        max_failed=max_failed,
    )
    models = [model] if isinstance(model, (str, Path)) else list(model)
    return label(
        source,
        [load_teacher(str(each), chosen) for each in models],
        root=_path(root),
        out=_path(out),
        about=SourceOptions(contempt=contempt, labels=_path(labels)),
        options=options,
        again=again,
        stop=stop,
        progress=progress,
    )


def aggregate(
    manifest: Manifest | Place,
    method: str,
    *,
    task: str | None = None,
    labels: Names = (),
    name: str | None = None,
    probs: str | None = None,
    seed: int = 0,
    out: Place | None = None,
    overwrite: bool = False,
) -> Aggregated:
    """Make one label set of several annotators', as one more in a new manifest.

    Args:
        manifest: the manifest, or its path.
        method: `majority`, `dawid-skene`, `glad`, `mace`, `crowdlab`; for valence and arousal `mean`, `median`,
            `weighted`.
        task: the task; None for the only one with several noisy label sets.
        labels: the label sets; empty for all noisy ones of the task.
        name: the new annotator; None for the method's name.
        probs: for `crowdlab`, the label set whose class probabilities are the model's.
        seed: of ties.
        out: the new manifest; None for `<manifest>_with_<name>.parquet`.
        overwrite: replace what is there.

    Raises:
        UserError: an unknown name, sets that do not fit, a package that is missing, or an output that exists.
    """
    from .benchmark.aggregate import aggregate
    from .core.names import comma_list

    return aggregate(
        manifest,
        method,
        task=task,
        labels=comma_list(labels),
        name=name,
        probs=probs,
        seed=seed,
        out=out,
        overwrite=overwrite,
    )


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
    from .benchmark.bench import dataset_root, open_or_make, plan_bench, run_bench
    from .benchmark.present import Display
    from .core.names import comma_list

    opened = open_or_make(_path(manifest), _path(data), print if progress else _silent)
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
        root=dataset_root(opened, _path(data)),
        init=_path(init),
        devices=devices,
    )
    with Display() if progress else nullcontext() as display:
        results = run_bench(plans, display, again=again)
    return [Run(plan.folder.path, result) for plan, result in zip(plans, results, strict=True)]


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
    from .relabel.label import predict_images

    return predict_images(
        _folder(run),
        images=_path(images),
        manifest=_path(manifest),
        out=_path(out),
        root=_path(data),
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
    from .relabel.export_run import export_run

    return export_run(_folder(run), format, _path(out), overwrite=overwrite)


def convert(
    manifest: Manifest | Place,
    to: str,
    out: Place,
    *,
    labels: Names = (),
    split: Names = (),
    data: Place | None = None,
) -> Converted:
    """Write a manifest and its images in another format.

    Args:
        manifest: the manifest, or its path.
        to: `csv`, `imagefolder`, `hf`, `webdataset` or `coco`.
        out: a csv, or a new folder.
        labels: the label sets; empty for all.
        split: only samples of these splits; empty for all.
        data: where the images are, if they have moved.

    Raises:
        UserError: an unknown name, something under `out` already, or an image that cannot be read.
    """
    from .core.names import comma_list
    from .relabel.convert import convert

    return convert(manifest, to, out, labels=comma_list(labels) or None, splits=comma_list(split) or None, root=data)


def _folder(run: Run | Place) -> Path:
    return run.folder if isinstance(run, Run) else Path(run)


def _path(place: Place | None) -> Path | None:
    return None if place is None else Path(place)


def _silent(_: object) -> None:
    """Say nothing."""
