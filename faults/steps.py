"""A command in a forked process that is killed just before its N-th step of writing.

A fork has everything imported already, so that every step can have its own kill.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness import Ended, told

STEPS = ("fsync", "replace", "rename", "unlink", "rmdir", "ftruncate")
"""Functions of `os` by which files get their content, get their name, and go."""


def quickly(folder: Path, *words: str | Path, first: Callable[[], None] | None = None) -> Ended:
    """Run a command in a fork, as `harness.run` does in a fresh process."""
    code, _ = forked(folder, list(map(str, words)), first=first)
    return Ended(code, told(folder, "out.txt"), told(folder, "err.txt"))


def forked(
    folder: Path, words: Sequence[str], die_at: int = 0, first: Callable[[], None] | None = None
) -> tuple[int, int]:
    """Run a command in a folder, in a fork of this process.

    Args:
        folder: the working folder; what is printed goes beside it, as `harness.start` puts it.
        words: the command.
        die_at: the step, from 1, before which the process kills itself; 0 for none.
        first: is called in the fork before the command.

    Returns:
        Its exit status, negative for a signal, and how many steps it took.
    """
    import noisyfer.benchmark.bench
    import noisyfer.benchmark.report
    import noisyfer.cli  # noqa: F401

    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        code = 70
        try:
            _go_to(folder)
            if first is not None:
                first()
            code = _command(words, die_at, writer)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    os.close(writer)
    try:
        with os.fdopen(reader, "rb") as stream:
            steps = len(stream.read())
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), steps


def _go_to(folder: Path) -> None:
    os.chdir(folder)
    os.environ.pop("NOISYFER_DATA", None)
    for name, number in (("out.txt", 1), ("err.txt", 2)):
        os.dup2(os.open(folder.parent / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))


def _command(words: Sequence[str], die_at: int, writer: int) -> int:
    from noisyfer.cli import main

    sys.argv = ["noisyfer", *words]
    done = 0

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def step(*arguments: Any, **more: Any) -> Any:
            nonlocal done
            done += 1
            if done == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            os.write(writer, b".")
            return call(*arguments, **more)

        return step

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))
    try:
        main(list(words))
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0
