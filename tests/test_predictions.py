"""A run's predictions as a table: ids, what is predicted, what is true, and nothing where there is no truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from noisyfer.benchmark.choose import Choice
from noisyfer.benchmark.predictions import write_predictions
from noisyfer.manifest import Labels
from noisyfer.models.methods import LabelSetSpec
from noisyfer.training.data import SplitData


def test_classes_and_affect_stand_beside_their_truth(tmp_path: Path) -> None:
    present = np.array([True, True, False])
    affect = np.array([[0.5, -0.5], [0.25, 0.0], [0.0, 0.0]], np.float32)
    test = SplitData(
        np.zeros((3, 32, 32, 3), np.uint8),
        {"expression_human": Labels(np.array([2, 0, 0]), present), "va_human": Labels(affect, ~present)},
        ["a", "b", "c"],
    )
    predicted = {
        "expression": np.array([[0.1, 0.2, 0.7], [0.2, 0.5, 0.3], [0.9, 0.05, 0.05]]),
        "va": np.array([[0.1, 0.2], [-0.3, 0.4], [0.5, -0.6]]),
        "unscored": np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]),
        "no label set of the run's": np.ones((3, 4)),
    }
    specs = (
        LabelSetSpec("expression_model", "expression", 3),
        LabelSetSpec("va_model", "va", 2, continuous=True),
        LabelSetSpec("unscored_model", "unscored", 2),
    )
    choice = Choice((), specs, None, {"expression": "expression_human", "va": "va_human"})
    write_predictions(tmp_path / "predictions.parquet", test, predicted, choice)
    table = pq.read_table(tmp_path / "predictions.parquet")
    assert table.column_names == [
        *("id", "expression", "expression_true", "expression_probs"),
        *("valence", "valence_true", "arousal", "arousal_true"),
        *("unscored", "unscored_probs"),
    ]
    assert table["id"].to_pylist() == ["a", "b", "c"]
    assert table["expression"].to_pylist() == [2, 1, 0]
    assert table["expression_true"].to_pylist() == [2, 0, None]
    assert table["expression_probs"].to_pylist()[1] == pytest.approx([0.2, 0.5, 0.3])
    assert table["valence"].to_pylist() == pytest.approx([0.1, -0.3, 0.5])
    assert table["arousal_true"].to_pylist() == [None, None, 0.0]
    assert table["unscored"].to_pylist() == [1, 0, 1]
