"""The sections of a report that are read: comparison, noise estimates, every run with its configuration and command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from ...core.web import Cell, Column, Content, facts, folded, joined, note, number_cell, table
from ..evaluate import main_score
from ..evidence import HEADINGS, cells, shown_columns, spread
from .find import Found, FoundRun
from .group import Group
from .repeat import repeat_command

MEANINGS = {
    "last epoch": "test score after the last epoch, mean ± standard deviation over seeds; no clean label chose it",
    "first head": "the same, of the first label set's head alone",
    "oracle": "at the best epoch, which test labels chose: for reading only",
    "paper": "the published figure",
    "agrees noisy": "of predictions on training images, with the noisy labels",
    "agrees true": "of predictions on training images, with the true labels",
    "memorised": "share of the wrong labels of training images that is predicted",
    "minutes": "of training, mean over seeds",
    "MiB": "peak memory",
}


def comparison(found: Group) -> Markup:
    """A row a system, task and score: mean ± deviation over seeds."""
    rows = cells(found.evidence())
    shown = shown_columns(rows)
    if all(name.startswith(method) for name, method, *_ in rows):
        shown.remove(HEADINGS.index("method"))
    columns = [Column(HEADINGS[place], place > 2, MEANINGS.get(HEADINGS[place], "")) for place in shown]
    filled = [[row[place] if place < 3 else number_cell(row[place]) for place in shown] for row in rows]
    return table(f"Systems on {found.name}; accuracies in %", columns, filled, filterable=True)


def noise(found: Group) -> Markup | None:
    """What each system makes of its labels' noise, beside what is true of it; None where no run says anything."""
    rows = []
    for system in found.systems:
        results = [run.result for run in system.runs if run.result is not None]
        for label_set in dict.fromkeys(name for result in results for name in result["noise"]):
            said = [result["noise"].get(label_set, {}) for result in results]
            figures = [
                number_cell(spread([each.get(name) for each in said], 3))
                for name in ("noise_rate", "true_noise_rate", "memorised", "transition_error")
            ]
            rows.append([system.name, label_set, *figures])
    if not rows:
        return None
    columns = [
        Column("system"),
        Column("label set"),
        Column("estimated rate", True, "share of labels that differ from the prediction, training images"),
        Column("true rate", True, "share that differ from the true label"),
        Column("memorised", True, "share of the wrong labels that is predicted"),
        Column("transition error", True, "‖T̂ − T‖₁ / ‖T‖₁"),
    ]
    return table(
        f"Noise of the label sets of {found.name}, after the last epoch", columns, rows, filterable=len(rows) > 8
    )


def runs(groups: Sequence[Group], found: Found, manifests: Mapping[str, str]) -> Markup:
    """Every run: a table, and folded its configuration, versions and the command that repeats it.

    Args:
        groups: the finished ones.
        found: all of them.
        manifests: by SHA-256, where a manifest was found.
    """
    finished = [(each, system.name, run) for each in groups for system in each.systems for run in system.runs]
    keys = {id(run): f"run-{number}" for number, (_, _, run) in enumerate(finished, 1)}
    columns = [
        *(Column("run"), Column("system"), Column("seed", True), Column("manifest"), Column("state")),
        *(Column("score"), Column("last epoch", True), Column("oracle", True), Column("oracle's epoch", True)),
    ]
    rows: list[list[Content]] = [_row(run, system, keys[id(run)]) for _, system, run in finished]
    rows += [_unfinished(run) for run in found.unfinished]
    details = [
        folded(f"{run.name}: {system}, seed {run.config['seed']}", _details(run, manifests), keys[id(run)])
        for _, system, run in finished
    ]
    return joined(table("All runs", columns, rows, filterable=True), *details)


def _row(run: FoundRun, system: str, key: str) -> list[Content]:
    result = run.result or {}
    last = result["last"]
    name, value = main_score(last["test"])
    link = Cell(Markup('<a href="#{}">{}</a>').format(key, run.name), run.name)
    what, scores = "not scored", list[Content]([_score(None), _score(None), None])
    if name is not None:
        task, oracle = next(iter(last["test"])), result["oracle"]
        what, scores = f"{task} {name}", [_score(value), _score(oracle["test"][task][name]), oracle["epoch"]]
    return [
        link,
        system,
        run.config["seed"],
        run.manifest["name"],
        Cell("finished", mark="good"),
        what,
        *scores,
    ]


def _unfinished(run: FoundRun) -> list[Content]:
    epochs = run.config["settings"]["epochs"]
    state = Cell(f"unfinished, {run.epochs_done} of {epochs} epochs", mark="bad")
    return [run.name, run.config["method"], run.config["seed"], run.manifest["name"], state, "", None, None, None]


def _score(value: float | None) -> Cell:
    return Cell("–") if value is None else Cell(f"{value:.4f}", value)


def _details(run: FoundRun, manifests: Mapping[str, str]) -> Markup:
    config, result = run.config, run.result or {}
    images = result.get("images")
    counts = [f"{count} {split}" for split, count in images.items()] if isinstance(images, dict) else []
    general = [
        ("folder", "only in a table" if run.folder is None else str(run.folder.path)),
        ("method", config["method"]),
        ("seed", config["seed"]),
        ("preset", config.get("preset") or "–"),
        ("manifest", f"{run.manifest['name']}, SHA-256 {run.manifest['sha256']}"),
        ("learns from", ", ".join(config["labels"])),
        ("scored against", ", ".join(f"{name} ({task})" for task, name in result["truth"].items()) or "–"),
        ("images", ", ".join(counts) or "–"),
        ("first weights", config.get("init") or "at random"),
        ("seconds of training", f"{result['seconds']['training']:.1f}"),
    ]
    made = [*run.versions.items(), *run.machine.items(), ("device", config.get("device") or "–")]
    values = [*config["settings"].items(), *config["options"].items()]
    command = repeat_command(run, manifests.get(run.manifest["sha256"], ""))
    return joined(
        facts(general),
        note("Versions and machine"),
        facts(made),
        note("Settings and options"),
        facts(values),
        note("The command that repeats it"),
        Markup("<pre>{}</pre>").format(command),
    )
