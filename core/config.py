"""Frozen dataclasses as configuration: documented options with ranges, read from `key=value` and checked once."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from .errors import UserError, unknown_name

C = TypeVar("C")


def option(
    default: Any,
    meaning: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A dataclass field with its meaning and the values it may take.

    Args:
        default: the default value, also the paper's unless said.
        meaning: what the option does, for help texts and errors.
        low: smallest value allowed.
        high: largest value allowed.
        above: values must be greater than this.
        choices: the strings allowed.
    """
    limits = {"low": low, "high": high, "above": above, "choices": choices}
    return dataclasses.field(default=default, metadata={"meaning": meaning, **limits})


def public_name(field_name: str) -> str:
    """The name a user types for a field: `lambda_` is `lambda`."""
    return field_name.rstrip("_")


def options(config_class: type) -> dict[str, dataclasses.Field[Any]]:
    """The options of a configuration class by their public names, in the order of their definition."""
    return {public_name(field.name): field for field in dataclasses.fields(config_class) if field.metadata}


def parse_settings(texts: typing.Iterable[str]) -> dict[str, str]:
    """Split `key=value` texts.

    Raises:
        UserError: a text has no `=`.
    """
    settings: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UserError(f"'{text}' is not of the form key=value, such as epochs=10.")
        settings[key.strip()] = value.strip()
    return settings


def with_settings(config: C, settings: Mapping[str, Any]) -> C:
    """A copy of `config` with some options set, each from its text or its value, and all checked.

    Raises:
        UserError: an unknown option, or a value of the wrong kind or out of range.
    """
    known = options(type(config))
    hints = typing.get_type_hints(type(config))
    changes = {}
    for name, value in settings.items():
        if name not in known:
            raise unknown_name("option", name, known)
        field = known[name]
        changes[field.name] = _convert(name, value, hints[field.name])
    changed: C = dataclasses.replace(config, **changes)  # type: ignore[type-var]
    check(changed)
    return changed


def check(config: Any) -> None:
    """Check every option of a configuration against its range.

    Raises:
        UserError: the first value that is not allowed, with what is.
    """
    for name, field in options(type(config)).items():
        value = getattr(config, field.name)
        limits = field.metadata
        if limits["choices"] and value not in limits["choices"]:
            raise unknown_name(f"value of {name}", str(value), limits["choices"])
        if isinstance(value, (int, float)):
            low, high, above = limits["low"], limits["high"], limits["above"]
            if isinstance(value, float) and not math.isfinite(value):
                raise UserError(f"{name} is {value}; a finite number was expected ({field.metadata['meaning']}).")
            if low is not None and value < low:
                raise UserError(f"{name} is {value}; it must be at least {low} ({limits['meaning']}).")
            if above is not None and value <= above:
                raise UserError(f"{name} is {value}; it must be greater than {above} ({limits['meaning']}).")
            if high is not None and value > high:
                raise UserError(f"{name} is {value}; it must be at most {high} ({limits['meaning']}).")


def to_dict(config: Any) -> dict[str, Any]:
    """The options with their values, by public names, ready for JSON."""
    return {name: getattr(config, field.name) for name, field in options(type(config)).items()}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two nested configurations, as `name: old → new`."""
    found = []
    for key in dict.fromkeys([*old, *new]):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after)
        elif before != after:
            found.append(f"{key}: {before} → {after}")
    return found


def _convert(name: str, value: Any, kind: Any) -> Any:
    if kind not in (int, float):
        return str(value)
    try:
        number = kind(value)
        if isinstance(value, bool) or (isinstance(value, float) and number != value and value == value):
            raise ValueError  # int() would make 1 of true and 10 of 10.7
        return number
    except (TypeError, ValueError, OverflowError):
        noun = "a whole number" if kind is int else "a number"
        raise UserError(f"{name} is '{value}'; {noun} was expected.") from None
