"""Datasets, manifests and labels as functions; see the package."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .common import Names, Place, Run, as_path, run_folder

if TYPE_CHECKING:
    from ..benchmark.aggregate import Aggregated
    from ..benchmark.inspect import Inspected
    from ..manifest import Manifest
    from ..relabel.convert import Converted
    from ..relabel.drawn.make import Made
    from ..relabel.job import Report


def open(manifest: Place) -> Manifest:
    """Open a manifest.

    Raises:
        ManifestError: there is none, or it is damaged.
    """
    from ..manifest import Manifest

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
    from ..relabel.drawn.make import FacesOptions, make_faces

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
    engine: str = "local",
    address: str | None = None,
    actors: int = 0,
    parts: str | None = None,
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
        stop: when set, the shard in hand is finished and `Stopped` raised; on a cluster those in hand are given up.
        engine: `local`, or `ray` for a cluster; the table is the same, and one goes on where the other was stopped.
        address: of the cluster, HOST:PORT; None for `RAY_ADDRESS`, or processes of this machine.
        actors: labelling processes on the cluster at most; 0 for as many as it holds.
        parts: the URL below which shards under way are kept, such as `s3://bucket/folder`; None for beside the
            manifest.

    Returns:
        The report; its `manifest` is open.

    Raises:
        UserError: an unknown source, a file that is no teacher, too many failures, a place that cannot be written,
            no cluster.
    """
    from ..relabel.engines import open_engine
    from ..relabel.label import label
    from ..relabel.plan import JobOptions
    from ..relabel.sources import SourceOptions

    models = [model] if isinstance(model, (str, Path)) else list(model)
    with open_engine(engine, [str(each) for each in models], device, address=address, actors=actors) as opened:
        options = JobOptions(
            split=split,
            limit=limit,
            probs=probs,
            whole=whole,
            kept_size=face_size if save_faces else 0,
            batch=batch,
            shard_rows=shard_rows,
            workers=workers,
            device=opened.device,
            max_failed=max_failed,
            parts=parts,
        )
        return label(
            source,
            opened.teachers,
            root=as_path(root),
            out=as_path(out),
            about=SourceOptions(contempt=contempt, labels=as_path(labels)),
            options=options,
            again=again,
            stop=stop,
            progress=progress,
            engine=opened.engine,
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
    from ..benchmark.aggregate import aggregate
    from ..core.names import comma_list

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


def inspect(
    manifest: Manifest | Place,
    *,
    out: Place | None = None,
    scores: Place | None = None,
    suspects: int = 100,
    probs: Run | Place | None = None,
    truth: str | None = None,
    data: Place | None = None,
    overwrite: bool = False,
) -> Inspected:
    """Audit the labels of a manifest: agreement, κ, estimated noise, the quality of every label.

    Args:
        manifest: the manifest, or its path.
        out: the page; None for none.
        scores: a copy of the manifest with the quality of every label; None for none.
        suspects: suspicious labels on the page, a task.
        probs: a run, its folder, or a Parquet file with `id` and `<task>_probs`, to judge labels by.
        truth: the label set that is true, or `none`; None for what the manifest knows.
        data: where the images are, if they have moved.
        overwrite: replace a manifest that is there by the one with scores.

    Returns:
        The figures: `audit.tasks["class"].kappa`, `.noise`, `.judged`; see `benchmark.inspecting.audit`.

    Raises:
        UserError: something that was named is not there or does not fit, or a file is there already or cannot be
            written.
    """
    from ..benchmark.inspect import inspect_manifest
    from ..manifest import Manifest

    opened = manifest if isinstance(manifest, Manifest) else Manifest.open(manifest)
    return inspect_manifest(
        opened,
        out=as_path(out),
        scores=as_path(scores),
        suspects=suspects,
        probs=None if probs is None else run_folder(probs),
        truth=truth,
        root=as_path(data),
        overwrite=overwrite,
    )


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
    from ..core.names import comma_list
    from ..relabel.convert import convert

    return convert(manifest, to, out, labels=comma_list(labels) or None, splits=comma_list(split) or None, root=data)
