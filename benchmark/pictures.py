"""Figures of runs: accuracy curves, losses, confusion matrices, synthesised images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..core.streams import stream_seed
from ..manifest import Manifest
from ..models.methods import Method
from ..training.pictures import draw_confusion, label_axes, literal, new_figure, save_figure
from .curve_names import AGREES, agreement_titles
from .evaluate import main_score

if TYPE_CHECKING:
    from matplotlib.lines import Line2D

SYNTHESIS_ROWS = 8
DASHES = ("-", "--", ":", "-.")
"""Of lines: there are ten colours, and the eleventh system has the first one again, dashed."""


def draw_run(
    folder: Path,
    manifest: Manifest,
    rows: Sequence[Mapping[str, Any]],
    confusions: Mapping[str, Any],
    method: Method,
    seed: int,
) -> None:
    """Draw a finished run's pictures into its folder: `curves.png`, `confusion_<task>.png` and, for a method that can
    draw images, `synthesis.png` (paper, Fig. 4: a column a class, a row a latent vector).
    """
    draw_curves(folder / "curves.png", rows)
    for task, counts in confusions.items():
        draw_confusion(folder / f"confusion_{task}.png", np.asarray(counts), manifest.header.tasks[task].classes)
    if hasattr(method, "synthesise"):
        generator = torch.Generator().manual_seed(stream_seed(seed, "synthesis"))
        synthesis = method.synthesise(SYNTHESIS_ROWS, generator)
        if synthesis is not None:
            classes = manifest.header.tasks[synthesis.task].classes
            draw_synthesis(folder / "synthesis.png", synthesis.images, classes)


def draw_curves(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Test score, agreement with the training labels, and losses over epochs."""
    figure = new_figure(13, 4)
    scores, agreement, losses = figure.subplots(1, 3)
    epochs = [row["epoch"] for row in rows]
    for task in rows[0]["test"]:
        for name in ("accuracy", "ccc"):
            if name in rows[0]["test"][task]:
                scores.plot(epochs, [row["test"][task][name] for row in rows], label=f"{task} {name}")
    for name in rows[0]["agreement"]:
        agreement.plot(epochs, [row["agreement"][name] for row in rows], label=name)
    # a method may begin to report a loss later than the first epoch
    for name in dict.fromkeys(name for row in rows for name in row["losses"]):
        losses.plot(epochs, [row["losses"].get(name, float("nan")) for row in rows], label=name.replace("_", " "))
    label_axes(scores, "Test score", "score")
    label_axes(agreement, "Agreement of predictions with training labels", "share of samples")
    label_axes(losses, "Training losses", "mean over the epoch")
    save_figure(figure, path)


def draw_comparison(path: Path, curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Test accuracy (or CCC) of several runs over epochs (paper, Fig. 3), and their losses of the training labels; in
    place of a score that none of them has, their agreement with their training labels.

    Args:
        path: the picture.
        curves: a name for each run, and its metrics' rows.
    """
    figure = new_figure(12, 4.5)
    scores, losses = figure.subplots(1, 2)
    scored = any(row["test"] for rows in curves.values() for row in rows)
    entropy = any("cross_entropy" in row["losses"] for rows in curves.values() for row in rows)
    loss = "cross_entropy" if entropy else "similarity"
    for name, rows in curves.items():
        epochs = [row["epoch"] for row in rows]
        if rows[0]["test"]:
            scores.plot(epochs, [main_score(row["test"])[1] for row in rows], label=name)
        elif not scored:
            known = [[value for value in row["agreement"].values() if value is not None] for row in rows]
            scores.plot(epochs, [float(np.mean(each)) if each else float("nan") for each in known], label=name)
        if loss in rows[-1]["losses"]:
            losses.plot(epochs, [row["losses"][loss] for row in rows], label=name)
    if scored:
        label_axes(scores, "Test score over training", "score")
    else:
        label_axes(scores, "Agreement of predictions with training labels", "mean over sets")
    label_axes(losses, SERIES[loss], "mean over sets and epoch")
    save_figure(figure, path)


def draw_synthesis(path: Path, images: torch.Tensor, classes: Sequence[str]) -> None:
    """A grid of drawn images, rows×K×3×S×S in [-1, 1]: a column a class, a row a latent vector."""
    rows, columns, _, size, _ = images.shape
    grid = images.permute(0, 3, 1, 4, 2).reshape(rows * size, columns * size, 3)
    pixels = ((grid.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu().numpy()
    figure = new_figure(0.2 + 0.8 * columns, 0.5 + 0.8 * rows)
    axes = figure.subplots()
    axes.imshow(pixels)
    centres = [(column + 0.5) * size for column in range(columns)]
    axes.set_xticks(centres, literal(classes), rotation=30, ha="left", fontsize=8)
    axes.xaxis.tick_top()
    axes.set_yticks([])
    save_figure(figure, path)


MOST_SETS = 4
PANELS = {1: 1, 2: 2, 4: 2}
"""Panels in a line by how many a figure has; three of any other number."""
SCORES = {"accuracy": "share", "ccc": "CCC"}
"""Last words of the test scores that have a panel, and their axis."""
SERIES = {
    "cross_entropy": "Cross entropy with the training labels",
    "similarity": "1 - CCC with the training labels",
    "adversarial_generator": "Adversarial loss of the generator",
    "adversarial_discriminator": "Loss of the discriminator",
}


def draw_systems(path: Path, runs: Sequence[Mapping[str, Any]]) -> None:
    """Curves of a table's systems over epochs: for each manifest and number of label sets panels with the test score
    and each of `SERIES` that a method reports, in lines of `PANELS` that a page has room for; the mean over seeds, and
    from the lowest to the highest seed as a band (paper, Fig. 3, S5 and S6). The legend is beside the first line.
    Where nothing is scored, agreement with the labels of the first `MOST_SETS` sets is in the place of scores.

    Args:
        path: the picture.
        runs: finished ones, of a document that `evidence.gather` made.
    """
    groups: dict[tuple[str, int], dict[str, list[Mapping[str, Any]]]] = {}
    for run in runs:
        group = groups.setdefault((run["manifest"]["name"], len(run["labels"])), {})
        group.setdefault(run["system"], []).append(run["curves"])
    names = dict.fromkeys(name for run in runs for name in run["curves"])
    columns = {name: f"Test {name.replace('_', ' ')}" for name in names if name.split()[-1] in SCORES}
    if not columns:  # nothing is scored
        columns = dict(islice(agreement_titles(names).items(), MOST_SETS))
    columns |= {name: title for name, title in SERIES.items() if name in names}
    own = [
        [name for name in columns if any(name in curves for found in group.values() for curves in found)]
        for group in groups.values()
    ]
    most = max(map(len, own))
    width = PANELS.get(most, 3)
    lines = math.ceil(most / width)
    figure = new_figure(5.5 * width + 2.5, 4.2 * len(groups) * lines)
    grid = figure.subplots(len(groups) * lines, width, squeeze=False).reshape(len(groups), -1)
    for ((manifest, sets), systems), shown, panels in zip(groups.items(), own, grid, strict=True):
        drawn: dict[str, Line2D] = {}
        for unused in panels[len(shown) :]:
            unused.remove()
        for axes, name in zip(panels, shown, strict=False):
            for place, (system, curves) in enumerate(systems.items()):
                found = np.array([curve[name] for curve in curves if name in curve], dtype=float)
                if len(found):
                    colour, dashes = f"C{place % 10}", DASHES[place // 10 % len(DASHES)]
                    epochs = curves[0]["epoch"]
                    (drawn[system],) = axes.plot(epochs, found.mean(axis=0), color=colour, linestyle=dashes)
                    axes.fill_between(epochs, found.min(axis=0), found.max(axis=0), color=colour, alpha=0.15, lw=0)
            where = f"\n{manifest}, {sets} label set{'s' if sets > 1 else ''}" if len(groups) > 1 else ""
            quantity = "agreement" if name.startswith(AGREES) else SCORES.get(name.split()[-1], "mean over the epoch")
            label_axes(axes, columns[name] + where, quantity, legend=False)
        beside: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.02, 1), "borderaxespad": 0}
        if shown:
            panels[min(width, len(shown)) - 1].legend(drawn.values(), literal(list(drawn)), fontsize=8, **beside)
    save_figure(figure, path)


def draw_weights(path: Path, runs: Sequence[Mapping[str, Any]]) -> None:
    """The score after the last epoch against a λ set by hand, a panel a manifest, and as dashed lines with the λ at
    which they ended the rules that find it; means over seeds, and from the lowest to the highest seed as bars.

    Args:
        path: the picture.
        runs: finished ones of the table `lambda`.
    """
    groups: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for run in runs:
        groups.setdefault(run["manifest"]["name"], {}).setdefault(run["system"], []).append(run)
    score = next(name for name in runs[0]["curves"] if name.endswith((" accuracy", " ccc")))
    figure = new_figure(5.5 * len(groups), 4.2)
    panels = figure.subplots(1, len(groups), squeeze=False, sharey=True)
    for (manifest, systems), axes in zip(groups.items(), panels[0], strict=True):
        by_hand = {
            found[0]["options"]["lambda"]: [run["curves"][score][-1] for run in found]
            for found in systems.values()
            if found[0]["options"]["lambda_rule"] == "fixed"
        }
        middle = {weight: float(np.mean(values)) for weight, values in sorted(by_hand.items())}
        reach = np.array([[middle[w] - min(by_hand[w]), max(by_hand[w]) - middle[w]] for w in middle]).T
        axes.errorbar(list(middle), list(middle.values()), yerr=reach, marker="o", capsize=3, label="λ by hand")
        rules = [found for found in systems.values() if found[0]["options"]["lambda_rule"] != "fixed"]
        for place, found in enumerate(rules, start=1):
            height = float(np.mean([run["curves"][score][-1] for run in found]))
            ended = float(np.mean([run["curves"]["lambda"][-1] for run in found]))
            label = f"{found[0]['options']['lambda_rule']}, ended at {ended:.2f}"
            axes.axhline(height, color=f"C{place}", linestyle="--", marker="", label=label)
        label_axes(axes, manifest, score)
        axes.set_xlabel("λ")
    save_figure(figure, path)
