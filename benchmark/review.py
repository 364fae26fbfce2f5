"""`noisyfer review`: labels accepted or changed by hand, on a page of this machine alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from ..core.errors import UserError
from ..manifest import Manifest
from .reviewing.decisions import DecisionFile
from .reviewing.server import ReviewServer
from .reviewing.session import Session, make_queue


def review(
    manifest: Manifest,
    decisions: Path,
    *,
    name: str | None = None,
    port: int = 0,
    most: int = 2000,
    probs: Path | None = None,
    root: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> int:
    """Serve a review until Ctrl-C; every decision is on disk before the next label is shown.

    Args:
        manifest: opened.
        decisions: the csv that they are appended to.
        name: the label set; None for the first annotator's.
        port: of 127.0.0.1; 0 for a free one.
        most: labels of this session at most, the most suspicious first.
        probs: a run's folder or file of predictions that labels are judged by; None for the other annotators.
        root: where the images are, if not at the manifest's hint.
        say: is told the page's address and what is to be known.

    Returns:
        Decisions that were made.

    Raises:
        UserError: nothing to review, a file that cannot be used, or a port that is taken.
    """
    if most < 1:
        raise UserError(f"--limit is {most}; at least 1 was expected.")
    queue = make_queue(manifest, name, probs)
    with DecisionFile(decisions) as file, Session(manifest, queue, file, most=most, root=root) as session:
        before = len(file.decisions)
        if file.torn:
            say(f"The last line of {decisions} was not finished by its writer; it was cut off.")
        if session.left_out:
            say(f"{session.left_out:,} samples are left out: a line break in their id does not fit a csv line.")
        with ReviewServer(session, port) as server:
            say(f"Review of {queue.name}, {session.done:,} of {session.total:,} labels done: {server.url}")
            say("Open it in a browser on this machine. Ctrl-C ends the review.")
            with contextlib.suppress(KeyboardInterrupt):
                server.serve_forever(poll_interval=0.2)
            return len(file.decisions) - before
