"""Processes that do not outlive the one that started them."""

from __future__ import annotations

import multiprocessing
import os
import threading
from multiprocessing.connection import wait

_ORPHANED = 1


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
