"""TensorBoard's files of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..core.files import write_failure


class TensorBoard:
    """Event files of a run; rows after a resumed epoch replace those of the interrupted process."""

    def __init__(self, folder: Path, epochs_done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.folder = folder / "tensorboard"
        with self._writing():
            self.writer = SummaryWriter(str(self.folder), purge_step=epochs_done + 1)

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(self, *_: object) -> None:
        with self._writing():
            self.writer.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise write_failure(self.folder, error) from error

    def add(self, row: Mapping[str, Any]) -> None:
        """Add an epoch's figures."""
        with self._writing():
            self._add(row)

    def _add(self, row: Mapping[str, Any]) -> None:
        for group in ("losses", "agreement"):
            for name, value in row[group].items():
                self.writer.add_scalar(f"{group}/{name}", value, row["epoch"])
        for task, scores in row["test"].items():
            for name, value in scores.items():
                self.writer.add_scalar(f"test/{task}/{name}", value, row["epoch"])
        self.writer.flush()
