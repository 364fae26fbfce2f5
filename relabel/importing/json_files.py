"""JSON of other tools: read whole within bounds, and the records in it that are about an image."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.errors import UserError, first_line
from ..sources.annotations import unreadable
from .base import size_within

MAX_BYTES = 2**29
IMAGE_KEYS = ("image", "img_path", "image_path", "path", "file", "file_name", "filename", "img", "id")


@dataclass(frozen=True)
class Record:
    """One object about an image.

    Attributes:
        image: the name it goes by; empty where there is none.
        values: the object.
        entry: its place in the file, counted from 1.
    """

    image: str
    values: Mapping[str, Any]
    entry: int


def load(path: Path) -> Any:
    """The value in a JSON file, or the list of those in a file of one JSON object a line.

    Raises:
        UserError: it is too large, cannot be read, or is no JSON.
    """
    size_within(path, MAX_BYTES)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8; JSON in UTF-8 was expected.") from error
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2 or not all(line.lstrip().startswith("{") for line in lines):
            raise _no_json(path, error) from error
    try:
        return [json.loads(line) for line in lines]
    except (ValueError, RecursionError) as error:
        raise _no_json(path, error) from error


def _no_json(path: Path, error: Exception) -> UserError:
    why = "it is nested too deeply" if isinstance(error, RecursionError) else first_line(error)
    return UserError(f"{path} cannot be read as JSON: {why}. Is it truncated? Export it anew.")


def records(path: Path, key: str, nested: tuple[str, ...], marks: tuple[str, ...]) -> Iterator[Record]:
    """The objects about images in a file, however the user's script put names to them.

    Understood are a list of objects that each hold the image's name beside the result or beside a list of results, and
    an object of results by image's name.

    Args:
        path: the file.
        key: the key of the image's name; empty for the usual ones.
        nested: keys under which a result, or a list of results, may stand.
        marks: keys that a result has.

    Raises:
        UserError: it is no JSON, or names no images.
    """
    top = load(path)
    keys = (key,) if key else IMAGE_KEYS
    if isinstance(top, dict) and not any(mark in top for mark in (*marks, *nested)):
        pairs = [({keys[0]: name}, value) for name, value in top.items()]
    else:
        entries = top if isinstance(top, list) else [top]
        pairs = [({}, entry) for entry in entries]
    found_name = False
    for number, (name, entry) in enumerate(pairs, 1):
        for result in _results(entry, nested):
            values = {**name, **result}
            image = next((values[one] for one in keys if isinstance(values.get(one), str)), "")
            found_name |= bool(image)
            yield Record(image, values, number)
    if pairs and not found_name:
        raise UserError(
            f"{path} does not say which result is of which image: none has the key {' or '.join(map(repr, keys[:4]))}. "
            "Store the image's path beside each result, or say its key with --columns image=KEY."
        )


def _results(entry: Any, nested: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    """The results in an entry, each with the entry's own keys."""
    if isinstance(entry, list):
        for part in entry:
            yield from _results(part, ())
        return
    if not isinstance(entry, dict):
        yield {}
        return
    for key in nested:
        inner = entry.get(key)
        if isinstance(inner, (dict, list)):
            own = {name: value for name, value in entry.items() if name != key}
            parts = inner if isinstance(inner, list) else [inner]
            for part in parts:
                yield {**own, **part} if isinstance(part, dict) else own
            if not parts:
                yield own
            return
    yield entry
