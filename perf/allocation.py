"""The most memory that a call has allocated at once, counted by torch and not by the clock or the operating system."""

from __future__ import annotations

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile


def peak_allocation(call: Callable[[], object]) -> int:
    """Bytes allocated at once inside the call, at most, above what was there when it began.

    Tensors only: the libraries' own scratch memory is not seen, nor is it seen when the call frees what was allocated
    before it. So let go of gradients before a step is measured.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        call()
    result = found.profiler.kineto_results  # type: ignore[union-attr]
    events = sorted((event.start_ns(), event.nbytes()) for event in result.events() if event.name() == "[memory]")
    now = most = 0
    for _, change in events:
        now += change
        most = max(most, now)
    return most
