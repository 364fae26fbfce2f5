"""Scores of predictions against label sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..manifest import Labels

Array = np.ndarray[Any, Any]

BINS = 15
"""Bins of the expected calibration error, as Guo et al. (ICML 2017) have them."""


def accuracy(probabilities: Array, labels: Labels) -> float:
    """Share of labelled samples whose most probable class is the label; NaN where nothing is labelled.

    Args:
        probabilities: N×K.
        labels: N class ids.
    """
    hits = probabilities.argmax(axis=1) == labels.values
    return float(hits[labels.present].mean()) if labels.present.any() else float("nan")


def confusion_counts(rows: Array, columns: Array, classes: int) -> Array:
    """K×K counts of the samples with the row's class in one list of labels and the column's in the other.

    Args:
        rows: class ids N.
        columns: class ids N.
        classes: K. A sample with an id that is none of them is counted nowhere.
    """
    # scikit-learn takes milliseconds to check its arguments, and a thousand annotators are half a million pairs
    known = (rows >= 0) & (rows < classes) & (columns >= 0) & (columns < classes)
    cells = rows[known].astype(np.int64) * classes + columns[known]
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def confusion(probabilities: Array, labels: Labels) -> Array:
    """K×K counts: row the label, column the prediction."""
    predicted = probabilities.argmax(axis=1)[labels.present]
    return confusion_counts(labels.values[labels.present], predicted, probabilities.shape[1])


def class_f1(probabilities: Array, labels: Labels) -> Array:
    """F1 of each class, K: the harmonic mean of precision and recall; NaN for a class that no sample has.

    Args:
        probabilities: N×K.
        labels: N class ids.
    """
    from sklearn.metrics import f1_score

    found = np.full(probabilities.shape[1], np.nan)
    truth = labels.values[labels.present]
    there = np.unique(truth)
    if len(there):
        predicted = probabilities.argmax(axis=1)[labels.present]
        found[there] = f1_score(truth, predicted, labels=there, average=None, zero_division=0)
    return found


def reliability(probabilities: Array, labels: Labels) -> Array:
    """How sure a classifier is and how often it is right (Guo et al., ICML 2017), 3×`BINS`.

    Labelled samples are sorted into equal intervals of their confidence, the largest probability. The rows are, of each
    interval, the number of samples, how many are right, and the sum of their confidences.

    Args:
        probabilities: N×K.
        labels: N class ids.
    """
    confidence = probabilities.max(axis=1)[labels.present].astype(np.float64)
    hits = (probabilities.argmax(axis=1) == labels.values)[labels.present]
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)  # a bin holds its upper end
    return np.stack([np.bincount(bins, weights, BINS) for weights in (np.ones(len(bins)), hits, confidence)])


def calibration_error(probabilities: Array, labels: Labels) -> float:
    """Expected calibration error (Guo et al., ICML 2017, eq. 3), in [0, 1]; NaN where nothing is labelled.

    It is the mean over samples of |accuracy − mean confidence| of their interval of `reliability`.

    Args:
        probabilities: N×K.
        labels: N class ids.
    """
    if not labels.present.any():
        return float("nan")
    samples, hits, confidence = reliability(probabilities, labels)
    return float(np.abs(hits - confidence).sum() / samples.sum())


def class_scores(probabilities: Array, labels: Labels) -> dict[str, float]:
    """Accuracy, macro F1, balanced accuracy (the mean of the classes' recalls) and calibration error.

    Means over classes are over those that some sample has, so that a class that is missing from a test set costs
    nothing by itself; all are NaN where nothing is labelled.

    Args:
        probabilities: N×K.
        labels: N class ids.
    """
    from sklearn.metrics import recall_score

    each, recall = class_f1(probabilities, labels), float("nan")
    there = np.flatnonzero(~np.isnan(each))
    if len(there):
        predicted = probabilities.argmax(axis=1)[labels.present]
        recall = recall_score(labels.values[labels.present], predicted, labels=there, average="macro", zero_division=0)
    return {
        "accuracy": accuracy(probabilities, labels),
        "macro_f1": float(each[there].mean()) if len(there) else float("nan"),
        "balanced_accuracy": float(recall),
        "calibration_error": calibration_error(probabilities, labels),
    }


def transition_estimate(probabilities: Array, labels: Labels) -> Array:
    """How a trained classifier believes that a set's noise was made, K×K: row the predicted class, column the label.

    Entry i, j is the share of label j among the labelled samples that are predicted to be class i. A class that is
    never predicted has a row of zeros, since nothing is known of it.

    Args:
        probabilities: N×K, of training images.
        labels: N noisy class ids.
    """
    counts = confusion(probabilities, labels).T.astype(np.float64)
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def transition_error(estimate: Array, known: Array) -> float:
    """‖T̂ − T‖₁ / ‖T‖₁ over the rows that were estimated, in [0, 2]; NaN where none was.

    Args:
        estimate: K×K, from `transition_estimate`.
        known: K×K, row-stochastic.
    """
    there = estimate.sum(axis=1) > 0
    return float(np.abs(estimate - known)[there].sum(axis=1).mean()) if there.any() else float("nan")


def noise_scores(probabilities: Array, labels: Labels, truth: Labels | None = None) -> dict[str, float]:
    """What a classifier says of a set's noise, and how far that is from the truth where the truth is there.

    `noise_rate` is the share of labels that differ from the prediction. With the truth `true_noise_rate` is the share
    that differ from it, `memorised` the share of these wrong labels that the prediction repeats (where there are any),
    and `transition_error` compares the estimated matrix with the one counted from the truth.

    Args:
        probabilities: N×K, of training images.
        labels: N noisy class ids.
        truth: N class ids; samples without one are left out of the comparison, which is not made where none has one.
    """
    scores = {"noise_rate": 1 - accuracy(probabilities, labels)}
    if truth is not None and (labels.present & truth.present).any():
        certain = np.eye(probabilities.shape[1])[truth.values]
        both = Labels(labels.values, labels.present & truth.present)
        estimate, known = transition_estimate(probabilities, both), transition_estimate(certain, both)
        comparable = known.sum(axis=1) > 0
        scores["true_noise_rate"] = 1 - accuracy(certain, both)
        wrong = both.present & (labels.values != truth.values)
        if wrong.any():
            scores["memorised"] = accuracy(probabilities, Labels(labels.values, wrong))
        scores["transition_error"] = transition_error(estimate[comparable], known[comparable])
    return scores


def concordance(predicted: Array, labels: Array) -> float:
    """Lin's concordance correlation coefficient (Lin 1989), with biased variances; 0 where nothing varies.

    Args:
        predicted: N.
        labels: N.
    """
    covariance = ((predicted - predicted.mean()) * (labels - labels.mean())).mean()
    spread = predicted.var() + labels.var() + (predicted.mean() - labels.mean()) ** 2
    return float(2 * covariance / spread) if spread > 0 else 0.0


def pearson(predicted: Array, labels: Array) -> float:
    """Pearson's correlation coefficient; 0 where either side does not vary.

    Args:
        predicted: N.
        labels: N.
    """
    if not (np.ptp(predicted) and np.ptp(labels)):
        return 0.0
    return float(np.corrcoef(predicted, labels)[0, 1])


def valence_arousal_scores(predicted: Array, labels: Labels) -> dict[str, float]:
    """CCC, mean squared error, its root and Pearson's correlation of valence and of arousal, and each one's mean.

    All are NaN where nothing is labelled.

    Args:
        predicted: N×2.
        labels: N×2 in [-1, 1].
    """
    found, truth = predicted[labels.present].astype(np.float64), labels.values[labels.present].astype(np.float64)
    columns = [(found[:, column], truth[:, column]) for column in range(2)]
    if len(found):
        error = ((found - truth) ** 2).mean(axis=0)
        each = {
            "ccc": [concordance(*pair) for pair in columns],
            "mse": error.tolist(),
            "rmse": np.sqrt(error).tolist(),
            "pearson": [pearson(*pair) for pair in columns],
        }
    else:
        each = {name: [float("nan")] * 2 for name in ("ccc", "mse", "rmse", "pearson")}
    scores: dict[str, float] = {}
    for name, (valence, arousal) in each.items():
        scores |= {name: (valence + arousal) / 2, f"{name}_valence": valence, f"{name}_arousal": arousal}
    return scores


def task_scores(
    predictions: Mapping[str, Array], truth: Mapping[str, tuple[str, Labels]]
) -> dict[str, dict[str, float]]:
    """Scores of each task against its true label set.

    Args:
        predictions: by task, N×K probabilities or N×2 values.
        truth: by task, the kind of the task and its true labels.
    """
    scores = {}
    for task, (kind, labels) in truth.items():
        score = class_scores if kind == "categorical" else valence_arousal_scores
        scores[task] = score(predictions[task], labels)
    return scores
