"""Finished pieces of a job on disk: a Parquet file and a sidecar each, the sidecar written last."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..core.config import differences
from ..core.errors import UserError
from ..core.files import read_json, sha256_file, temporary_sibling, whole_file, write_failure, write_json

_SEAL = "sidecar_sha256"
_SIDECAR = re.compile(r"part-(\d{6,})\.json")


@dataclass(frozen=True)
class Sidecar:
    """What is known of a finished shard.

    Attributes:
        rows: in the shard.
        sha256: of its file.
        faces_sha256: of the file with its aligned faces, empty where none are kept.
        statuses: rows by status.
        failures: id, status and detail of its first rows that are not ok.
        clipped: by annotator, values outside [-1, 1] that were moved to the border.
        job: fingerprint of the configuration that it belongs to.
    """

    rows: int
    sha256: str
    faces_sha256: str
    statuses: Mapping[str, int]
    failures: tuple[tuple[str, str, str], ...]
    clipped: Mapping[str, int]
    job: str


class ShardFolder:
    """The folder of a job under way: `job.json`, and for each shard `part-000000.parquet` and its sidecar.

    Args:
        path: the folder; it belongs to the job alone and is removed at its end.
        faces: the folder for aligned faces, None where none are kept.
    """

    def __init__(self, path: Path, faces: Path | None) -> None:
        self.path = path
        self.faces = faces
        self.job = ""

    def under_way(self) -> bool:
        """Whether a job has begun here and not come to its end."""
        return self._config.exists()

    def start(self, config: Mapping[str, Any], job: str) -> None:
        """Take the folder for a configuration, or check that it is this one's.

        Raises:
            UserError: it holds shards of another configuration; says what differs.
        """
        self.job = job
        if not self.under_way():
            write_json(self._config, config)
            return
        found = read_json(self._config)
        changed = differences(found if isinstance(found, dict) else {}, json.loads(json.dumps(config)))
        if changed:
            raise UserError(
                f"{self.path} holds a job under way with another configuration ({'; '.join(changed)}). Finish it with "
                "its own command, start over with --again, or choose another --out."
            )

    def clear(self) -> None:
        """Forget everything but the lock."""
        try:
            for entry in self.path.iterdir():
                if entry.name != ".lock":
                    entry.unlink()
            if self.faces is not None and self.faces.is_dir():
                shutil.rmtree(self.faces)
        except OSError as error:
            raise write_failure(self.path, error) from error

    @property
    def _config(self) -> Path:
        return self.path / "job.json"

    def part(self, number: int) -> Path:
        """The Parquet file of a shard."""
        return self.path / f"part-{number:06d}.parquet"

    def faces_part(self, number: int) -> Path | None:
        """The file with a shard's aligned faces."""
        return None if self.faces is None else self.faces / f"part-{number:06d}.parquet"

    def finished(self) -> dict[int, Sidecar]:
        """The shards that are whole, by number; each is read and compared with its hash, and a damaged one is left
        out, so that it is made again."""
        found = {}
        for file in sorted(self.path.glob("part-*.json")):
            match = _SIDECAR.fullmatch(file.name)
            sidecar = self._sidecar(file) if match else None
            if match and sidecar is not None and self._is_whole(int(match[1]), sidecar):
                found[int(match[1])] = sidecar
        return found

    def write(self, number: int, table: pa.Table, faces: pa.Table | None, facts: Mapping[str, Any]) -> Sidecar:
        """Store a shard: its faces, its rows, and last its sidecar, which makes it count.

        Args:
            number: counted from 0.
            table: the rows.
            faces: the aligned faces, or None.
            facts: `statuses`, `failures` and `clipped` of the sidecar.

        Raises:
            UserError: the disk is full, or the folder cannot be written.
        """
        faces_file, faces_hash = self.faces_part(number), ""
        if faces_file is not None and faces is not None:
            _write(faces_file, faces)
            faces_hash = sha256_file(faces_file)
        _write(self.part(number), table)
        facts = {**facts, "rows": len(table), "sha256": sha256_file(self.part(number)), "faces_sha256": faces_hash}
        sidecar = Sidecar(**facts, job=self.job)
        write_json(self._sidecar_file(number), {**sidecar.__dict__, _SEAL: _digest(sidecar.__dict__)})
        return sidecar

    def drop(self, numbers: list[int]) -> None:
        """Forget shards, so that they are made again."""
        for number in numbers:
            self._sidecar_file(number).unlink(missing_ok=True)
            self.part(number).unlink(missing_ok=True)

    def tables(self, count: int) -> Iterator[pa.Table]:
        """The rows of the shards 0 to `count` − 1, in order."""
        for number in range(count):
            try:
                yield pq.read_table(self.part(number), page_checksum_verification=True)
            except (OSError, pa.ArrowException) as error:
                self.drop([number])
                raise UserError(
                    f"{self.part(number)} was damaged while the job ran ({error}). Run the same command again: only "
                    "this shard is made anew."
                ) from error

    def remove(self) -> None:
        """Delete the folder at the end of the job: all at once for whoever looks, as a rename comes first."""
        with contextlib.suppress(OSError):
            shutil.rmtree(self.path.rename(temporary_sibling(self.path)))

    def _sidecar_file(self, number: int) -> Path:
        return self.path / f"part-{number:06d}.json"

    def _sidecar(self, file: Path) -> Sidecar | None:
        try:
            value = read_json(file)
            if value.pop(_SEAL) != _digest(value):
                return None
            failures = tuple((name, status, detail) for name, status, detail in value["failures"])
            stored = Sidecar(**{**value, "failures": failures})
            return stored if stored.job == self.job and isinstance(stored.rows, int) else None
        except (
            UserError,
            AttributeError,
            TypeError,
            KeyError,
            ValueError,
        ):  # no sidecar of ours: the shard is made again
            return None

    def _is_whole(self, number: int, sidecar: Sidecar) -> bool:
        files = [(self.part(number), sidecar.sha256)]
        faces = self.faces_part(number)
        if faces is not None:
            files.append((faces, sidecar.faces_sha256))
        try:
            return all(sha256_file(file) == expected for file, expected in files)
        except OSError:
            return False


def _digest(value: Mapping[str, Any]) -> str:
    """SHA-256 of a sidecar's content, in hexadecimal: its counts are used, so they must be those that were written."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _write(file: Path, table: pa.Table) -> None:
    with whole_file(file) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
