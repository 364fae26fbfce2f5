"""Ctrl-C that lets a job come to a good end: the first press asks, the second one insists."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click


@contextmanager
def stopping(what: str) -> Iterator[threading.Event]:
    """Inside the block, the first SIGINT or SIGTERM sets the event; a second one raises KeyboardInterrupt.

    Args:
        what: told on the first signal, such as "finishing the shard in hand".
    """
    event = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()
        click.echo(f"\nStopping: {what}. Press Ctrl-C again to stop at once.", err=True)

    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, ask) for number in signals}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
