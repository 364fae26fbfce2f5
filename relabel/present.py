"""Progress and summary of a relabelling job on a terminal; plain lines where the output is no terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.markup import escape
from rich.table import Table

from ..core.schema import STATUS_OK
from ..core.terminal import console, progress
from ..manifest import Manifest
from .job import Report
from .report import Comparison, comparisons

PLAIN_SECONDS = 30.0
"""Where there is no terminal for a bar, a line so often."""


class JobDisplay:
    """Shows a job as it goes."""

    def __init__(self, title: str) -> None:
        self.console = console()
        self.title = title
        self.bars = progress(self.console, "{task.fields[rate]}")
        self.bar = self.bars.add_task(title, total=None, rate="")
        self.total: int | None = None
        self.before = 0
        self.began = self.told = time.perf_counter()

    def __enter__(self) -> JobDisplay:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def started(self, rows_done: int) -> None:
        """Say that the job goes on where it was left."""
        self.before = rows_done
        self.began = self.told = time.perf_counter()
        if rows_done:
            self.console.print(f"Going on after {rows_done:,} rows that are labelled already.")
        self.bars.update(self.bar, completed=rows_done)

    def counted(self, rows: int) -> None:
        """Give the bar its end."""
        self.total = rows
        self.bars.update(self.bar, total=rows)

    def progress(self, rows: int, statuses: Mapping[str, int]) -> None:
        """Move the bar, or print a line now and then."""
        now = time.perf_counter()
        rate = f"{(rows - self.before) / max(now - self.began, 1e-9):.1f} images/s"
        failed = sum(statuses.values()) - statuses.get(STATUS_OK, 0)
        if failed:
            rate += f", {failed:,} failed"
        self.bars.update(self.bar, completed=rows, rate=rate)
        if self.bars.disable and now - self.told > PLAIN_SECONDS:
            self.told = now
            end = f" of {self.total:,}" if self.total is not None else ""
            self.console.print(f"{self.title}: {rows:,}{end} rows, {rate}")


def print_report(report: Report) -> None:
    """Counts by status, the first failures, and each teacher against the humans."""
    out, found = console(), comparisons(report.manifest)
    for comparison in found:
        if comparison.counts is not None:
            out.print(_confusion(report.manifest, comparison))
        elif comparison.scores:
            scores = comparison.scores
            out.print(
                escape(
                    f"{comparison.teacher} against {comparison.human} on {comparison.rows:,} rows: "
                    f"CCC {scores['ccc']:.3f} (valence {scores['ccc_valence']:.3f}, "
                    f"arousal {scores['ccc_arousal']:.3f}), MSE {scores['mse']:.3f}"
                )
            )
    total = sum(report.statuses.values())
    counts = ", ".join(
        f"{status} {count:,}" for status, count in sorted(report.statuses.items(), key=lambda item: -item[1])
    )
    out.print(escape(f"{total:,} rows: {counts}."))
    for name, status, detail in report.failures:
        out.print(escape(f"  {name}: {status}, {detail}"))
    for annotator, count in report.clipped.items():
        if count:
            out.print(escape(f"{count:,} values of {annotator} were outside [-1, 1] and moved to its border."))
    if report.finished_before:
        out.print(escape(f"{report.manifest.path} was finished before; nothing was left to do."))
        return
    rate = f", {report.labelled / report.seconds:.1f} images/s" if report.labelled and report.seconds else ""
    out.print(escape(f"Wrote {report.manifest.path}: {total:,} samples{rate}."))
    if any(comparison.counts is not None for comparison in found):
        out.print(escape(f"Next: noisyfer bench --method vgg-all,proposed --manifest {report.manifest.path}"))


def _confusion(manifest: Manifest, comparison: Comparison) -> Table:
    """A table of shares: row the human's class, column the teacher's."""
    assert comparison.counts is not None
    classes = manifest.header.tasks[manifest.label_set(comparison.teacher).task].classes
    title = (
        f"{comparison.teacher} (columns) against {comparison.human} (rows): {comparison.agreement:.1%} of "
        f"{comparison.rows:,} agree"
    )
    found = Table("", *map(escape, classes), "rows", title=escape(title), title_justify="left")
    for name, row in zip(classes, comparison.counts, strict=True):
        total = row.sum()
        found.add_row(escape(name), *(f"{share:.2f}" for share in row / max(total, 1)), f"{total:,}")
    return found
