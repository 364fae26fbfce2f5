"""The one exception that is meant for the person at the keyboard."""

from __future__ import annotations

import difflib
import signal
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


class UserError(Exception):
    """Something the user can mend.

    The message is one or more whole sentences: the thing, what was found, what was expected, the remedy. The command
    line prints it on stderr and exits with status 1; library callers catch it like any other exception.
    """


class Stopped(UserError):
    """The user asked a job to stop, and it did at a point from which it can go on; the message says how.

    Attributes:
        number: of the signal that asked, Ctrl-C's where it is not known.
    """

    def __init__(self, message: str, number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.number = number


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not registered: all known names, and the nearest match where there is one.

    Args:
        kind: what the name should have been, in the singular ("method", "label set").
        name: the name that was given.
        known: every name that would have been accepted.
    """
    names = sorted(known)
    folded = {known_name.casefold(): known_name for known_name in names}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    hint = f" Did you mean '{folded[near[0]]}'?" if near else ""
    listing = ", ".join(names) if names else "none"
    return UserError(f"There is no {kind} named '{name}'.{hint} Known: {listing}.")


def look_up(kind: str, name: str, known: Mapping[str, T]) -> T:
    """What a mapping has under a name that a user gave.

    Raises:
        UserError: it has nothing under it; see `unknown_name`.
    """
    if name not in known:
        raise unknown_name(kind, name, known)
    return known[name]


def first_line(error: BaseException) -> str:
    """The first line of an exception's text without its full stop, or its type's name where it has none."""
    lines = str(error).splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
