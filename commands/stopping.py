"""Signals that ask a command to end: Ctrl-C, a polite kill, a closed terminal.

A job that can stop at a good point is asked first and insisted on at the second signal; any other command ends at once,
removes what it has half-written, and says how to go on.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import click

from ..core.errors import Stopped

_Handler = Callable[[int, FrameType | None], None] | signal.Handlers
_FIRST_STATUS = 128


class Interrupted(KeyboardInterrupt):
    """What Ctrl-C raises, for another signal.

    Attributes:
        number: the signal's.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def status_after(error: BaseException) -> int:
    """The exit status that a shell gives a command ended by a signal: 130 after Ctrl-C, 143 after SIGTERM, 129 after
    SIGHUP."""
    return _FIRST_STATUS + int(getattr(error, "number", signal.SIGINT))


def tell(text: str) -> None:
    """Say something on stderr, if anybody is still there: the terminal may be gone."""
    with contextlib.suppress(OSError):
        click.echo(text, err=True)


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside the block, SIGTERM and SIGHUP raise `Interrupted` as Ctrl-C raises KeyboardInterrupt."""

    def end(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    with _handled((signal.SIGTERM, signal.SIGHUP), end):
        yield


@contextmanager
def stopping(what: str) -> Iterator[threading.Event]:
    """Inside the block, the first SIGINT, SIGTERM or SIGHUP sets the event; a second one raises as if there were none.

    Args:
        what: told on the first signal, such as "finishing the shard in hand".

    Raises:
        Stopped: as the job does, with the signal's `number`.
    """
    event = threading.Event()
    asked = signal.SIGINT

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if event.is_set():
            raise Interrupted(number)
        asked = signal.Signals(number)
        event.set()
        tell(f"\nStopping: {what}. Press Ctrl-C again to stop at once.")

    with _handled((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), ask):
        try:
            yield event
        except Stopped as stopped:
            raise Stopped(str(stopped), number=asked) from None


@contextmanager
def undisturbed() -> Iterator[None]:
    """Inside the block no signal disturbs the last words of a command that is ending."""
    with _handled((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), signal.SIG_IGN):
        yield


@contextmanager
def _handled(numbers: tuple[signal.Signals, ...], handler: _Handler) -> Iterator[None]:
    """Handle signals, but not those that somebody has told this process to ignore, as `nohup` and `&` do."""
    before = {}
    if threading.current_thread() is threading.main_thread():  # only there can it be done
        heeded = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, handler) for number in heeded}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
