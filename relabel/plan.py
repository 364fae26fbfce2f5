"""What a relabelling job is: source, teachers, options, and where its result goes; all checked before it starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..core.config import check, option
from ..core.errors import UserError
from ..core.schema import Header
from ..core.urls import is_url
from .listing import Listing
from .rows import TeacherSet, plan_tasks, plan_teacher_sets
from .sources import SOURCES, Source, SourceOptions, find_root
from .teachers import Teacher

MANIFESTS = Path("data_manifests")


@dataclass(frozen=True)
class JobOptions:
    """How a job is run."""

    split: str | None = None
    """label only this split"""
    limit: int = option(0, "label only so many rows; 0 for all", low=0)
    probs: bool = True
    """keep class probabilities"""
    whole: bool = False
    """take pictures whole: no landmarks, no detector"""
    kept_size: int = option(0, "side of the aligned faces that are kept, in pixels; 0 keeps none", low=0, high=1024)
    batch: int = option(32, "samples per step", low=1, high=4096)
    shard_rows: int = option(512, "rows per shard, the most that a kill can cost", low=1)
    workers: int = option(2, "threads that decode", low=1, high=256)
    device: str = "cpu"
    """where faces are detected: `cpu` or `cuda`"""
    max_failed: float = option(0.5, "share of rows that may fail", low=0, high=1)
    parts: str | None = None
    """the URL below which shards under way are kept, such as `s3://bucket/folder`; None for beside the manifest"""


@dataclass(frozen=True)
class Job:
    """A checked job that has not been started; made by `plan_job`."""

    source: Source
    teachers: tuple[Teacher, ...]
    sets: tuple[TeacherSet, ...]
    header: Header
    options: JobOptions
    out: Path
    config: Mapping[str, Any]

    @property
    def listing(self) -> Listing:
        """The rows that are labelled."""
        return Listing(self.source, self.options.split, self.options.limit, self.options.shard_rows)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over everything that decides the table."""
        return hashlib.sha256(json.dumps(self.config, sort_keys=True).encode()).hexdigest()

    @property
    def record(self) -> Path:
        """The job's record beside the manifest: its configuration and counts."""
        return self.out.with_name(f"{self.out.name}.job.json")

    @property
    def faces(self) -> Path | None:
        """The folder for aligned faces."""
        return self.out.with_name(f"{self.out.stem}_faces") if self.options.kept_size else None

    @property
    def parts(self) -> Path:
        """The folder of the job under way: its lock, and its shards where they have no other place."""
        return self.out.with_name(f"{self.out.name}.parts")

    @property
    def place(self) -> Path | str:
        """Where the shards under way are: `parts`, or a folder of the same name under a URL."""
        return f"{self.options.parts.rstrip('/')}/{self.parts.name}" if self.options.parts else self.parts


def open_source(name: str, root: Path | None, options: SourceOptions | None = None) -> Source:
    """A source by its name, or `manifest:FILE`, checked.

    Raises:
        UserError: an unknown name, or a layout that is not there.
    """
    kind, colon, file = name.partition(":")
    if kind == "manifest" and colon:
        from .manifest_source import ManifestSource

        return ManifestSource(Path(file), root, options)
    source_class = SOURCES[name]
    source = source_class(find_root(name, root), options)
    source.check()
    return source


def plan_job(
    name: str, source: Source, teachers: Sequence[Teacher], out: Path | None, options: JobOptions | None = None
) -> Job:
    """Check everything that can be checked before the first image is read.

    Args:
        name: the source's name, or `manifest:FILE`.
        source: from `open_source`.
        teachers: none to write the source's own labels and faces only.
        out: the manifest; None for `data_manifests/<source>[_by_<teacher>…].parquet`.
        options: how it is run.

    Raises:
        UserError: teachers of the same name, classes that do not fit, a label set that is there already.
    """
    options = options or JobOptions()
    check(options)
    _check_parts(options)
    if options.whole and options.kept_size:
        raise UserError("--save-faces keeps aligned faces, and with --whole none are looked for; leave out one.")
    names = [teacher.annotator for teacher in teachers]
    for annotator in names:
        if names.count(annotator) > 1:
            raise UserError(
                f"Two teachers are called '{annotator}'. Name them: "
                f"--model {annotator}1=FILE --model {annotator}2=FILE."
            )
    stem = Path(name.partition(":")[2]).stem if ":" in name else name
    out = out or MANIFESTS / f"{'_'.join([f'{stem}_by', *names]) if names else stem}.parquet"
    tasks = plan_tasks(source, teachers)
    own = source.label_sets()
    sets = plan_teacher_sets(tasks, teachers, own, probs=options.probs)
    dataset = source.dataset(stem, out)
    header = Header(
        dataset,
        tasks,
        {**own, **{made.label_set.name: made.label_set for made in sets}},
        parents=source.parents(),
        faces=_looks_for_faces(teachers, options) or source.has_faces(),
        faces_root=_faces_root(source, out, options),
    )
    config = {
        "noisyfer": __version__,
        "source": stem,
        "root": dataset.root,
        "source_fingerprint": source.fingerprint(),
        "contempt": source.options.contempt,
        "teachers": {teacher.annotator: [teacher.sha256, teacher.size, teacher.align] for teacher in teachers},
        **{
            key: getattr(options, key)
            for key in ("split", "limit", "probs", "whole", "kept_size", "batch", "shard_rows", "device")
        },
    }
    return Job(source, tuple(teachers), sets, header, options, out, config)


def _looks_for_faces(teachers: Sequence[Teacher], options: JobOptions) -> bool:
    """Whether the job aligns anything: it does without teachers, to write the faces alone."""
    wanted = not teachers or bool(options.kept_size) or any(teacher.align for teacher in teachers)
    return wanted and not options.whole


def _check_parts(options: JobOptions) -> None:
    if options.parts is None:
        return
    if not is_url(options.parts):
        raise UserError(f"--parts is '{options.parts}'; a URL such as s3://bucket/folder was expected.")
    if options.kept_size:
        raise UserError("--save-faces keeps faces beside the manifest, and --parts shards elsewhere; leave out one.")


def _faces_root(source: Source, out: Path, options: JobOptions) -> str:
    return f"{out.stem}_faces" if options.kept_size else source.faces_root(out)
