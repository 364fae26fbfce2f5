"""Scores of predictions, against values worked out by hand."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from noisyfer.manifest import Labels
from noisyfer.training.metrics import (
    calibration_error,
    class_f1,
    class_scores,
    confusion,
    noise_scores,
    pearson,
    reliability,
    task_scores,
    transition_error,
    transition_estimate,
    valence_arousal_scores,
)


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """A score that divides by zero on the way is a defect even where its value comes out."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def given(values: Sequence[int | None]) -> Labels:
    return Labels(np.array([value or 0 for value in values]), np.array([value is not None for value in values]))


def certain(classes: Sequence[int], width: int = 3) -> np.ndarray:
    return np.eye(width)[list(classes)]


# Predictions 0 0 1 1 2 0 against labels 0 1 1 1 0 – (the last is missing): the counts are [[1, 0, 1], [1, 2, 0]].
PREDICTED = certain([0, 0, 1, 1, 2, 0])
TRUE = given([0, 1, 1, 1, 0, None])


def test_class_scores_by_hand() -> None:
    scores = class_scores(PREDICTED, TRUE)
    assert scores["accuracy"] == pytest.approx(3 / 5)
    # recall 1/2 and 2/3; precision 1/2 and 2/2
    assert scores["balanced_accuracy"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert scores["macro_f1"] == pytest.approx((1 / 2 + 4 / 5) / 2)
    assert scores["calibration_error"] == pytest.approx(2 / 5)  # confidence 1, accuracy 3/5


def test_f1_of_a_class_that_no_sample_has_is_unknown_even_if_it_is_predicted() -> None:
    each = class_f1(PREDICTED, TRUE)
    assert each[:2] == pytest.approx([1 / 2, 4 / 5])
    assert math.isnan(each[2])


def test_a_class_that_is_there_and_never_found_counts_as_zero() -> None:
    each = class_f1(certain([0, 0, 0]), given([0, 1, 2]))
    assert each == pytest.approx([1 / 2, 0, 0])
    scores = class_scores(certain([0, 0, 0]), given([0, 1, 2]))
    assert scores["macro_f1"] == pytest.approx(1 / 6)
    assert scores["balanced_accuracy"] == pytest.approx(1 / 3)


def test_calibration_error_by_hand() -> None:
    # bins of 1/15: 0.61 and 0.65 share the tenth (0.6, 0.6667]; 0.95 is alone in the last, 0.4 in the sixth
    confidence = np.array([0.61, 0.65, 0.95, 0.40])
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    probabilities = np.concatenate([probabilities * [1, 0.5], (1 - confidence)[:, None] * 0.5], axis=1)
    error = calibration_error(probabilities, given([0, 1, 0, 2]))
    assert error == pytest.approx((abs(1 - 0.61 - 0.65) + (1 - 0.95) + 0.40) / 4)


def test_calibration_bins_hold_their_upper_ends_and_nothing_falls_outside() -> None:
    # 0.6 closes the ninth bin and is not in the tenth with 0.65: |0.6 − 1| and |0.65 − 0| do not cancel
    probabilities = np.array([[0.6, 0.4], [0.65, 0.35]])
    assert calibration_error(probabilities, given([0, 1])) == pytest.approx((0.4 + 0.65) / 2)
    assert calibration_error(np.array([[1.0, 0.0]]), given([0])) == 0
    assert calibration_error(np.zeros((1, 2)), given([1])) == 0


def test_missing_labels_do_not_count() -> None:
    kept = TRUE.present
    shorter = Labels(TRUE.values[kept], TRUE.present[kept])
    assert class_scores(PREDICTED, TRUE) == class_scores(PREDICTED[kept], shorter)
    assert np.array_equal(transition_estimate(PREDICTED, TRUE), transition_estimate(PREDICTED[kept], shorter))


def test_without_any_label_every_score_is_unknown() -> None:
    nothing = given([None, None])
    assert all(math.isnan(value) for value in class_scores(certain([0, 1]), nothing).values())
    assert np.isnan(class_f1(certain([0, 1]), nothing)).all()
    assert math.isnan(noise_scores(certain([0, 1]), nothing)["noise_rate"])
    pairs = Labels(np.zeros((2, 2), np.float32), np.zeros(2, bool))
    scores = valence_arousal_scores(np.zeros((2, 2)), pairs)
    assert len(scores) == 12
    assert all(math.isnan(value) for value in scores.values())


def test_transition_estimate_by_hand() -> None:
    # predicted 0 0 0 1 1 with labels 0 0 1 1 2; class 2 is never predicted
    found = transition_estimate(certain([0, 0, 0, 1, 1, 2]), given([0, 0, 1, 1, 2, None]))
    assert found == pytest.approx(np.array([[2 / 3, 1 / 3, 0], [0, 1 / 2, 1 / 2], [0, 0, 0]]))


def test_transition_error_leaves_out_what_was_not_estimated() -> None:
    estimate = np.array([[0.7, 0.3, 0], [0.2, 0.8, 0], [0, 0, 0]])
    known = np.array([[0.9, 0.1, 0], [0.1, 0.8, 0.1], [0.5, 0, 0.5]])
    assert transition_error(estimate, known) == pytest.approx((0.4 + 0.2) / 2)
    assert transition_error(known, known) == 0
    assert transition_error(np.eye(3), np.eye(3)[[1, 2, 0]]) == 2
    assert math.isnan(transition_error(np.zeros((3, 3)), known))


def test_noise_scores_by_hand() -> None:
    # truth 0 0 0 1 1 –, labels 0 0 1 1 2 0, predictions 0 0 0 1 0 2
    labels, truth = given([0, 0, 1, 1, 2, 0]), given([0, 0, 0, 1, 1, None])
    scores = noise_scores(certain([0, 0, 0, 1, 0, 2]), labels, truth)
    assert scores["noise_rate"] == pytest.approx(3 / 6)
    assert scores["true_noise_rate"] == pytest.approx(2 / 5)
    assert scores["memorised"] == pytest.approx(0 / 2)  # labels 1 and 2 are wrong, and 0 is predicted for both
    assert noise_scores(certain([0, 1, 1]), given([0, 1, 0]), given([0, 0, 1]))["memorised"] == pytest.approx(1 / 2)
    # estimated rows (2/4, 1/4, 1/4) and (0, 1, 0); true rows (2/3, 1/3, 0) and (0, 1/2, 1/2)
    assert scores["transition_error"] == pytest.approx(((1 / 6 + 1 / 12 + 1 / 4) + 1) / 2)
    assert noise_scores(certain([0]), given([1])) == {"noise_rate": 1}
    nowhere = Labels(np.array([0]), np.array([False]))  # the truth of test images only
    assert noise_scores(certain([0]), given([1]), nowhere) == {"noise_rate": 1}
    assert not confusion(certain([0]), nowhere).any()
    # a class that is predicted and that no sample truly has: its row has no truth to be compared with
    right = noise_scores(certain([2, 0]), given([0, 0]), given([0, 0]))
    assert right["transition_error"] == 0
    assert "memorised" not in right  # no label is wrong


def test_a_perfect_classifier_finds_the_matrix_that_made_the_noise() -> None:
    stream = np.random.default_rng(5)
    known = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.05, 0.25, 0.7]])
    truth = stream.integers(3, size=60_000)
    labels = (stream.random(len(truth))[:, None] > known[truth].cumsum(axis=1)).sum(axis=1)
    everywhere = np.ones(len(truth), bool)
    estimate = transition_estimate(certain(truth), Labels(labels, everywhere))
    assert estimate == pytest.approx(known, abs=0.015)
    assert transition_error(estimate, known) < 0.03
    assert noise_scores(certain(truth), Labels(labels, everywhere), Labels(truth, everywhere)) == pytest.approx(
        {"noise_rate": 0.8 / 3, "true_noise_rate": 0.8 / 3, "memorised": 0, "transition_error": 0}, abs=0.01
    )


def test_valence_arousal_scores_by_hand() -> None:
    labels = Labels(np.array([[0, 0], [0.5, 0.5], [1, 1], [9, 9]], np.float32), np.array([True, True, True, False]))
    predicted = np.array([[0, 1], [0.5, 0.5], [0.5, 0], [0, 0]], np.float32)
    scores = valence_arousal_scores(predicted, labels)
    # valence: means 1/3 and 1/2, covariance 1/12, variances 1/18 and 1/6; arousal is the labels in reverse
    assert scores["mse_valence"] == pytest.approx(0.25 / 3)
    assert scores["rmse_valence"] == pytest.approx(math.sqrt(0.25 / 3))
    assert scores["pearson_valence"] == pytest.approx((1 / 12) / math.sqrt(1 / 18 / 6))
    assert scores["ccc_valence"] == pytest.approx((2 / 12) / (1 / 18 + 1 / 6 + 1 / 36))
    assert scores["mse_arousal"] == pytest.approx(2 / 3)
    assert scores["rmse_arousal"] == pytest.approx(math.sqrt(2 / 3))
    assert scores["pearson_arousal"] == pytest.approx(-1)
    assert scores["ccc_arousal"] == pytest.approx(-1)
    for name in ("ccc", "mse", "rmse", "pearson"):
        assert scores[name] == pytest.approx((scores[f"{name}_valence"] + scores[f"{name}_arousal"]) / 2)


def test_correlation_of_what_does_not_vary_is_zero() -> None:
    steady, moving = np.full(3, 0.1), np.array([0.1, 0.2, 0.4])
    assert pearson(steady, moving) == pearson(moving, steady) == pearson(steady, steady) == 0
    one = Labels(np.array([[0.5, 0.5]], np.float32), np.array([True]))
    scores = valence_arousal_scores(np.array([[0.5, 0.25]]), one)
    assert scores["pearson"] == scores["ccc"] == 0
    assert scores["mse_arousal"] == 0.0625


def test_task_scores_have_what_every_epoch_records() -> None:
    pairs = Labels(np.array([[0, 1], [1, 0]], np.float32), np.ones(2, bool))
    scores = task_scores(
        {"class": PREDICTED, "va": np.array([[0.0, 1.0], [1.0, 0.0]])},
        {"class": ("categorical", TRUE), "va": ("continuous", pairs)},
    )
    assert scores["class"] == class_scores(PREDICTED, TRUE)
    assert scores["va"]["ccc"] == pytest.approx(1)
    assert scores["va"]["pearson"] == pytest.approx(1)
    assert scores["va"]["rmse"] == 0


def test_reliability_by_hand() -> None:
    # confidences 0.5 (right), 0.5 (wrong), 0.9 (right); 0.5 is in the eighth of 15 intervals, 0.9 in the fourteenth
    probabilities = np.array([[0.5, 0.3, 0.2], [0.5, 0.5, 0.0], [0.05, 0.9, 0.05], [0.4, 0.3, 0.3]])
    samples, hits, confidence = reliability(probabilities, given([0, 1, 1, None]))
    assert {int(place): samples[place] for place in samples.nonzero()[0]} == {7: 2, 13: 1}
    assert (hits[7], hits[13]) == (1, 1)
    assert (confidence[7], confidence[13]) == pytest.approx((1.0, 0.9))
