"""The runs of a table in one small file, and what it says of each system: mean and spread over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from .. import __version__
from ..core.config import to_dict
from ..core.errors import UserError
from ..core.files import finite, read_json, whole_file, write_json
from .curve_names import AGREES
from .grid import Outcome
from .reporting.shapes import check, read_rows
from .tables import TABLES, TableRun

DIGITS = 5
"""Decimals of scores and losses that are kept."""

SHOWN = ("accuracy", "ccc", "mse")
"""The scores that a table has a column for, in this order."""

ALIKE = ("manifest", "settings", "options", "init", "device")
"""What a system's runs share. Tables of before have neither `init` nor `device`: unknown there, and not different."""


@dataclass(frozen=True)
class Score:
    """One score of one system over its seeds.

    Attributes:
        task: e.g. `class`.
        metric: one of `SHOWN`; empty where the task is learned and not scored.
        last: after the last epoch, a value a seed; these and the next ones are empty without a metric.
        oracle: at the best epoch by test labels, a value a seed.
        first_head: of the first label set's head alone, a value a seed; empty where the method has no such heads.
        published: the paper's figure as a share, None where it has none.
        noisy: agreement with the task's noisy labels of training images after the last epoch, a value a seed.
        true: agreement with their true labels, a value a seed; empty where they are not known.
        memorised: the share of their wrong labels that is predicted, a value a seed; empty where nobody knows them.
    """

    task: str
    metric: str
    last: tuple[float, ...]
    oracle: tuple[float, ...]
    first_head: tuple[float, ...]
    published: float | None
    noisy: tuple[float, ...]
    true: tuple[float, ...]
    memorised: tuple[float, ...]


@dataclass(frozen=True)
class System:
    """What a table says of one system.

    Attributes:
        name: of the row.
        method: a registered name.
        scores: by task and metric.
        minutes: of training, a value a seed.
        memory: peak, MiB, a value a seed.
        failures: sentences of runs that failed.
    """

    name: str
    method: str
    scores: tuple[Score, ...]
    minutes: tuple[float, ...]
    memory: tuple[float, ...]
    failures: tuple[str, ...]


def gather(name: str, title: str, protocol: str | None, runs: Sequence[TableRun], outcomes: Sequence[Outcome]) -> Any:
    """The document of a table: configuration, result and curves of every run, without pictures and checkpoints.

    Raises:
        UserError: the configuration or the metrics of a finished run are damaged.
    """
    return finite(
        {
            "table": name,
            "title": title,
            "protocol": protocol or "",
            "preset": runs[0].plan.config.preset,
            "created_by": __version__,
            "runs": [_run(run, outcome) for run, outcome in zip(runs, outcomes, strict=True)],
        }
    )


def _run(run: TableRun, outcome: Outcome) -> dict[str, Any]:
    plan = run.plan
    found: dict[str, Any] = {
        "system": run.row.system,
        "method": run.row.method,
        "published": run.row.published,
        "seed": plan.config.seed,
        "labels": {name: plan.manifest.header.label_sets[name].task for name in plan.config.labels},
        "manifest": {"name": plan.manifest.path.name, "sha256": plan.manifest.fingerprint},
        "settings": to_dict(plan.config.settings),
        "options": to_dict(plan.config.options),
        "init": plan.config.init,
        "device": plan.config.device,
    }
    if outcome.result is None:
        return found | {"failure": outcome.failure}
    stored = read_json(plan.folder.config)
    check(stored, {"machine": dict}, str(plan.folder.config))
    return found | {
        "machine": stored["machine"],
        "result": rounded(outcome.result),
        "curves": curves(read_rows(plan.folder)),
    }


def curves(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Scores, losses and agreement by epoch (of `metrics.jsonl`), each under a name of its own; None where missing."""
    found: dict[str, list[Any]] = {"epoch": [row["epoch"] for row in rows]}
    for place, row in enumerate(rows):
        values = {f"{task} {metric}": row["test"][task].get(metric) for task in row["test"] for metric in SHOWN}
        values |= row["losses"] | {f"{AGREES}{name}": value for name, value in row["agreement"].items()}
        for name, value in values.items():
            if value is not None:
                found.setdefault(name, [None] * len(rows))[place] = rounded(value)
    return found


def rounded(value: Any) -> Any:
    """A value of JSON as a table has it, with `DIGITS` decimals."""
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, Mapping):
        return {key: rounded(each) for key, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, (list, tuple)) else value


def read_evidence(path: Path) -> dict[str, Any]:
    """A document that `gather` made.

    Raises:
        UserError: it cannot be read, or is no such document.
    """
    found = read_json(path)
    if not isinstance(found, dict) or not {"table", "title", "protocol", "runs"} <= set(found):
        raise UserError(f"{path} is no table of 'noisyfer bench --table'.")
    return found


def merge_evidence(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One document of the runs of several, made at different times or on different machines.

    Args:
        documents: at least one, all of one table, protocol and preset.

    Returns:
        The runs in the order of the table's rows, a system's by seed. A run that failed in one document and finished in
        another counts as finished.

    Raises:
        UserError: the documents are not of one table, a system's runs differ in more than their seed, or there are two
            results of one system and seed.
    """
    first = documents[0]
    for name in ("table", "protocol", "preset"):
        values = list(dict.fromkeys(str(document.get(name, "")) for document in documents))
        if len(values) > 1:
            raise UserError(f"These results do not belong together: their {name} is {' and '.join(values)}.")
    runs: dict[tuple[str, int], Mapping[str, Any]] = {}
    for run in (run for document in documents for run in document["runs"]):
        key = run["system"], run["seed"]
        before = runs.setdefault(key, run)
        if "result" in before and "result" in run and _differing(before, run, before):
            raise UserError(f"There are two results of {key[0]}, seed {key[1]}; leave one of the files out.")
        if "result" in run:
            runs[key] = {**before, **run} if "result" in before else run
    by_system: dict[str, list[Mapping[str, Any]]] = {}
    for (system, seed), run in runs.items():
        for other in by_system.setdefault(system, []):
            differing = _differing(other, run, ALIKE)
            if differing:
                which = f"Seeds {other['seed']} and {seed} of {system}"
                raise UserError(f"{which} differ in their {' and '.join(differing)}.")
        by_system[system].append(run)
    rows = TABLES[first["table"]].rows if first["table"] in TABLES else ()
    order = {row.system: place for place, row in enumerate(rows)}
    ordered = sorted(runs.values(), key=lambda run: (order.get(run["system"], len(order)), run["seed"]))
    return {**first, "runs": ordered}


def _differing(one: Mapping[str, Any], other: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """In which of these entries two runs differ; what only one of them has is unknown of the other, such as an option
    that another version lacks."""

    def differ(first: Any, second: Any) -> bool:
        if isinstance(first, Mapping) and isinstance(second, Mapping):
            return any(first[name] != second[name] for name in first.keys() & second.keys())
        return bool(first != second)

    return [name for name in names if name in one and name in other and differ(one[name], other[name])]


def finished_runs(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The runs of a document that have a result and curves."""
    return [run for run in document["runs"] if "result" in run]


def systems(document: Mapping[str, Any]) -> list[System]:
    """What a document says of each system, in the order of its rows."""
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for run in document["runs"]:
        by_name.setdefault(run["system"], []).append(run)
    return [_system(name, runs, document["protocol"]) for name, runs in by_name.items()]


def _system(name: str, runs: Sequence[Mapping[str, Any]], protocol: str) -> System:
    finished = [run for run in runs if "result" in run]
    results = [run["result"] for run in finished]
    published = runs[0]["published"].get(protocol, {})
    scores = []
    for task, metrics in _shown(finished[0]).items() if finished else ():
        for metric in metrics:
            figure = published.get(metric)
            scores.append(
                Score(
                    task,
                    metric,
                    tuple(result["last"]["test"][task][metric] for result in results if task in result["truth"]),
                    tuple(result["oracle"]["test"][task][metric] for result in results if task in result["truth"]),
                    tuple(value for result in results for value in _first_head(result, task, metric)),
                    figure / 100 if figure is not None and metric == "accuracy" else figure,
                    tuple(value for run in finished for value in _agreement(run, task, metric, noisy=True)),
                    tuple(value for run in finished for value in _agreement(run, task, metric, noisy=False)),
                    tuple(value for run in finished for value in _memorised(run, task, metric)),
                )
            )
    return System(
        name,
        runs[0]["method"],
        tuple(scores),
        tuple(result["seconds"]["training"] / 60 for result in results),
        tuple(result["peak_memory_mib"] for result in results),
        tuple(f"seed {run['seed']}: {run['failure']}" for run in runs if "failure" in run),
    )


def _shown(run: Mapping[str, Any]) -> dict[str, list[str]]:
    """By task the metrics that have a row; one, without a name, for a task that is learned and not scored."""
    last = run["result"]["last"]
    shown = {task: [metric for metric in SHOWN if metric in values] for task, values in last["test"].items()}
    learned = [task for name, task in run["labels"].items() if name in last["agreement"]]
    return shown | {task: [""] for task in learned if task not in shown}


def _first_head(result: Mapping[str, Any], task: str, metric: str) -> list[float]:
    heads = result["last"]["heads"]
    return [heads[name][metric] for name in heads if result["head_tasks"][name] == task][:1]


def _agreement(run: Mapping[str, Any], task: str, metric: str, *, noisy: bool) -> list[float]:
    """With the true labels of a task, or the mean over its noisy sets; none for an error, which is no agreement."""
    result = run["result"]
    true = [result["truth"][task]] if task in result["truth"] else []
    names = [name for name in run["labels"] if run["labels"][name] == task] if noisy else true
    known = [value for name in names if (value := result["last"]["agreement"].get(name)) is not None]
    return [mean(known)] if known and metric != "mse" else []


def _memorised(run: Mapping[str, Any], task: str, metric: str) -> list[float]:
    """The mean over a task's label sets that have wrong labels and truth beside them; runs of before have none."""
    names = [name for name in run["labels"] if run["labels"][name] == task and metric == "accuracy"]
    noise = run["result"].get("noise", {})
    known = [noise[name]["memorised"] for name in names if "memorised" in noise.get(name, {})]
    return [mean(known)] if known else []


def spread(values: Sequence[float | None], digits: int, scale: float = 1.0) -> str:
    """Mean ± sample standard deviation; the value alone where there is one, a dash where there is none."""
    scaled = [value * scale for value in values if value is not None and value == value]
    if not scaled:
        return "–"
    text = f"{mean(scaled):.{digits}f}"
    return f"{text} ± {stdev(scaled):.{digits}f}" if len(scaled) > 1 else text


HEADINGS = (
    "system",
    "method",
    "score",
    "last epoch",
    "first head",
    "oracle",
    "paper",
    "agrees noisy",
    "agrees true",
    "memorised",
    "seeds",
    "minutes",
    "MiB",
)


def cells(found: Sequence[System]) -> list[list[str]]:
    """The table's cells under `HEADINGS`, accuracies in %, a row a system, task and metric."""
    rows = []
    for system in found:
        for score in system.scores:
            digits, scale = (2, 100.0) if score.metric == "accuracy" else (3, 1.0)
            rows.append(
                [
                    system.name,
                    system.method,
                    f"{score.task} {score.metric}" if score.metric else f"{score.task}, not scored",
                    spread(score.last, digits, scale),
                    spread(score.first_head, digits, scale),
                    spread(score.oracle, digits, scale),
                    "–" if score.published is None else f"{score.published * scale:.{digits}f}",
                    spread(score.noisy, 3),
                    spread(score.true, 3),
                    spread(score.memorised, 3),
                    str(len(system.minutes)),
                    f"{mean(system.minutes):.1f}",
                    str(round(max(system.memory))),
                ]
            )
        if not system.scores:
            rows.append([system.name, system.method, *["–"] * (len(HEADINGS) - 2)])
    return rows


def shown_columns(rows: Sequence[Sequence[str]]) -> list[int]:
    """The places of the columns in which some row of `cells` says something; the first three always."""
    return [place for place in range(len(HEADINGS)) if place < 3 or any(row[place] != "–" for row in rows)]


def markdown(found: Sequence[System]) -> str:
    """The table as Markdown."""
    rows = [[system, f"`{method}`", *rest] for system, method, *rest in cells(found)]
    lines: list[Sequence[str]] = [HEADINGS, ["---"] * 3 + ["---:"] * (len(HEADINGS) - 3), *rows]
    shown = shown_columns(rows)
    return "\n".join("| " + " | ".join(line[place] for place in shown) + " |" for line in lines)


def store(folder: Path, document: Mapping[str, Any]) -> None:
    """Write a table's files: `table.json`, `table.md`, and `curves.png` where a run finished."""
    from .pictures import draw_systems

    write_json(folder / "table.json", document)
    with whole_file(folder / "table.md") as temporary:
        temporary.write_text(markdown(systems(document)) + "\n", encoding="utf-8")
    finished = finished_runs(document)
    if finished:
        draw_systems(folder / "curves.png", finished)
