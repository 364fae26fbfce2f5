"""Tables and progress on a terminal; plain lines where the output is no terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from ..core.config import to_dict
from ..core.terminal import Bars, console
from ..manifest import LabelSet, Manifest
from .bench import comparison_folder
from .evaluate import score_text
from .run import Plan
from .summary import Summary, summarise


def print_label_sets(manifest: Manifest) -> None:
    """A table of the label sets with their noise, asked and measured."""
    table = Table("label set", "kind", "annotator", "noise", "rate", "measured", "seed")
    for name, label_set in manifest.header.label_sets.items():
        found = label_set.provenance
        noise = found.get("noise") or found.get("method") or ""
        rate, measured = found.get("rate"), found.get("measured_rate")
        numbers = [_number(rate, 3), _number(measured, 4), "" if found.get("seed") is None else str(found["seed"])]
        table.add_row(*map(escape, (name, label_set.kind, label_set.annotator, str(noise), *numbers)))
    console().print(table)


def print_manifest(manifest: Manifest, summary: Summary | None = None) -> None:
    """All of `noisyfer show`: dataset, samples, label sets, class counts, agreement.

    Args:
        manifest: opened.
        summary: of it, where it is there already.
    """
    out, header, summary = console(), manifest.header, summary or summarise(manifest)
    root = header.dataset.root or "packaged"
    out.print(f"[bold]{escape(str(manifest.path))}[/]: dataset {escape(header.dataset.name)}, root {escape(root)}")
    fingerprint = f"fingerprint {header.dataset.fingerprint[:16]}…, " if header.dataset.fingerprint else ""
    out.print(escape(f"{fingerprint}written by noisyfer {header.created_by}"))
    for parent in header.parents:
        out.print(f"parent {escape(parent.get('file', '?'))}, SHA-256 {escape(parent.get('sha256', '?')[:16])}…")
    samples = Table("split", "samples", "by status", title="Samples", title_justify="left")
    for split, statuses in summary.samples.items():
        by_status = ", ".join(f"{status} {count:,}" for status, count in statuses.items())
        samples.add_row(escape(split), f"{sum(statuses.values()):,}", escape(by_status))
    out.print(samples)
    out.print(_sets_table(manifest, summary))
    for task, described in header.tasks.items():
        names = [name for name, found in header.label_sets.items() if found.task == task]
        if described.kind == "categorical" and names:
            counts = Table("class", *map(escape, names), title=f"Class counts, {escape(task)}", title_justify="left")
            for label in described.classes:
                counts.add_row(escape(label), *(f"{summary.sets[name].counts[label]:,}" for name in names))
            out.print(counts)
        if len(names) > 1:
            out.print(_agreement_table(names, summary, described.kind))


def _sets_table(manifest: Manifest, summary: Summary) -> Table:
    table = Table("label set", "kind", "labelled", "missing", "provenance", title="Label sets", title_justify="left")
    for name, label_set in manifest.header.label_sets.items():
        found = summary.sets[name]
        labelled = ", ".join(f"{split} {count:,}" for split, count in found.labelled.items())
        missing = ", ".join(f"{split} {count:,}" for split, count in found.missing.items() if count) or "none"
        table.add_row(*map(escape, (name, label_set.kind, labelled, missing, _provenance(label_set))))
    return table


def _provenance(label_set: LabelSet) -> str:
    """The short facts of a provenance: no matrices, no definitions, nothing empty."""
    skipped = ("transition_matrix", "definition", "stream")
    facts = []
    for key, value in label_set.provenance.items():
        if key in skipped or value in (None, "", [], {}):
            continue
        text = ", ".join(map(str, value)) if isinstance(value, list) else _number(value, 4)
        facts.append(f"{key.replace('_', ' ')}: {text}")
    return "; ".join(facts)


def _agreement_table(names: Sequence[str], summary: Summary, kind: str) -> Table:
    what = "Agreement (share of samples)" if kind == "categorical" else "Agreement (CCC)"
    table = Table("", *map(escape, names), title=what, title_justify="left")
    for row in names:
        cells = []
        for column in names:
            pair = (row, column) if (row, column) in summary.agreement else (column, row)
            cells.append("·" if row == column else _number(summary.agreement[pair][0], 4))
        table.add_row(escape(row), *cells)
    return table


def print_options(plans: Sequence[Plan]) -> None:
    """Say on what, where and with which values the runs are made."""
    out, first = console(), plans[0]
    out.print(
        f"Manifest {escape(str(first.manifest.path))}, preset {first.config.preset}, device {first.config.device}, "
        f"seed {first.config.seed}"
    )
    out.print(f"  {_values(to_dict(first.config.settings))}")
    for plan in plans:
        learns = ", ".join(spec.name for spec in plan.choice.specs)
        voted = f" (the vote of {', '.join(plan.choice.labels)})" if plan.choice.voted else ""
        values = _values(to_dict(plan.config.options))
        out.print(escape(f"  {plan.config.method} learns from {learns}{voted}: {values}"))


def print_table(plans: Sequence[Plan], results: Sequence[Mapping[str, Any]]) -> None:
    """The results, a row a run, task and metric; the last epoch's score is the headline, the best epoch's an oracle."""
    table = Table(title="Test scores after the last epoch", title_justify="left")
    columns = ("method", "learns from", "metric", "last", "first head", "oracle (epoch)", "agrees noisy", "agrees true")
    for name in (*columns, "epochs", "time"):
        table.add_column(name, justify="left" if name in columns[:3] else "right")
    for plan, result in zip(plans, results, strict=True):
        for task, continuous in {spec.task: spec.continuous for spec in plan.choice.specs}.items():
            for metric in ("ccc", "mse") if continuous else ("accuracy",):
                table.add_row(*_row(plan, result, task, metric))
    out = console()
    out.print(table)
    out.print("oracle: the best epoch by test labels, for reading only. agrees: predictions on training images.")
    for plan in plans:
        out.print(f"{plan.config.method}: {escape(str(plan.folder.path))}")
    if len(plans) > 1:
        out.print(f"comparison: {escape(str(comparison_folder(plans)))}")


def _row(plan: Plan, result: Mapping[str, Any], task: str, metric: str) -> list[str]:
    last, oracle, sets = result["last"], result["oracle"], plan.manifest.header.label_sets
    scored = task in plan.choice.truth
    heads = [scores[metric] for name, scores in last["heads"].items() if result["head_tasks"][name] == task]
    # agreement is accuracy or CCC; an error has none
    names = [name for name in plan.choice.labels if sets[name].task == task and metric != "mse"]
    known = [value for value in (last["agreement"].get(name) for name in names) if value is not None]
    true = None if metric == "mse" or not scored else last["agreement"][plan.choice.truth[task]]
    return [
        plan.config.method,
        escape(", ".join(spec.name for spec in plan.choice.specs if spec.task == task)),
        escape(f"{task} {metric}"),
        f"[bold]{_score(last['test'][task][metric], 4)}[/]" if scored else "not scored",
        _score(heads[0], 4) if heads else "",
        f"{_score(oracle['test'][task][metric], 4)} ({oracle['epoch']})" if scored else "",
        _score(sum(known) / len(known) if known else None, 3),
        _score(true, 3),
        str(last["epoch"]),
        duration(sum(result["seconds"].values())),
    ]


def _score(value: float | None, digits: int) -> str:
    """A score, or a dash where nothing was labelled."""
    return "–" if value is None or value != value else f"{value:.{digits}f}"


def duration(seconds: float) -> str:
    """Seconds as `45 s`, `12:05` or `3:07:11`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


class Display:
    """Shows runs as they go: a bar on a terminal, one line an epoch anywhere."""

    def __init__(self) -> None:
        self.console = console()
        self.bars = Bars(self.console)
        self.plan: Plan | None = None
        self.score = ""

    def __enter__(self) -> Display:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def decoding(self, split: str, done: int, total: int) -> None:
        """Show how far the images of a split are decoded."""
        self.bars.show(f"decoding {split} images", done, total)

    def started(self, plan: Plan, epochs_done: int) -> None:
        """Say that a run begins, or goes on."""
        self.bars.clear()
        self.plan, self.score = plan, ""
        going = f"goes on after epoch {epochs_done}" if epochs_done else "starts"
        self.console.print(f"{plan.config.method} {going}: {escape(str(plan.folder.path))}")

    def step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """Move the bar; it counts steps over all epochs, so that the time left is the run's."""
        if self.plan is None or self.bars.hidden:
            return
        epochs = self.plan.config.settings.epochs
        text = f"{self.plan.config.method} epoch {epoch}/{epochs} loss {loss:.3f} {self.score}"
        self.bars.show(text, (epoch - 1) * steps + step, epochs * steps, key="training")

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Print an epoch's line."""
        if self.plan is None:
            return
        self.score = score_text(row["test"], 3)
        losses = " ".join(f"{key} {loss:.3f}" for key, loss in row["losses"].items())
        seconds = sum(row["seconds"].values())
        count = f"{row['epoch']}/{self.plan.config.settings.epochs}"
        self.console.print(f"{self.plan.config.method} epoch {count} {self.score} {losses} ({seconds:.1f} s)")


def _values(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items() if value != "")


def _number(value: Any, digits: int) -> str:
    if value is None:
        return ""
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)
