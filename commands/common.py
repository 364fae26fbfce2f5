"""What all commands share: errors as sentences, Ctrl-C as status 130."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import click

from ..core.errors import Stopped, UserError

INTERRUPTED = 130


def sentences(command: Callable[..., None]) -> Callable[..., None]:
    """Turn a `UserError` into its sentence on stderr and exit status 1; Ctrl-C, heeded or not, into status 130."""

    @functools.wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except Stopped as stopped:
            click.echo(str(stopped), err=True)
            sys.exit(INTERRUPTED)
        except UserError as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            click.echo("Stopped. Nothing half-written is left. To go on, run the same command again.", err=True)
            sys.exit(INTERRUPTED)

    return guarded
