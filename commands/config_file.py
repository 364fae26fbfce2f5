"""A command's options from a TOML file: the same words as on the command line, which goes before it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import click

from ..core.errors import UserError, first_line, unknown_name


def read_config(path: Path, command: click.Command) -> dict[str, Any]:
    """A command's values by parameter name, as `click.Context.default_map` takes them.

    Args:
        path: a TOML file. Keys are the command's long options without dashes in front (`test_images` and `test-images`
            are one) or the names of its arguments; options that may be repeated take lists; `set` takes a table too.
        command: whose options they are.

    Raises:
        UserError: the file cannot be read, is no TOML, has a key that is no option, or a value of no use for it.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot read the options in {path}: {first_line(error)}.") from error
    known = {name: parameter for parameter in command.params for name in _names(parameter)}
    values: dict[str, Any] = {}
    for key, value in found.items():
        if key.replace("_", "-") not in known:
            raise unknown_name(f"option of '{command.name}' in {path}", key, known)
        parameter = known[key.replace("_", "-")]
        if parameter.name is None or parameter.name in values:
            raise UserError(f"{path} sets '{key}' twice; leave one of them out.")
        values[parameter.name] = _value(path, key, value, parameter)
    return values


def _names(parameter: click.Parameter) -> list[str]:
    """What a file may call a parameter; not `--config` itself, and nothing that ends the program such as `--help`."""
    if isinstance(parameter, click.Option) and parameter.is_eager:
        return []
    return [name.lstrip("-").replace("_", "-") for name in parameter.opts if len(name.lstrip("-")) > 1]


def _value(path: Path, key: str, value: Any, parameter: click.Parameter) -> Any:
    """A TOML value as the command line would have it: text, a list of texts for what may be repeated, or a flag."""
    if isinstance(parameter, click.Option) and parameter.is_flag:
        if not isinstance(value, bool):
            raise UserError(f"{path}: '{key}' is {value!r}; true or false was expected.")
        return value
    several = parameter.multiple if isinstance(parameter, click.Option) else parameter.nargs != 1
    if isinstance(value, dict) and several:
        return [f"{name}={_text(path, key, each)}" for name, each in value.items()]
    if several:
        return [_text(path, key, each) for each in (value if isinstance(value, list) else [value])]
    return _text(path, key, value)


def _text(path: Path, key: str, value: Any) -> str:
    """One value as it would be typed; of a list a comma list."""
    if isinstance(value, list):
        return ",".join(_text(path, key, each) for each in value)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UserError(f"{path}: '{key}' has {value!r}; a text, a number, or a list of these was expected.")
    return str(value)
