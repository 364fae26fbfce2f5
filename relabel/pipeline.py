"""The work on a batch of samples: pictures → faces → labels. One definition, whatever engine hands out the batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch

from ..core.errors import UserError, first_line
from ..core.schema import STATUS_OK
from ..images.align import Eyes, aligned, read_face, shrink_for
from ..images.decode import UnreadableImage, decode_rgb, picture_size
from ..images.pictures import PictureReader
from .faces import Detector, Face, detection_shrink
from .sources import Sample
from .teachers import Teacher

if TYPE_CHECKING:
    from PIL import Image

Array = np.ndarray[Any, Any]
Tag = TypeVar("Tag")

CHECK_SIZE = 64
"""Side of the faces that are cut out only to see whether they can be."""

AHEAD = 2
"""Batches whose pictures are being decoded while another one is labelled."""


@dataclass
class Outcome:
    """What has become of one sample.

    Attributes:
        sample: as its source has it.
        status: `ok`, or why there are no labels.
        detail: the status in words.
        face: where the face is; its score is None where the dataset said so itself. None for a picture taken whole.
        faces: uint8 S×S×3 by (S, aligned or whole); once it is labelled, those alone that are to be kept.
        labels: by teacher and task, probabilities (K) or valence and arousal (2), of float32.
    """

    sample: Sample
    status: str = STATUS_OK
    detail: str | None = None
    face: Face | None = None
    faces: dict[tuple[int, bool], Array] = field(default_factory=dict)
    labels: dict[tuple[str, str], Array] = field(default_factory=dict)

    def fail(self, status: str, detail: str) -> None:
        """Note why the sample gets no label; the first reason stands."""
        if self.status == STATUS_OK:
            self.status, self.detail = status, detail


@dataclass(frozen=True)
class _Detectable:
    """A picture, perhaps decoded smaller than it is, for the detector."""

    image: Image.Image
    shrink: int
    width: int


@dataclass
class _Work(Generic[Tag]):
    """A batch on its way, with what the threads are still at."""

    tag: Tag
    outcomes: list[Outcome]
    sources: list[Any]
    pending: list[Future[Any] | None]


class Labeller:
    """Labels batches: threads decode and align, the calling thread detects and predicts, a few batches are under way.

    Args:
        root: what the samples' references are relative to.
        teachers: none to look for faces only.
        whole: take every picture whole, without landmarks and detector.
        kept_size: side of the aligned faces that are to be kept, 0 for none.
        workers: threads.
        device: where faces are detected.
    """

    def __init__(
        self,
        root: Path,
        teachers: Sequence[Teacher],
        *,
        whole: bool = False,
        kept_size: int = 0,
        workers: int = 2,
        device: str = "cpu",
    ) -> None:
        self.teachers = teachers
        self.kept_size = kept_size
        self.device = device
        wanted = [(teacher.size, teacher.align) for teacher in teachers] + [(kept_size, True)] * bool(kept_size)
        # without any teacher the pictures are looked at all the same, so that an unreadable one is known for what it is
        self.crops = tuple(dict.fromkeys(wanted)) or ((CHECK_SIZE, True),)
        self.aligning = not whole and any(align for _, align in self.crops)
        self.reader = PictureReader(root)
        self.pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")

    @cached_property
    def detector(self) -> Detector:
        """Loaded when the first picture without landmarks comes."""
        return Detector(self.device)

    def __enter__(self) -> Labeller:
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown(wait=True, cancel_futures=True)
        self.reader.__exit__(None, None, None)

    def label(self, batches: Iterable[tuple[Tag, Sequence[Sample]]]) -> Iterator[tuple[Tag, list[Outcome]]]:
        """Label tagged batches in their order.

        Args:
            batches: a tag and some samples each; at most `AHEAD` + 2 batches are held at a time.

        Yields:
            The tag, and an outcome for each sample in order.

        Raises:
            UserError: the device has too little memory for a batch.
        """
        try:
            yield from self._label(batches)
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"The memory of the device '{self.device}' is too small for a step ({first_line(error)}). Choose a "
                "smaller --batch; it is a part of the configuration, so begin with --again or in another --out."
            ) from error

    def _label(self, batches: Iterable[tuple[Tag, Sequence[Sample]]]) -> Iterator[tuple[Tag, list[Outcome]]]:
        decoding: deque[_Work[Tag]] = deque()
        aligning: deque[_Work[Tag]] = deque()
        for tag, samples in batches:
            decoding.append(self._start(tag, samples))
            if len(decoding) > AHEAD:
                aligning.append(self._detect(decoding.popleft()))
            if len(aligning) > 1:
                yield self._finish(aligning.popleft())
        while decoding or aligning:
            if decoding:
                aligning.append(self._detect(decoding.popleft()))
            if len(aligning) > 1 or not decoding:
                yield self._finish(aligning.popleft())

    def _start(self, tag: Tag, samples: Sequence[Sample]) -> _Work[Tag]:
        outcomes = [Outcome(sample, sample.status, sample.detail, _known_face(sample)) for sample in samples]
        usable = [index for index, outcome in enumerate(outcomes) if outcome.status == STATUS_OK]
        sources: list[Any] = [None] * len(samples)
        pending: list[Future[Any] | None] = [None] * len(samples)
        for index, source in zip(usable, self.reader.fetch([samples[i].image for i in usable]), strict=True):
            if isinstance(source, UnreadableImage):
                outcomes[index].fail(source.status, source.reason)
            else:
                sources[index] = source
                pending[index] = self.pool.submit(self._prepare, outcomes[index], source)
        return _Work(tag, outcomes, sources, pending)

    def _prepare(self, outcome: Outcome, source: Any) -> _Detectable | None:
        """In a thread: the crops of a sample whose face is known, or its picture for the detector."""
        try:
            if self.aligning and outcome.face is None and not outcome.sample.whole:
                return _detectable(source, outcome.sample.image)
            self._crop(outcome, source)
        except UnreadableImage as error:
            outcome.fail(error.status, error.reason)
        return None

    def _crop(self, outcome: Outcome, source: Any, decoded: _Detectable | None = None) -> None:
        """Fill `outcome.faces`; a picture at hand in just the resolution that is needed is not decoded again."""
        reference = outcome.sample.image
        for size, align in self.crops:
            eyes = outcome.face.eyes if outcome.face is not None and align and self.aligning else None
            if decoded is not None and eyes is not None and shrink_for(eyes, size) == decoded.shrink:
                outcome.faces[size, align] = aligned(decoded.image, eyes, size, decoded.shrink)
            else:
                outcome.faces[size, align] = read_face(source, reference, eyes, size)

    def _detect(self, work: _Work[Tag]) -> _Work[Tag]:
        results = [None if future is None else future.result() for future in work.pending]
        waiting = {index: picture for index, picture in enumerate(results) if picture is not None}
        work.pending = [None] * len(results)
        if not waiting:
            return work
        pictures = list(waiting.values())
        faces = self.detector.detect([each.image for each in pictures], [each.width for each in pictures])
        for (index, picture), face in zip(waiting.items(), faces, strict=True):
            outcome = work.outcomes[index]
            if face is None:
                outcome.fail("no_face", "the detector found no face")
                continue
            outcome.face = face
            work.pending[index] = self.pool.submit(self._align, outcome, work.sources[index], picture)
        return work

    def _align(self, outcome: Outcome, source: Any, picture: _Detectable) -> None:
        try:
            self._crop(outcome, source, picture)
        except UnreadableImage as error:
            outcome.fail(error.status, error.reason)

    def _finish(self, work: _Work[Tag]) -> tuple[Tag, list[Outcome]]:
        for future in work.pending:
            if future is not None:
                future.result()
        usable = [outcome for outcome in work.outcomes if outcome.status == STATUS_OK]
        if usable:
            for teacher in self.teachers:
                faces = np.stack([outcome.faces[teacher.size, teacher.align] for outcome in usable])
                # B×S×S×3 seen as B×3×S×S is channels_last already
                predicted = teacher.predict(torch.from_numpy(faces).permute(0, 3, 1, 2))
                for task, values in predicted.items():
                    _keep(usable, teacher.annotator, task, values.numpy())
        for outcome in work.outcomes:  # a shard's outcomes wait together: only what is kept of their pixels
            outcome.faces = {crop: face for crop, face in outcome.faces.items() if crop == (self.kept_size, True)}
        return work.tag, work.outcomes


def _keep(outcomes: Sequence[Outcome], annotator: str, task: str, values: Array) -> None:
    for outcome, row in zip(outcomes, values, strict=True):
        if np.isfinite(row).all():
            outcome.labels[annotator, task] = row
        else:
            outcome.fail("bad_output", f"the teacher '{annotator}' answered with numbers that are not finite ({task})")


def _known_face(sample: Sample) -> Face | None:
    if sample.eyes is None or sample.whole:
        return None
    return Face(sample.box, sample.score, float32_eyes(sample.eyes))


def float32_eyes(eyes: Eyes) -> Eyes:
    """The eyes as a manifest keeps them, so that whoever aligns by the manifest sees the same pixels."""
    left_x, left_y, right_x, right_y = np.asarray(eyes, np.float32).tolist()
    return left_x, left_y, right_x, right_y


def _detectable(source: Any, reference: str) -> _Detectable:
    from PIL import Image

    if isinstance(source, np.ndarray):
        return _Detectable(Image.fromarray(source), 1, source.shape[1])
    width, height = picture_size(source, reference)
    shrink = detection_shrink(width, height)
    return _Detectable(decode_rgb(source, reference, shrink), shrink, width)
