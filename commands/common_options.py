"""What every command has: --config, --quiet, --verbose, and options from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..core import terminal
from ..core.errors import UserError
from .config_file import read_config


def with_common_options(command: click.Command) -> click.Command:
    """The same command, which now has the options of all; `--preset` of bench also from NOISYFER_BENCH_PRESET."""
    command.params += [
        click.Option(
            ["--config"],
            type=click.Path(path_type=Path),
            is_eager=True,
            expose_value=False,
            callback=_configure,
            help="Options from a TOML file, by their names; what is typed goes before it.",
        ),
        click.Option(
            ["--quiet", "-q"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_quieten,
            help="Print errors and what --json asks for, nothing else.",
        ),
        click.Option(
            ["--verbose", "-v"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_explain,
            help="With an error, also print where in the program it came from.",
        ),
    ]
    for option in command.params:
        if isinstance(option, click.Option):
            # click by itself goes by the parameter's name, which is `methods` for --method
            name = max(option.opts, key=len).removeprefix("--")
            option.envvar = f"NOISYFER_{command.name}_{name}".replace("-", "_").upper()
    return command


def _configure(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    try:
        values = read_config(path, context.command)
    except UserError as error:
        raise click.ClickException(str(error)) from error
    context.default_map = {**(context.default_map or {}), **values}


def _quieten(context: click.Context, _: click.Parameter, quiet: Any) -> None:
    terminal.set_quiet(bool(quiet))


def _explain(context: click.Context, _: click.Parameter, verbose: Any) -> None:
    terminal.set_verbose(bool(verbose))
