"""Confusion matrices of a table: the label sets' on the test split, then the systems'."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from manifest_rows import sharded
from noisyfer.benchmark import confusions
from noisyfer.benchmark.answers import Answers
from noisyfer.training import pictures


def test_noisy_labels_of_the_test_split_come_before_the_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(confusions, "draw_confusions", lambda path, found, classes: drawn.update(found))
    manifest = sharded(tmp_path / "m", 20)
    choice = SimpleNamespace(labels=("class_net", "va_net"), truth={"class": "class_clean"})
    config = SimpleNamespace(settings=SimpleNamespace(test_split="test"))
    run: Any = SimpleNamespace(plan=SimpleNamespace(manifest=manifest, choice=choice, config=config))
    answers = Answers("class", np.arange(3), np.array([0, 1, 1]), {"ours": np.array([0, 2, 1])})
    confusions.draw_table_confusions(tmp_path / "confusions.png", [run], answers)
    assert list(drawn) == ["class_net", "ours"]
    # test rows are 1, 5, 9, 13 and 17, of the classes 1, 2, 0, 1 and 2; the net says nothing of 5, and of the others 1
    assert drawn["class_net"].tolist() == [[0, 1, 0], [0, 2, 0], [0, 1, 0]]
    assert drawn["ours"].tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]


def test_a_matrix_of_many_classes_is_drawn_without_numbers_and_no_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Any] = []
    monkeypatch.setattr(pictures, "save_figure", lambda figure, path: figures.append(figure))
    for classes in (30, 31, 250):
        pictures.draw_confusion(Path(), np.eye(classes, dtype=int), [f"class {number}" for number in range(classes)])
    assert [len(figure.axes[0].texts) for figure in figures] == [900, 0, 0]
    assert len({tuple(figure.get_size_inches()) for figure in figures}) == 1
    names = [[label.get_text() for label in figure.axes[0].get_yticklabels()] for figure in figures]
    assert names[1][-2:] == ["class 29 (1)", "class 30 (1)"]
    assert names[2][:2] == ["class 0 (1)", "class 3 (1)"]
