"""Valence and arousal of several annotators as one: means, medians, and means weighted by reliability."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from noisyfer.benchmark.aggregate import aggregate
from test_aggregate import Column, column, made

AFFECT: dict[str, Column] = {
    "va_a": [(0.0, 0.5), (0.4, -1.0), None, (1.0, 0.0), None],
    "va_b": [(0.2, 0.3), (0.8, -0.4), (-0.5, 0.5), (0.4, 0.2), None],
    "va_c": [(0.7, 0.1), None, (0.5, -0.1), None, None],
}


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("mean", [(0.3, 0.3), (0.6, -0.7), (0.0, 0.2), (0.7, 0.1), None]),
        ("median", [(0.2, 0.3), (0.6, -0.7), (0.0, 0.2), (0.7, 0.1), None]),
    ],
)
def test_means_and_medians_are_the_hand_worked_ones(method: str, expected: Column, path: Path) -> None:
    made(path, AFFECT)
    found = aggregate(path, method)
    values = list(zip(column(found, f"valence_{method}"), column(found, f"arousal_{method}"), strict=True))
    assert values[4] == (None, None)
    np.testing.assert_allclose(values[:4], expected[:4], atol=1e-6)
    assert found.label_set.columns == {"valence": f"valence_{method}", "arousal": f"arousal_{method}"}
    assert "seed" not in found.label_set.provenance


def test_weights_are_correlations_with_the_mean(path: Path) -> None:
    made(
        path,
        {
            # means of valence 0, 0.2, 0.4: a goes with them (r = 1), b turns round (r = -1, so 0), c is √(27/28)
            "va_a": [(-0.6, 0.5), (0.0, 0.5), (0.6, 0.5)],
            "va_b": [(0.2, 0.1), (0.1, 0.1), (0.0, 0.1)],
            "va_c": [(0.4, 0.0), (0.5, 0.3), (0.6, 0.6)],
            "va_clean": [(0.0, 0.0), (0.2, 0.0), (0.4, 0.0)],
        },
    )
    found = aggregate(path, "weighted", labels=["va_a", "va_b", "va_c"])
    worth = np.array([entry.reliability for entry in found.parents])
    # valence: a and c rise with the mean in a straight line, b falls; arousal: only c varies
    np.testing.assert_allclose(worth, [[1, 0], [0, 0], [1, 1]], atol=1e-6)
    np.testing.assert_allclose(column(found, "valence_weighted"), [-0.1, 0.25, 0.6], atol=1e-6)
    np.testing.assert_allclose(column(found, "arousal_weighted"), [0, 0.3, 0.6], atol=1e-6)
    assert found.truth == "va_clean"
    errors = [-0.1, 0.05, 0.2]
    assert found.result.scores["rmse_valence"] == pytest.approx(np.sqrt(np.mean(np.square(errors))), abs=1e-6)


def test_where_no_annotator_has_a_weight_it_is_the_mean(path: Path) -> None:
    made(path, {"va_a": [(0.5, 0.1), (0.5, 0.1)], "va_b": [(0.1, 0.3), (0.1, 0.3)]})
    found = aggregate(path, "weighted")
    np.testing.assert_allclose(column(found, "valence_weighted"), [0.3, 0.3], atol=1e-6)
    assert [entry.reliability for entry in found.parents] == [(0, 0), (0, 0)]


# -------------------------------------------------------------------------------------------------------- the command
