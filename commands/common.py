"""What all commands share: errors as sentences, Ctrl-C as status 130."""

from __future__ import annotations

import errno
import functools
import json
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
from click.core import ParameterSource
from click.decorators import FC

from ..core.errors import Stopped, UserError, first_line
from ..core.files import finite
from ..core.scarcity import scarcity
from ..core.terminal import is_verbose
from .stopping import interruptible, status_after, tell, undisturbed

T = TypeVar("T")


def seed_option(meaning: str) -> Callable[[FC], FC]:
    """`--seed`, a whole number of at least 0 and 0 where none is given."""
    return click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help=meaning)


def sentences(command: Callable[..., T]) -> Callable[..., T]:
    """Turn a `UserError` into its sentence on stderr and exit status 1; Ctrl-C, heeded or not, into status 130, and
    other signals that end a command into theirs."""

    @functools.wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> T:
        try:
            with interruptible():
                return command(*args, **kwargs)
        except Stopped as stopped:
            tell(str(stopped))
            sys.exit(status_after(stopped))
        except UserError as error:
            if is_verbose():
                traceback.print_exc()
            raise click.ClickException(str(error)) from error
        except (MemoryError, OSError, ImportError, RuntimeError, UnicodeEncodeError) as error:
            if (interrupt := _interrupted_before(error)) is not None:  # such as by a terminal that is gone
                sys.exit(status_after(interrupt))
            sentence = scarcity(error) or _unusable_name(error)
            if sentence is None or is_verbose():
                raise
            raise click.ClickException(sentence) from error
        except KeyboardInterrupt as interrupt:
            with undisturbed():
                tell("Stopped. Nothing half-written is left. To go on, run the same command again.")
            sys.exit(status_after(interrupt))

    return guarded


def _unusable_name(error: BaseException) -> str | None:
    """The sentence for a name that no file can have, or that cannot be written; None for other errors."""
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"A name is too long for the file system ({first_line(error)}). Give a shorter one."
    if isinstance(error, UnicodeEncodeError) and "\ud800" <= error.object[error.start] <= "\udfff":
        near = error.object[max(0, error.start - 50) : error.start + 50]
        return f"A name is no UTF-8, which is needed here: {near!r}. Give the file or folder another one."
    return None


def _interrupted_before(error: BaseException) -> KeyboardInterrupt | None:
    """The signal that was being handled when an error came up."""
    context = error.__context__
    while context is not None and not isinstance(context, KeyboardInterrupt):
        context = context.__context__
    return context


class Settings(click.Option):
    """`--set KEY=VALUE`, which may be repeated: what is typed comes after what a --config file sets, and goes first."""

    def __init__(self, names: Sequence[str], **more: Any) -> None:
        super().__init__(names, multiple=True, metavar="KEY=VALUE", **more)

    def consume_value(self, ctx: click.Context, opts: Any) -> Any:
        """The file's values and then those that were typed."""
        value, source = super().consume_value(ctx, opts)
        if source is ParameterSource.COMMANDLINE and self.name is not None:
            value = (*(ctx.lookup_default(self.name) or ()), *value)
        return value, source


def print_json(value: Any) -> None:
    """Print for programs: indented, NaN and infinities as null."""
    click.echo(json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False))
