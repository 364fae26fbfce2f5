"""The server of a review in a thread of the test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from noisyfer.benchmark.reviewing.decisions import DecisionFile
from noisyfer.benchmark.reviewing.server import ReviewServer
from noisyfer.benchmark.reviewing.session import Session, make_queue
from noisyfer.manifest import Manifest


@contextmanager
def served_review(manifest: Manifest, path: Path, most: int = 100) -> Iterator[ReviewServer]:
    """Serve the review of `class_a`; its decisions go to `path`."""
    queue = make_queue(manifest, "class_a")
    with (
        DecisionFile(path) as file,
        Session(manifest, queue, file, most=most) as session,
        ReviewServer(session) as server,
    ):
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
