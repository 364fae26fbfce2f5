"""Finished pieces of a job in a store: a Parquet file and a sidecar each, the sidecar written last."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..core.config import differences
from ..core.errors import UserError
from ..core.store import Store

_SEAL = "sidecar_sha256"
_SIDECAR = re.compile(r"part-(\d{6,})\.json")
_CONFIG = "job.json"

AT_ONCE = 16
"""Shards that are checked side by side: an object store answers late, but many at once."""


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
    """The place of a job under way: `job.json`, and for each shard `part-000000.parquet` and its sidecar.

    It can be sent to another process, which writes shards there.

    Args:
        store: belongs to the job alone and is removed at its end.
        faces: where aligned faces go, None where none are kept.
    """

    def __init__(self, store: Store, faces: Store | None) -> None:
        self.store = store
        self.faces = faces
        self.job = ""

    def under_way(self) -> bool:
        """Whether a job has begun here and not come to its end."""
        return _CONFIG in self.store.names()

    def start(self, config: Mapping[str, Any], job: str) -> None:
        """Take the place for a configuration, or check that it is this one's.

        Raises:
            UserError: it holds shards of another configuration; says what differs.
        """
        self.job = job
        if self.faces is not None:
            self.faces.tidy()
        if not self.under_way():
            self.store.write_json(_CONFIG, config)
            return
        found = self.store.read_json(_CONFIG)
        changed = differences(found if isinstance(found, dict) else {}, json.loads(json.dumps(config)))
        if changed:
            raise UserError(
                f"{self.store.where} holds a job under way with another configuration ({'; '.join(changed)}). Finish "
                "it with its own command, start over with --again, or choose another --out."
            )

    def clear(self) -> None:
        """Forget everything but the lock."""
        self.store.clear()
        if self.faces is not None:
            self.faces.remove()

    def finished(self) -> dict[int, Sidecar]:
        """The shards that are whole, by number; each is read and compared with its hash, and a damaged one is left
        out, so that it is made again."""
        numbers = [int(match[1]) for name in self.store.names() if (match := _SIDECAR.fullmatch(name))]
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="check") as pool:
            checked = pool.map(self._checked, numbers)
            return {number: sidecar for number, sidecar in zip(numbers, checked, strict=True) if sidecar is not None}

    def write(self, number: int, table: pa.Table, faces: pa.Table | None, facts: Mapping[str, Any]) -> Sidecar:
        """Store a shard: its faces, its rows, and last its sidecar, which makes it count.

        Args:
            number: counted from 0.
            table: the rows.
            faces: the aligned faces, or None.
            facts: `statuses`, `failures` and `clipped` of the sidecar.

        Raises:
            UserError: the disk is full, or the place cannot be written.
        """
        faces_hash = "" if self.faces is None or faces is None else _write(self.faces, number, faces)
        facts = {**facts, "rows": len(table), "sha256": _write(self.store, number, table), "faces_sha256": faces_hash}
        sidecar = Sidecar(**facts, job=self.job)
        self.store.write_json(_named(number, "json"), {**sidecar.__dict__, _SEAL: _digest(sidecar.__dict__)})
        return sidecar

    def begin(self, number: int) -> int:
        """Note that the work on a shard begins, for whoever must know a shard that kills its workers.

        Returns:
            How often it had begun before without coming to its end, since `forget_tries`.
        """
        try:
            before = int(self.store.read_json(_named(number, "try"))["begun"])
        except (UserError, TypeError, KeyError, ValueError):  # none, or one that was cut short with its worker
            before = 0
        self.store.write_json(_named(number, "try"), {"begun": before + 1})
        return before

    def end(self, number: int) -> None:
        """The work on a shard that had begun has come to its end."""
        self.store.delete(_named(number, "try"))

    def forget_tries(self) -> None:
        """Count tries anew."""
        for name in self.store.names():
            if name.endswith(".try"):
                self.store.delete(name)

    def drop(self, numbers: list[int]) -> None:
        """Forget shards, so that they are made again."""
        for number in numbers:
            self.store.delete(_named(number, "json"))
            self.store.delete(_named(number))

    def tables(self, count: int) -> Iterator[pa.Table]:
        """The rows of the shards 0 to `count` − 1, in order."""
        for number in range(count):
            try:
                yield pq.read_table(self.store.read(_named(number)), page_checksum_verification=True)
            except (OSError, pa.ArrowException) as error:
                self.drop([number])
                raise UserError(
                    f"{self.store.where}/{_named(number)} was damaged while the job ran ({error}). Run the same "
                    "command again: only this shard is made anew."
                ) from error

    def remove(self) -> None:
        """Delete the place at the end of the job."""
        self.store.remove()

    def _checked(self, number: int) -> Sidecar | None:
        """A shard's sidecar where both are whole; else the shard is made again."""
        try:
            sidecar = read_sidecar(_unsealed(self.store.read_json(_named(number, "json"))), self.job)
        except UserError:  # no sidecar of ours
            return None
        return sidecar if sidecar is not None and self._is_whole(number, sidecar) else None

    def _is_whole(self, number: int, sidecar: Sidecar) -> bool:
        files = [(self.store, sidecar.sha256)]
        if self.faces is not None:
            files.append((self.faces, sidecar.faces_sha256))
        try:
            return all(store.sha256(_named(number)) == expected for store, expected in files)
        except OSError:
            return False


def read_sidecar(value: Any, job: str) -> Sidecar | None:
    """A sidecar from its JSON; None where it is none, or another job's."""
    try:
        failures = tuple((name, status, detail) for name, status, detail in value["failures"])
        stored = Sidecar(**{**value, "failures": failures})
    except (TypeError, KeyError, ValueError):
        return None
    return stored if stored.job == job and isinstance(stored.rows, int) else None


def _named(number: int, kind: str = "parquet") -> str:
    return f"part-{number:06d}.{kind}"


def _write(store: Store, number: int, table: pa.Table) -> str:
    def fill(sink: Any) -> None:
        pq.write_table(table, sink, compression="zstd", write_page_checksum=True)

    return store.write(_named(number), fill)


def _digest(value: Mapping[str, Any]) -> str:
    """SHA-256 of a sidecar's content, in hexadecimal: its counts are used, so they must be those that were written."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _unsealed(value: Any) -> Any:
    """A sidecar's content where its digest is its own, else None."""
    if not isinstance(value, dict) or value.pop(_SEAL, None) != _digest(value):
        return None
    return value
