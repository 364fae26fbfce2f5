"""Processes that do not outlive the one that started them."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Sequence
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext

_ORPHANED = 1


def quick_processes(modules: Sequence[str]) -> ForkServerContext:
    """A context of `multiprocessing` whose processes begin with these modules imported.

    They are forks of a server that has imported them and done nothing else: no thread and no CUDA context that a fork
    would lose. The first process of a program waits for the imports, the others for hardly anything. The server has
    the environment of the moment at which it was started, and ends with the program.

    Args:
        modules: by their full names; those of the first call in a program count.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    return context


def end_with_parent() -> None:
    """Have this process end as soon as its parent is gone, however that ended: `kill -9` leaves it no time to say so.

    To be called first in a process of `multiprocessing`; elsewhere there is no parent, and nothing happens.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), name="parent", daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(_ORPHANED)  # at once: files under a final name are whole at any moment
