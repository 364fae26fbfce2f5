"""Runs found under some paths: finished, unfinished, and in a sentence each what cannot be read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from ...core.errors import UserError
from ...core.files import read_json
from ...training.folder import RunFolder
from ..evidence import curves, read_evidence, rounded
from .shapes import CONFIG, IDENTITY, ROW, TABLE_RUN, check, check_result, misfit

T = TypeVar("T")

NAMED = ("method", "seed", "labels", "init", "device", "settings", "options")
"""What makes a run another one, beside its manifest."""


@dataclass(frozen=True)
class FoundRun:
    """A run as it stands on disk or in a table's document.

    Attributes:
        name: its folder's, or its row and seed in a table.
        folder: None where only a table knows of it.
        config: `run` of its `config.json`.
        manifest: name and SHA-256 of what it learned from.
        result: what `result.json` holds, None while it is unfinished.
        curves: by name, a value an epoch; empty where its metrics cannot be read.
        label_tasks: by label set that it learned from, the task; empty where nothing says so.
        versions: of the software it was made with.
        machine: what it was made on.
        places: where its manifest, data and first weights were.
        row: the table's row that it belongs to, empty for none.
        published: the paper's figures for that row, by metric.
    """

    name: str
    folder: RunFolder | None
    config: Mapping[str, Any]
    manifest: Mapping[str, str]
    result: Mapping[str, Any] | None
    curves: Mapping[str, Sequence[Any]]
    label_tasks: Mapping[str, str]
    versions: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[str, Any] = field(default_factory=dict)
    row: str = ""
    published: Mapping[str, float] = field(default_factory=dict)

    @property
    def epochs_done(self) -> int:
        """How many epochs are recorded."""
        return len(self.curves.get("epoch", ()))

    @property
    def key(self) -> str:
        """The same for the same run in a folder and in a table's document, unless that is of before; see `may_be`."""
        return json.dumps(self._identity, sort_keys=True)

    @property
    def _identity(self) -> list[Any]:
        """What makes it this run; None for what nobody knows of a run in a table of before."""
        return [*(self.config.get(name) for name in NAMED), self.manifest["sha256"]]

    @property
    def half_known(self) -> bool:
        """Whether a part of its identity is not known."""
        return None in self._identity

    def may_be(self, other: FoundRun) -> bool:
        """Whether both can be one run: they differ in nothing that is known of both, and in no score."""
        if any(one != two for one, two in zip(self._identity, other._identity, strict=True) if None not in (one, two)):
            return False
        scores = [rounded(run.result["last"]["test"]) for run in (self, other) if run.result is not None]
        return self.key == other.key or all(each == scores[0] for each in scores)


@dataclass(frozen=True)
class Found:
    """Everything under the paths.

    Attributes:
        finished: runs with a result.
        unfinished: runs without one.
        notes: sentences about what is damaged, failed or left out.
    """

    finished: tuple[FoundRun, ...]
    unfinished: tuple[FoundRun, ...]
    notes: tuple[str, ...]


def find_runs(paths: Sequence[Path]) -> Found:
    """Read all runs under some paths.

    Args:
        paths: folders of runs, of one run, or of a table of `noisyfer bench --table`; each looked through as a whole.

    Raises:
        UserError: a path does not exist, or no run of `noisyfer bench` is under any of them.
    """
    notes: list[str] = []
    runs: dict[str, FoundRun] = {}
    configs = list(_files(paths, "config.json"))
    for config in configs:
        run = _noted(_read_folder, config, notes)
        if run is not None:
            _keep(run, runs, notes)
    rows = [(row, table) for table in _files(paths, "table.json") for row in _noted(_read_table, table, notes) or ()]
    # a row of which not all is known may be one that is told in full elsewhere, so it comes after all of these
    for row, table in sorted(rows, key=lambda each: each[0].half_known):
        run = _found_among(runs, row) or _beside(row, table.parent.parent) or row
        runs[run.key] = _named(run, row)
    for run in [run for run in runs.values() if run.folder is None and run.result is None]:
        notes.append(f"{run.name} failed: {runs.pop(run.key).places.get('failure', 'no reason is given')}")
    finished = tuple(run for run in runs.values() if run.result is not None)
    unfinished = tuple(run for run in runs.values() if run.result is None)
    if not runs and not notes:
        listed = ", ".join(map(str, paths))
        raise UserError(f"No run is under {listed}. Give a folder that 'noisyfer bench' wrote, such as runs.")
    return Found(finished, unfinished, tuple(notes))


def _found_among(runs: Mapping[str, FoundRun], row: FoundRun) -> FoundRun | None:
    """The run that a table's row is; None where there is none, or where it may be several."""
    if row.key in runs:
        return runs[row.key]
    alike = [run for run in runs.values() if run.may_be(row)]
    return alike[0] if len(alike) == 1 else None


def _files(paths: Sequence[Path], name: str) -> Iterable[Path]:
    """Every file of this name under the paths, once, in the order of the paths."""
    found: dict[Path, Path] = {}
    for path in paths:
        if not path.is_dir():
            raise UserError(f"There is no folder {path}. Give one that 'noisyfer bench' wrote, such as runs.")
        for file in sorted(path.rglob(name)):
            if not any(part.startswith(".") for part in file.relative_to(path).parts):
                found.setdefault(file.resolve(), file)
    return found.values()


def _noted(read: Callable[[Path, list[str]], T], file: Path, notes: list[str]) -> T | None:
    """What a reader makes of a file; where it cannot, None and one more sentence."""
    try:
        return read(file, notes)
    except UserError as error:
        notes.append(str(error))
        return None


def _keep(run: FoundRun, runs: dict[str, FoundRun], notes: list[str]) -> None:
    other = runs.setdefault(run.key, run)
    if other is run:
        return
    if other.result is None and run.result is not None:
        runs[run.key], other = run, run
        run = other
    notes.append(f"{run.name} is there more than once, with the same configuration and seed; it is counted once.")


def _read_folder(config: Path, notes: list[str]) -> FoundRun | None:
    """A run's folder; None for that of another command, such as a teacher's."""
    stored = read_json(config)
    if isinstance(stored, dict) and "method" not in _mapping(stored.get("run", {})):
        return None
    check(stored, CONFIG, str(config))
    folder = RunFolder(config.parent)
    run = FoundRun(
        config.parent.name,
        folder,
        stored["run"],
        stored["manifest"],
        folder.finished(),
        curves={},
        label_tasks={},
        versions=_mapping(stored.get("versions")),
        machine=_mapping(stored.get("machine")),
        places=_mapping(stored.get("places")),
    )
    if run.result is not None:
        check_result(run.result, str(folder.result), run.config["truth"])
    return replace(run, curves=_read_curves(folder, notes), label_tasks=_label_tasks(run))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _read_curves(folder: RunFolder, notes: list[str]) -> Mapping[str, Sequence[Any]]:
    """The curves of a run; without them, and with a note, where its metrics are damaged."""
    if not folder.metrics.exists():
        return {}
    try:
        rows = folder.rows()
    except UserError as error:
        notes.append(f"{error} The run has no curves.")
        return {}
    wrong = misfit(rows, [ROW], "line")
    if wrong:
        notes.append(f"{folder.metrics} is damaged at '{wrong}', so the run has no curves.")
        return {}
    return curves(rows)


def _label_tasks(run: FoundRun) -> Mapping[str, str]:
    """By label set its task: from the result, or where only one task can be meant."""
    stored = _mapping(run.result).get("label_tasks")
    if isinstance(stored, dict) and not misfit(stored, {"*": str}):
        return stored
    tasks = list(run.config["truth"])
    return dict.fromkeys(run.config["labels"], tasks[0]) if len(tasks) == 1 else {}


def _read_table(file: Path, _: list[str]) -> list[FoundRun]:
    """The runs of a table's document; of a failed one the sentence stands under `places`."""
    document = read_evidence(file)
    check(document, {"runs": [TABLE_RUN]}, str(file))
    return [_table_run(run, document, file) for run in document["runs"]]


def _table_run(run: Mapping[str, Any], document: Mapping[str, Any], file: Path) -> FoundRun:
    name = f"{run['system']}, seed {run['seed']}"
    result = run.get("result")
    if result is not None:
        check_result(result, f"{file} ({name})")
        check(run, {"curves": {"*": list}}, f"{file} ({name})")
    known = {key: kind for key, kind in IDENTITY.items() if key in run}
    check(run, known, f"{file} ({name})")
    copied = {key: run[key] for key in ("method", "seed", "settings", "options", *known)}
    return FoundRun(
        name,
        None,
        {
            **copied,
            "preset": document.get("preset", ""),
            "labels": list(run["labels"]),
            "truth": {} if result is None else result["truth"],
        },
        run["manifest"],
        result,
        run.get("curves", {}),
        run["labels"],
        machine=_mapping(run.get("machine")),
        places={"failure": run["failure"]} if "failure" in run else {},
        row=run["system"],
        published=run["published"].get(document["protocol"], {}),
    )


def _beside(row: FoundRun, folder: Path) -> FoundRun | None:
    """The folder of a table's run among those beside the table's, where it is still there and whole."""
    for config in sorted(folder.glob(f"*-{row.config['method']}-seed{row.config['seed']}-????????/config.json")):
        run = _noted(_read_folder, config, [])
        if run is not None and run.may_be(row) and run.result is not None:
            return run
    return None


def _named(run: FoundRun, row: FoundRun) -> FoundRun:
    """The run with what the table adds to it."""
    return replace(
        run,
        row=run.row or row.row,
        published=run.published or row.published,
        label_tasks=run.label_tasks or row.label_tasks,
    )
