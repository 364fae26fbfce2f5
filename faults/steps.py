"""Commands in forks of this process, which have everything imported already: a kill costs a second, not five.

What a fork does not show is how Python starts and ends; for that there is `harness.start`.
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness import SECONDS, Ended, told

STEPS = ("fsync", "replace", "rename", "unlink", "rmdir", "ftruncate")
"""Functions of `os` by which files get their content, get their name, and go."""


class Fork:
    """A command in a fork, handled like a `subprocess.Popen`.

    Args:
        folder: the working folder; what is printed goes beside it, as `harness.start` puts it.
        words: the command.
        die_at: the step of writing, from 1, before which the process kills itself; 0 for none.
        first: is called in the fork before the command.

    Attributes:
        pid: of the process.
        returncode: its exit status, negative for a signal; None while it runs.
    """

    def __init__(
        self, folder: Path, words: Sequence[str], die_at: int = 0, first: Callable[[], None] | None = None
    ) -> None:
        import noisyfer.benchmark.bench
        import noisyfer.benchmark.report
        import noisyfer.cli  # noqa: F401

        self.returncode: int | None = None
        self._log = folder.parent / "steps.txt"
        self._log.write_bytes(b"")
        self._log.chmod(0o666)  # `first` may make the fork another user's
        self.pid = os.fork()
        if not self.pid:
            code = 70
            try:
                _go_to(folder)
                if first is not None:
                    first()
                code = _command(words, die_at, self._log)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)

    @property
    def steps(self) -> int:
        """Steps of writing that it has taken."""
        return self._log.stat().st_size

    def poll(self) -> int | None:
        """Its exit status, None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, seconds: float = SECONDS) -> int:
        """Its exit status; raises `subprocess.TimeoutExpired` where it takes longer."""
        deadline = time.monotonic() + seconds
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("noisyfer", seconds)
            time.sleep(0.005)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """`kill -9`."""
        self.send_signal(signal.SIGKILL)


def forked(
    folder: Path, words: Sequence[str], die_at: int = 0, first: Callable[[], None] | None = None
) -> tuple[int, int]:
    """Run a command in a fork to its end; returns its exit status and the steps of writing that it took."""
    process = Fork(folder, words, die_at, first)
    try:
        return process.wait(), process.steps
    finally:
        process.kill()


def quickly(folder: Path, *words: str | Path, first: Callable[[], None] | None = None) -> Ended:
    """Run a command in a fork, as `harness.run` does in a fresh process."""
    code, _ = forked(folder, list(map(str, words)), first=first)
    return Ended(code, told(folder, "out.txt"), told(folder, "err.txt"))


def _go_to(folder: Path) -> None:
    os.chdir(folder)
    os.environ.pop("NOISYFER_DATA", None)
    for name, number in (("out.txt", 1), ("err.txt", 2)):
        os.dup2(os.open(folder.parent / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))


def _command(words: Sequence[str], die_at: int, log: Path) -> int:
    from noisyfer.cli import main

    sys.argv = ["noisyfer", *words]
    done, writer = 0, os.open(log, os.O_WRONLY | os.O_APPEND)

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
