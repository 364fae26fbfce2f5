"""The values of a JSON object that a person may have written, taken out one by one with sentences for what is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from .errors import UserError, unknown_name
from .schema import Task


class Fields:
    """A JSON object and where it stands.

    Args:
        value: what JSON gave.
        where: told in errors, such as a file's name.

    Raises:
        UserError: it is no object.
    """

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, Mapping):
            raise UserError(f"{where} holds {_shown(value)}; a JSON object was expected.")
        self.value = value
        self.where = where

    def only(self, known: Iterable[str]) -> None:
        """Refuse keys that mean nothing; a typing error would go unseen.

        Raises:
            UserError: with the nearest known key.
        """
        names = list(known)
        for key in self.value:
            if key not in names:
                raise UserError(f"{self.where}: {unknown_name('key', str(key), names)}")

    def has(self, key: str) -> bool:
        """Whether the key is there and not null."""
        return self.value.get(key) is not None

    def text(self, key: str, default: str | None = None, choices: Iterable[str] = ()) -> str:
        """A text, one of `choices` where there are any."""
        found = self._get(key, default)
        allowed = list(choices)
        if not isinstance(found, str) or (allowed and found not in allowed):
            raise self.wrong(key, f"one of {', '.join(allowed)}" if allowed else "a text")
        return found

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        found = self._get(key, default)
        if not isinstance(found, bool):
            raise self.wrong(key, "true or false")
        return found

    def whole(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number from low to high."""
        found = self._get(key, default)
        if type(found) is not int or not low <= found <= high:
            raise self.wrong(key, f"a whole number from {low} to {high}")
        return found

    def number(self, key: str, low: float, high: float, default: float | None = None) -> float:
        """A number from low to high."""
        found = self._get(key, default)
        if not _is_number(found) or not low <= found <= high:
            raise self.wrong(key, f"a number from {low:g} to {high:g}")
        return float(found)

    def numbers(self, key: str, count: int, default: tuple[float, ...] | None = None) -> tuple[float, ...]:
        """`count` finite numbers; one alone stands for all."""
        found = self._get(key, default)
        several = [found] * count if _is_number(found) else found
        if not isinstance(several, (list, tuple)) or len(several) != count or not all(map(_is_number, several)):
            raise self.wrong(key, f"a list of {count} numbers" if count > 1 else "a number")
        return tuple(float(value) for value in several)

    def names(self, key: str, least: int, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """A list of at least so many different texts."""
        found = self._get(key, default)
        if (
            not isinstance(found, (list, tuple))
            or len(found) < least
            or not all(isinstance(name, str) and name for name in found)
            or len(set(found)) != len(found)
        ):
            raise self.wrong(key, f"a list of at least {least} different texts")
        return tuple(found)

    def inner(self, key: str) -> Fields:
        """An object inside; an empty one where it is missing."""
        return Fields(self.value.get(key, {}), f"'{key}' in {self.where}")

    def wrong(self, key: str, expected: str) -> UserError:
        """The sentence for a value of the wrong kind."""
        return UserError(f"'{key}' in {self.where} is {_shown(self.value.get(key))}; {expected} was expected.")

    def _get(self, key: str, default: Any) -> Any:
        if self.has(key):
            return self.value[key]
        if default is None:
            raise UserError(f"{self.where} has no '{key}'.")
        return default


def task_from(entry: Fields, name: str) -> Task:
    """A task from its entry in JSON, as `Task.to_json` writes it.

    Raises:
        UserError: it is no task.
    """
    if entry.text("kind", choices=("categorical", "continuous")) == "continuous":
        return Task(name, "continuous")
    return Task(name, "categorical", entry.names("classes", 2))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
