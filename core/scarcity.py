"""Too little of what a machine has, as a sentence: memory, file handles, room on the disk, processes."""

from __future__ import annotations

import errno

from .errors import first_line

_MEMORY = ("DefaultCPUAllocator", "can't allocate memory", "Cannot allocate memory", "failed to map segment")
_HANDLES = ("Too many open files",)
_THREADS = ("can't start new thread",)


def scarcity(error: BaseException) -> str | None:
    """What an error is short of and the remedy, or None where it is about something else."""
    number, text = getattr(error, "errno", None), str(error)
    if isinstance(error, MemoryError) or number == errno.ENOMEM or any(part in text for part in _MEMORY):
        return (
            f"There is too little memory for this ({first_line(error)}). Choose smaller batches or images, or end "
            "other programs, and run the same command again."
        )
    if number in (errno.EMFILE, errno.ENFILE) or any(part in text for part in _HANDLES):
        return (
            "There are too many open files at once. Allow more, for example with 'ulimit -n 1024', and run the same "
            "command again."
        )
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "Something cannot be written: the disk is full. Free some space and run the same command again."
    if any(part in text for part in _THREADS):
        return "The system allows no more threads or processes. End some and run the same command again."
    return None
