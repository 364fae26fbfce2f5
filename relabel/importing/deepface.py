"""DeepFace's results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..tables import number_of
from .base import FORMATS, Format, Peek, ReadOptions, Rows
from .faces import chosen_faces, note
from .json_files import Record, records

_EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


@FORMATS.register("deepface")
class DeepFace(Format):
    """Results of `DeepFace.analyze(actions=["emotion"])`, stored as JSON with the images' names.

    From version 0.0.76 `analyze` returns a list of one object a face: `emotion` (seven percentages by name),
    `dominant_emotion`, `region` (`x`, `y`, `w`, `h`), `face_confidence`; before, one such object. It holds no name, so
    that a script must add one: `{"a.jpg": <result>, …}`, `[{"image": "a.jpg", "results": <result>}, …]` or, for one
    face an image, `[{"image": "a.jpg", "emotion": …}, …]`; also one such object a line.
    """

    summary: ClassVar[str] = "results of DeepFace.analyze as JSON, with the images' names"
    rank: ClassVar[int] = 2
    annotator: ClassVar[str] = "deepface"

    def __init__(self) -> None:
        self._several = 0

    def fits(self, peek: Peek) -> bool:
        """Whether its key is there."""
        return peek.is_json and peek.has_key("dominant_emotion")

    def read(self, path: Path, options: ReadOptions) -> Iterator[Rows]:
        """One row an image, of its largest face."""
        marks = ("emotion", "dominant_emotion")
        nested = ("results", "result", "analysis", "faces")
        found = list(records(path, options.columns.get("image", ""), nested, marks))
        images = [record.image for record in found]
        areas = np.array([_area(record.values.get("region")) for record in found])
        confidences = np.array([number_of(record.values.get("face_confidence")) for record in found])
        places, self._several = chosen_faces(images, areas, confidences)
        chosen = [found[place] for place in places]
        yield Rows(
            [record.image for record in chosen],
            [record.entry for record in chosen],
            classes={"expression": [_dominant(record) for record in chosen]},
            scores=np.array([_scores(record.values.get("emotion")) for record in chosen]).reshape(-1, len(_EMOTIONS)),
            score_classes=_EMOTIONS,
        )

    def notes(self) -> tuple[str, ...]:
        """About images with several faces."""
        return note(self._several)


def _dominant(record: Record) -> str:
    said = record.values.get("dominant_emotion")
    if isinstance(said, str):
        return said
    scores = np.array(_scores(record.values.get("emotion")))
    return _EMOTIONS[int(scores.argmax())] if np.isfinite(scores).all() and scores.any() else ""


def _scores(emotion: Any) -> list[float]:
    if not isinstance(emotion, Mapping):
        return [np.nan] * len(_EMOTIONS)
    return [number_of(emotion.get(name)) for name in _EMOTIONS]


def _area(region: Any) -> float:
    if not isinstance(region, Mapping):
        return float("nan")
    area = number_of(region.get("w")) * number_of(region.get("h"))
    return area if np.isfinite(area) else float("nan")
