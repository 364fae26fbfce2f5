"""Where tables and progress are printed."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

PLAIN_WIDTH = 160
"""Columns of a table that goes to a file or a pipe, where there is no terminal to ask."""


_quiet: ContextVar[bool] = ContextVar("quiet", default=False)
_verbose: ContextVar[bool] = ContextVar("verbose", default=False)


def set_quiet(quiet: bool) -> None:
    """Whether tables, notes and progress are kept to oneself from now on."""
    _quiet.set(quiet)


def set_verbose(verbose: bool) -> None:
    """Whether errors say where in the program they came from from now on."""
    _verbose.set(verbose)


def is_verbose() -> bool:
    """Whether errors say where in the program they came from."""
    return _verbose.get()


def console() -> Console:
    """A console: as wide as the terminal, or wide enough for a whole table in a file; silent after `set_quiet`."""
    from rich.console import Console

    found = Console(highlight=False, emoji=False, quiet=_quiet.get())
    return found if found.is_terminal else Console(highlight=False, emoji=False, width=PLAIN_WIDTH, quiet=_quiet.get())


def say(text: str) -> None:
    """Print a line for the person at the keyboard; nothing after `set_quiet`."""
    import click

    if not _quiet.get():
        click.echo(text)


def silent(_: object) -> None:
    """Say nothing, where somebody has to be told."""


def can_draw(on: Console) -> bool:
    """Whether bars can move there: on a terminal, or in a notebook that has widgets."""
    from importlib.util import find_spec

    return on.is_terminal or (on.is_jupyter and find_spec("ipywidgets") is not None)


def progress(on: Console, *more: str) -> Progress:
    """Bars with description, count and times, gone when they are done; none where nothing can draw them.

    Args:
        on: where they are drawn.
        more: further columns after the count, as templates such as "{task.fields[rate]}".
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        *map(TextColumn, more),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=on,
        disable=on.quiet or not can_draw(on),
        transient=True,
    )


class Bars:
    """Bars that are known by their texts, or by a key where the text changes.

    Args:
        on: where they are drawn.
    """

    def __init__(self, on: Console) -> None:
        self.progress = progress(on)
        self._known: dict[str, Any] = {}

    def start(self) -> None:
        """Begin to draw."""
        self.progress.start()

    def stop(self) -> None:
        """Draw no more, and leave nothing behind."""
        self.progress.stop()

    @property
    def hidden(self) -> bool:
        """Whether there is nothing to draw them on."""
        return self.progress.disable

    def show(self, text: str, done: int, total: int, key: str | None = None) -> None:
        """Draw a bar, or move the one of this key (the text where there is none)."""
        key = key or text
        if key not in self._known:
            self._known[key] = self.progress.add_task(text, total=total, completed=done)
        else:
            self.progress.update(self._known[key], description=text, completed=done, total=total)

    def clear(self) -> None:
        """Take all bars away."""
        for bar in self._known.values():
            self.progress.remove_task(bar)
        self._known = {}
