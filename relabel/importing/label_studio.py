"""Label Studio's export."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from ...core.errors import UserError
from ..sources.annotations import listed
from ..tables import number_of
from .base import ANY_TASK, FORMATS, Format, Peek, ReadOptions, Rows
from .json_files import IMAGE_KEYS, load

_UPLOAD = re.compile(r"/data/upload/(?:\d+/)?(?:[0-9a-f]{8}-)?(.+)")
_LOCAL = "/data/local-files/"
_VA = ("valence", "arousal")


@FORMATS.register("label-studio")
class LabelStudio(Format):
    """A project's export as JSON from Label Studio 1.x, with one choice an image.

    A list of tasks, each with `data` (the image's path or address) and `annotations`, each of them with `completed_by`
    (a number, or an object with `id` and `email`), `was_cancelled`, `updated_at` and `result`, whose entries of type
    `choices` have `value.choices`. Entries of type `number` named `valence` and `arousal` are read too. Each person
    becomes an annotator, `user<id>`; of several annotations by one the last counts, skipped ones never do.

    Uploaded files have an address like `/data/upload/3/0a1b2c3d-name.jpg`; the part before the name is left out.
    """

    summary: ClassVar[str] = "Label Studio's JSON export with choices"
    rank: ClassVar[int] = 1

    def fits(self, peek: Peek) -> bool:
        """Whether tasks with annotations are there."""
        return peek.is_json and peek.has_key("annotations", "data")

    def read(self, path: Path, options: ReadOptions) -> Iterator[Rows]:
        """One row for each image and person.

        Raises:
            UserError: it is another kind of export, or has several questions with choices.
        """
        tasks = load(path)
        if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
            raise UserError(f"{path} is no list of tasks; a project's export in the format JSON was expected.")
        question = _question(path, tasks, options)
        images, where, people, classes, va = [], [], [], [], []
        for number, task in enumerate(tasks, 1):
            image = _image(task.get("data"), options.columns.get("image", ""))
            for person, annotation in _latest(task).items():
                images.append(image)
                where.append(number)
                people.append(person)
                classes.append(_choice(annotation, question))
                va.append([_number(annotation, name) for name in _VA])
        pairs = np.array(va).reshape(-1, 2)
        yield Rows(
            images,
            where,
            annotators=people,
            classes={options_task(options): classes} if question else {},
            va=None if np.isnan(pairs).all() else pairs,
        )


def options_task(options: ReadOptions) -> str:
    """The task that the user gave a question for; else whatever there is."""
    return next((role for role in ("expression", "class") if role in options.columns), ANY_TASK)


def _results(annotation: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    results = annotation.get("result")
    yield from (result for result in results if isinstance(result, dict)) if isinstance(results, list) else ()


def _annotations(task: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    annotations = task.get("annotations")
    for annotation in annotations if isinstance(annotations, list) else ():
        if isinstance(annotation, dict) and not annotation.get("was_cancelled"):
            yield annotation


def _latest(task: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Each person's last annotation."""
    found: dict[str, Mapping[str, Any]] = {}
    for annotation in _annotations(task):
        person = _person(annotation.get("completed_by"))
        if person not in found or _time(annotation) >= _time(found[person]):
            found[person] = annotation
    return found


def _time(annotation: Mapping[str, Any]) -> str:
    return str(annotation.get("updated_at") or annotation.get("created_at") or "")


def _person(by: Any) -> str:
    if isinstance(by, dict):
        by = by.get("id", by.get("email"))
    return f"user{by}" if isinstance(by, int) and not isinstance(by, bool) else by if isinstance(by, str) else ""


def _question(path: Path, tasks: list[dict[str, Any]], options: ReadOptions) -> str:
    """The name of the question whose choices are the labels; empty where there are none."""
    said = next((options.columns[role] for role in ("expression", "class", "label") if role in options.columns), "")
    names = {
        str(result.get("from_name"))
        for task in tasks
        for annotation in _annotations(task)
        for result in _results(annotation)
        if result.get("type") == "choices"
    }
    if said and said not in names:
        raise UserError(f"{path} has no choices named '{said}'; it has {listed(sorted(names)) or 'none'}.")
    if len(names) > 1 and not said:
        raise UserError(
            f"{path} has several questions with choices: {listed(sorted(names))}. Say which one with --columns "
            "expression=NAME, or class=NAME."
        )
    return said or next(iter(names), "")


def _choice(annotation: Mapping[str, Any], question: str) -> str:
    for result in _results(annotation):
        if result.get("type") == "choices" and str(result.get("from_name")) == question:
            value = result.get("value")
            choices = value.get("choices") if isinstance(value, dict) else None
            if isinstance(choices, list) and choices:
                return str(choices[0]) if len(choices) == 1 else f"{len(choices)} choices"
    return ""


def _number(annotation: Mapping[str, Any], name: str) -> float:
    for result in _results(annotation):
        value = result.get("value")
        if result.get("type") == "number" and result.get("from_name") == name and isinstance(value, dict):
            return number_of(value.get("number"))
    return float("nan")


def _image(data: Any, key: str) -> str:
    """The image's path in a task's data, without what Label Studio puts around it."""
    if not isinstance(data, dict):
        return ""
    keys = (key,) if key else (*IMAGE_KEYS, *data)
    text = next((data[one] for one in keys if isinstance(data.get(one), str)), "")
    try:
        parts = urlsplit(text)
        if parts.path.endswith(_LOCAL):
            return parse_qs(parts.query).get("d", [""])[0]
    except ValueError:  # an address with a bracket that is never closed
        return text
    path = unquote(parts.path)
    uploaded = _UPLOAD.fullmatch(path)
    if uploaded:
        return uploaded[1]
    return path.removeprefix("/") if parts.scheme in ("http", "https", "s3", "gs") else text
