"""A grid of runs: every method with every combination of values, over seeds, from a queue that survives a kill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from .. import __version__
from ..core.errors import UserError
from ..core.files import locked, read_json, write_json
from ..manifest import Manifest
from .bench import check_request, plan_bench, runs_folder, whole_seed
from .evaluate import main_score
from .evidence import gather, store
from .grid import Heed, Outcome, Runner, run_grid
from .reporting.shapes import read_result
from .settings import refuse_empty, usable_options
from .tables import Row, TableRun

QUEUE = "queue.json"
STATES = ("waiting", "running", "finished", "failed")
NAME = "sweep"
"""What a sweep's document has where a table's has the table's name."""


def plan_sweep(
    manifest: Manifest,
    methods: Sequence[str],
    values: Mapping[str, Sequence[str]],
    seeds: Sequence[int],
    *,
    preset: str | None = None,
    protocol: str | None = None,
    device: str = "auto",
    **common: Any,
) -> list[TableRun]:
    """Plan every run of a grid, the first seed of every combination before the second.

    What is the same run in other words, such as `0.001` and `1e-3`, is planned once, under the first of its names.

    Args:
        manifest: where images and labels come from.
        methods: registered names, or `all`.
        values: by option the values to be combined. A method is run once for the options that it does not have.
        seeds: at least one.
        preset: None for `paper` on a GPU and `small` on a CPU.
        protocol: `raf-base` or `affectnet-base`.
        device: `cpu`, `cuda` or `auto`.
        common: further arguments of `plan_bench`.

    Raises:
        UserError: an unknown name, a value or seed that is not allowed, a run that is impossible; none has begun.
    """
    refuse_empty(values)
    each_seed = list(dict.fromkeys(map(whole_seed, seeds)))
    if not each_seed:
        raise UserError("No seed is named; give one or several, such as 0,1,2.")
    first = {name: several[0] for name, several in values.items()}
    names = check_request(methods, preset, first, device, protocol)
    rows = [row for name in names for row in _rows(name, values)]
    runs = (
        TableRun(row, plan)
        for seed in each_seed
        for row in rows
        for plan in plan_bench(
            manifest,
            [row.method],
            preset=preset,
            protocol=protocol,
            device=device,
            seed=seed,
            changes=row.changes,
            **common,
        )
    )
    once: dict[Path, TableRun] = {}
    for run in runs:
        once.setdefault(run.plan.folder.path, run)
    return list(once.values())


def _rows(method: str, values: Mapping[str, Sequence[str]]) -> list[Row]:
    usable = usable_options(method)
    own = {name: list(dict.fromkeys(several)) for name, several in values.items() if name in usable}
    varied = [name for name, several in own.items() if len(several) > 1]
    rows = []
    for chosen in product(*own.values()):
        changes = dict(zip(own, chosen, strict=True))
        system = ", ".join([method, *(f"{name} {changes[name]}" for name in varied)])
        rows.append(Row(system, method, changes=changes))
    return rows


class Queue:
    """The state of every run of a sweep, in a file that is whole at any moment.

    Args:
        request: what the sweep was asked for, so that `noisyfer sweep FOLDER` goes on with it.
        runs: in their order.

    Attributes:
        folder: where the file and the tables go: the same runs give the same folder.
        entries: a run each, as in the file.

    Raises:
        UserError: the metrics or the result of a run are damaged.
    """

    def __init__(self, request: Mapping[str, Any], runs: Sequence[TableRun]) -> None:
        plans = [run.plan for run in runs]
        self.folder = runs_folder(plans, f"{NAME}-{plans[0].manifest.path.stem}")
        self.request = dict(request)
        self.runs = runs
        self.entries = [_entry(run) for run in runs]

    def write(self) -> None:
        """Replace the file."""
        write_json(self.folder / QUEUE, {"created_by": __version__, "request": self.request, "runs": self.entries})

    def heed(self, place: int, message: tuple[Any, ...]) -> None:
        """Note a run's start and end; see `grid.Heed`."""
        kind, *values = message
        entry = self.entries[place]
        if kind == "started":
            entry |= {"state": "running", "failure": "", "epochs": values[0]}
        elif kind == "finished":
            entry |= {"state": "finished", "failure": "", "score": main_score(values[0]["last"]["test"])[1]}
            entry["epochs"] = values[0]["last"]["epoch"]
        elif kind == "failed":
            entry |= {"state": "failed", "failure": values[0]}
        else:
            return
        self.write()


def run_sweep(
    queue: Queue,
    *,
    protocol: str | None = None,
    jobs: int = 1,
    again: bool = False,
    heed: Heed | None = None,
    runner: Runner = run_grid,
) -> list[Outcome]:
    """Execute a sweep, keep its queue file, and write its table.

    Args:
        queue: of the runs from `plan_sweep`.
        protocol: whose published figures are meant.
        jobs: runs side by side.
        again: start over what is finished or under way.
        heed: is told of every run's progress and end.
        runner: who executes the runs; see `ray_grid.grid_runner`.

    Returns:
        The outcomes in the order of the runs.

    Raises:
        UserError: another process runs this sweep.
    """

    def note(place: int, message: tuple[Any, ...]) -> None:
        if heed is not None:
            heed(place, message)
        queue.heed(place, message)

    runs = queue.runs
    with locked(queue.folder):
        queue.write()
        outcomes = runner([run.plan for run in runs], jobs=jobs, again=again, heed=note)
        store(queue.folder, gather(NAME, f"Sweep over {runs[0].plan.manifest.path.name}", protocol, runs, outcomes))
    return outcomes


def _entry(run: TableRun) -> dict[str, Any]:
    folder = run.plan.folder
    result = read_result(folder, run.plan.choice.truth)
    epochs = len(folder.rows()) if folder.metrics.exists() else 0
    return {
        "system": run.row.system,
        "method": run.row.method,
        "seed": run.plan.config.seed,
        "changes": dict(run.row.changes),
        "folder": str(folder.path),
        "epochs": epochs,
        "state": "waiting" if result is None else "finished",
        "score": None if result is None else main_score(result["last"]["test"])[1],
        "failure": "",
    }


def read_queue(folder: Path) -> dict[str, Any]:
    """What a sweep's queue file holds: `request` and `runs`.

    Raises:
        UserError: there is none, or it is none that `Queue` wrote.
    """
    path = folder / QUEUE
    if not path.exists():
        raise UserError(f"{folder} is no sweep: there is no {QUEUE} in it. Give a grid as a .toml file, or options.")
    found = read_json(path)
    right = isinstance(found, dict) and isinstance(found.get("request"), dict) and isinstance(found.get("runs"), list)
    if not right or not all(isinstance(run, dict) and run.get("state") in STATES for run in found["runs"]):
        raise UserError(f"{path} is no queue of 'noisyfer sweep'; remove the folder and start the sweep again.")
    return dict(found)
