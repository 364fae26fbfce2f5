"""What EmotiEffLib's recognisers return, stored beside the images' names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...core.errors import UserError
from ..sources.vocabulary import expression_name
from ..tables import csv_batches, csv_header, find_columns, number_of, numbers
from .base import FORMATS, Format, Peek, ReadOptions, Rows
from .columns import KEYS
from .json_files import load, records
from .values import as_probabilities

_EIGHT = ("Anger", "Contempt", "Disgust", "Fear", "Happiness", "Neutral", "Sadness", "Surprise")
_SEVEN = tuple(name for name in _EIGHT if name != "Contempt")
_VA = ("valence", "arousal")
_ORDERS = {7: _SEVEN, 8: _EIGHT, 9: _SEVEN + _VA, 10: _EIGHT + _VA}
_EMOTION = ("emotion", "emotions", "expression", "label", "prediction")


@FORMATS.register("emotiefflib")
class EmotiEffLib(Format):
    """Results of `predict_emotions` of EmotiEffLib 1.0 (formerly hsemotion), with the images' names.

    It returns names of emotions (`Anger`, `Contempt`, …, alphabetical; seven or eight) and an array of scores in that
    order, logits or probabilities; the `_mtl` models put valence and arousal after them. It writes no file itself.
    Understood are a csv with a column of images, `emotion`, columns named as the emotions, `valence` and `arousal`, as
    many as there are; JSON with `[{"image": …, "emotion": …, "scores": […], "valence": …, "arousal": …}, …]`; and
    `{"images": […], "emotions": […], "scores": [[…], …]}`. Scores are taken for probabilities where all rows of the
    file are, else for logits.
    """

    summary: ClassVar[str] = "EmotiEffLib's emotions and scores with the images' names, csv or JSON"
    rank: ClassVar[int] = 4
    annotator: ClassVar[str] = "emotiefflib"

    def fits(self, peek: Peek) -> bool:
        """Whether it is a csv with columns of emotions, or JSON with emotions and scores."""
        if peek.is_json:
            return peek.has_key("emotion", "scores") or peek.has_key("images", "emotions")
        return len({expression_name(name) for name in peek.columns} - {None}) >= 7

    def read(self, path: Path, options: ReadOptions) -> Iterator[Rows]:
        """All rows.

        Raises:
            UserError: there are no names of images, or rows of scores of another length than 7 to 10.
        """
        yield self._from_json(path, options) if Peek(path).is_json else self._from_csv(path, options)

    def _from_csv(self, path: Path, options: ReadOptions) -> Rows:
        header = csv_header(path)
        names = [name for name in header if expression_name(name)]
        wanted = {
            "image": [*KEYS["image"], *KEYS["id"]],
            "emotion": _EMOTION,
            "valence": ["valence"],
            "arousal": ["arousal"],
        }
        columns = {**find_columns(path, header, wanted), **options.columns}
        if "image" not in columns:
            raise UserError(f"{path} has no column of images' names; say it with --columns image=….")
        batches = list(csv_batches(path, {**{name: name for name in names}, **columns}))
        texts = {role: [text for batch in batches for text in batch.texts[role]] for role in (*names, *columns)}
        scores = np.stack([numbers(texts[name]) for name in names], axis=1) if names else None
        va = np.stack([numbers(texts[name]) for name in _VA], axis=1) if set(_VA) <= columns.keys() else None
        emotions = texts.get("emotion", texts.get("expression"))
        where = [row for batch in batches for row in batch.rows]
        return _rows(texts["image"], where, emotions, scores, tuple(names), va)

    def _from_json(self, path: Path, options: ReadOptions) -> Rows:
        top = load(path)
        if isinstance(top, dict) and isinstance(top.get("images"), list):
            columns = {key: top.get(key) for key in ("images", "emotions", "scores")}
            lengths = {len(value) for value in columns.values() if isinstance(value, list)}
            if len(lengths) != 1:
                raise UserError(
                    f"{path}: 'images', 'emotions' and 'scores' have different lengths; one of each an image."
                )
            count = lengths.pop()
            given = [value if isinstance(value, list) else [None] * count for value in columns.values()]
            found: list[Mapping[str, Any]] = [
                {"image": image, "emotion": emotion, "scores": scores}
                for image, emotion, scores in zip(*given, strict=True)
            ]
            images = [image if isinstance(image, str) else "" for image in given[0]]
            where = list(range(1, count + 1))
        else:
            every = list(records(path, options.columns.get("image", ""), ("result",), ("emotion", "scores")))
            found, images = [record.values for record in every], [record.image for record in every]
            where = [record.entry for record in every]
        names, scores, va = _matrix(path, found)
        emotions = [_text(next((values[key] for key in _EMOTION if key in values), None)) for values in found]
        return _rows(images, where, emotions, scores, names, va)


def _rows(
    images: Sequence[str],
    where: Sequence[int],
    emotions: Sequence[str] | None,
    scores: npt.NDArray[np.float64] | None,
    names: tuple[str, ...],
    va: npt.NDArray[np.float64] | None,
) -> Rows:
    classes = {"expression": emotions} if emotions is not None and any(emotions) else {}
    probabilities = None if scores is None else as_probabilities(scores)
    return Rows(images, where, classes=classes, scores=probabilities, score_classes=names, va=va)


def _matrix(
    path: Path, found: Sequence[Mapping[str, Any]]
) -> tuple[tuple[str, ...], npt.NDArray[np.float64] | None, npt.NDArray[np.float64] | None]:
    """Names and scores (n×K), and valence and arousal (n×2), of records with a list of scores or one by name."""
    width = next((len(one) for values in found if isinstance(one := values.get("scores"), (list, dict)) and one), 0)
    order = _ORDERS.get(width)
    if width and order is None:
        raise UserError(
            f"{path} has rows of {width} scores; 7 or 8 emotions were expected, and perhaps valence and arousal."
        )
    rows = np.full((len(found), width), np.nan)
    for place, values in enumerate(found):
        scores = values.get("scores")
        if isinstance(scores, dict):
            by_name = {expression_name(name) or name.casefold(): value for name, value in scores.items()}
            scores = [by_name.get(expression_name(name) or name) for name in order or ()]
        if isinstance(scores, list) and scores:
            if len(scores) != width:
                raise UserError(
                    f"{path} has rows of {width} and of {len(scores)} scores; all of one length were expected."
                )
            rows[place] = [number_of(value) for value in scores]
    said = np.array([[number_of(values.get(name)) for name in _VA] for values in found]).reshape(-1, 2)
    with_va = order is not None and order[-2:] == _VA
    va = rows[:, -2:] if with_va else said if not np.isnan(said).all() else None
    names = tuple(name for name in order or () if name not in _VA)
    return names, rows[:, : len(names)] if names else None, va


def _text(value: Any) -> str:
    if isinstance(value, list) and len(value) == 1:  # as it comes for one image
        value = value[0]
    return value if isinstance(value, str) else "" if value is None else f"{value!r:.40}"
