"""A run's folder: configuration, metrics, checkpoint, result; each file whole or not there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..core.config import differences
from ..core.errors import UserError, first_line
from ..core.files import finite, locked, read_json, whole_file, write_failure, write_json
from .weights import check_seal, load_stored, sealed


def identity(config: Mapping[str, Any], manifest_fingerprint: str) -> str:
    """Eight hexadecimal digits that differ wherever the configuration or the manifest does."""
    text = json.dumps({"config": config, "manifest": manifest_fingerprint}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class RunFolder:
    """The files of one run.

    Attributes:
        path: the folder; its name ends in the run's identity.
    """

    path: Path

    @property
    def config(self) -> Path:
        """All values, seed, versions, manifest fingerprint."""
        return self.path / "config.json"

    @property
    def metrics(self) -> Path:
        """One JSON object a line and epoch."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoint(self) -> Path:
        """Tensors and plain numbers only; opened with `weights_only`."""
        return self.path / "checkpoint.pt"

    @property
    def predictions(self) -> Path:
        """What the last epoch's method says of every test sample, a row each."""
        return self.path / "predictions.parquet"

    @property
    def result(self) -> Path:
        """Written last: its presence says that the run is finished."""
        return self.path / "result.json"

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Hold the folder for one process; see `core.files.locked`."""
        return locked(self.path)

    def finished(self) -> dict[str, Any] | None:
        """The result of a finished run, or None.

        Raises:
            UserError: the file cannot be read, or holds something else.
        """
        if not self.result.exists():
            return None
        result = read_json(self.result)
        if not isinstance(result, dict):
            raise UserError(
                f"{self.result} is damaged: it holds no JSON object. Restore the file, or remove it to start over."
            )
        return result

    def start(self, config: dict[str, Any]) -> None:
        """Write `config.json`, or check that the one there is this run's.

        Raises:
            UserError: the folder belongs to another configuration.
        """
        if self.config.exists():
            stored = read_json(self.config)
            found = {key: stored.get(key) for key in ("run", "manifest")}
            if found != {key: config[key] for key in found}:
                changed = ", ".join(differences(stored.get("run") or {}, config["run"])) or "the manifest"
                raise UserError(
                    f"{self.path} holds a run of another configuration ({changed}). Choose another --out, or remove it."
                )
            return
        write_json(self.config, config)

    def save(self, epoch: int, state: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        """Record an epoch: the metrics first, then the checkpoint that makes it count."""
        text = "".join(json.dumps(finite(row), allow_nan=False) + "\n" for row in rows)
        with whole_file(self.metrics) as temporary:
            temporary.write_text(text, encoding="utf-8")
        with whole_file(self.checkpoint) as temporary:
            _save_tensors(sealed({"epoch": epoch, "method": state}), temporary)

    def load(self, device: torch.device) -> tuple[int, dict[str, Any], list[dict[str, Any]]] | None:
        """Epochs done, the method's state and the metrics so far; None where there is no checkpoint.

        Raises:
            UserError: the checkpoint or the metrics cannot be read.
        """
        if not self.checkpoint.exists():
            return None
        try:
            with self.checkpoint.open("rb") as stream:
                stored = load_stored(stream, device)
            check_seal(stored, self.checkpoint)
            epoch, state = int(stored["epoch"]), stored["method"]
        except Exception as error:  # it raises nearly anything on a damaged file
            raise UserError(
                f"The checkpoint in {self.path} cannot be read ({first_line(error)}). Start over with --again."
            ) from error
        rows = self.rows()
        if len(rows) < epoch:
            raise UserError(
                f"{self.metrics} has {len(rows)} epochs and the checkpoint {epoch}. Start over with --again."
            )
        return epoch, state, rows[:epoch]

    def rows(self) -> list[dict[str, Any]]:
        """The metrics of every recorded epoch.

        Raises:
            UserError: the file is missing or unreadable, or a line holds no JSON object.
        """
        try:
            rows = [json.loads(line) for line in self.metrics.read_text(encoding="utf-8").splitlines()]
            if not all(isinstance(row, dict) for row in rows):
                raise ValueError("a line holds no JSON object")
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(
                f"{self.metrics} cannot be read ({first_line(error)}). Restore the file, or remove its folder to start "
                f"over."
            ) from error
        return rows

    def clear(self) -> None:
        """Forget everything but the lock, so that the run starts over."""
        try:
            for entry in self.path.iterdir():
                if entry.is_dir():
                    shutil.rmtree(entry)
                elif entry.name != ".lock":
                    entry.unlink()
        except OSError as error:
            raise write_failure(self.path, error) from error


def _save_tensors(value: dict[str, Any], file: Path) -> None:
    try:
        torch.save(value, file)
    except RuntimeError as error:
        # torch's zip writer reports a full disk as a RuntimeError; the space tells which it was
        if os.statvfs(file.parent).f_bavail * os.statvfs(file.parent).f_frsize < 2**20:
            raise OSError(28, "No space left on device") from error
        raise
