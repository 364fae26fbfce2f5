"""Label a source, or the images that somebody has, from names to a manifest: what commands and the API call."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from ..core.errors import UserError
from ..training.device import choose_device
from .job import Report, run_job
from .plan import MANIFESTS, JobOptions, open_source, plan_job
from .sources import SourceOptions
from .teachers import Teacher, load_teacher
from .work import Engine


def label(
    source: str,
    teachers: Sequence[Teacher],
    *,
    root: Path | None = None,
    out: Path | None = None,
    about: SourceOptions | None = None,
    options: JobOptions | None = None,
    again: bool = False,
    stop: threading.Event | None = None,
    progress: bool = True,
    engine: Engine | None = None,
) -> Report:
    """Label a source by teachers, with a progress bar.

    Args:
        source: its name, or `manifest:FILE`.
        teachers: of different names; none for the source's own labels.
        root: where the dataset is.
        out: the manifest, None for the usual place.
        about: what there is to say about the source.
        options: how it is run.
        again: start over.
        stop: when set, the shard in hand is finished and `Stopped` raised.
        progress: show a bar, or lines where there is no terminal.
        engine: who labels; None for this process.

    Raises:
        UserError: as of `open_source`, `plan_job` and `run_job`.
    """
    opened = open_source(source, root, about)
    job = plan_job(source, opened, teachers, out, options)
    if not progress:
        return run_job(job, again=again, stop=stop, engine=engine)
    from .present import JobDisplay

    with JobDisplay(f"{source} → {job.out.name}") as display:
        return run_job(job, display, again=again, stop=stop, engine=engine)


def predict_images(
    run: Path,
    *,
    images: Path | None = None,
    manifest: Path | None = None,
    out: Path | None = None,
    root: Path | None = None,
    name: str | None = None,
    split: str | None = None,
    batch: int = 32,
    workers: int = 2,
    device: str = "auto",
    again: bool = False,
    stop: threading.Event | None = None,
    progress: bool = True,
) -> Report:
    """Label images by a trained run: faces found and aligned where it was trained on faces, else whole pictures.

    The same job as `label` with the run as its only teacher.

    Args:
        run: the folder of a run, or any other teacher's file.
        images: a folder of images; or
        manifest: a manifest, whose label sets are kept.
        out: the new manifest, None for `data_manifests/<images>_by_<name>.parquet`.
        root: where the manifest's images are, if they have moved.
        name: the annotator's; None for the method's.
        split: only this split of the manifest.
        batch: images per step.
        workers: threads that decode.
        device: `cpu`, `cuda` or `auto`.
        again: start over.
        stop: when set, the shard in hand is finished and `Stopped` raised.
        progress: show a bar.

    Raises:
        UserError: not exactly one of `images` and `manifest`, or as of `label` and `load_teacher`.
    """
    if (images is None) == (manifest is None):
        raise UserError("Say what to label: either --images FOLDER or --manifest FILE.")
    if images is not None and root is not None:
        raise UserError("--data says where a manifest's images are; with --images leave it out.")
    chosen = choose_device(device)
    teacher = load_teacher(str(run) if name is None else f"{name}={run}", chosen)
    options = JobOptions(split=split, whole=not teacher.align, batch=batch, workers=workers, device=chosen)
    if images is not None and out is None:
        out = _usual(images, teacher.annotator)
    source = "folder" if manifest is None else f"manifest:{manifest}"
    return label(
        source,
        [teacher],
        root=images if manifest is None else root,
        out=out,
        options=options,
        again=again,
        stop=stop,
        progress=progress,
    )


def _usual(images: Path, annotator: str) -> Path:
    return MANIFESTS / f"{images.resolve().name or 'images'}_by_{annotator}.parquet"
