"""Where tables and progress are printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

PLAIN_WIDTH = 160
"""Columns of a table that goes to a file or a pipe, where there is no terminal to ask."""


def console(*, stderr: bool = False) -> Console:
    """A console: as wide as the terminal, or wide enough for a whole table in a file."""
    from rich.console import Console

    found = Console(highlight=False, emoji=False, stderr=stderr)
    return found if found.is_terminal else Console(highlight=False, emoji=False, stderr=stderr, width=PLAIN_WIDTH)


def progress(on: Console, *more: str) -> Progress:
    """Bars with description, count and times, gone when they are done; none where there is no terminal.

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
        disable=not on.is_terminal,
        transient=True,
    )
