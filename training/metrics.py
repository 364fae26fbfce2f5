"""Scores of predictions against label sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..manifest import Labels

Array = np.ndarray[Any, Any]


def accuracy(probabilities: Array, labels: Labels) -> float:
    """Share of labelled samples whose most probable class is the label; NaN where nothing is labelled.

    Args:
        probabilities: N×K.
        labels: N class ids.
    """
    hits = probabilities.argmax(axis=1) == labels.values
    return float(hits[labels.present].mean()) if labels.present.any() else float("nan")


def confusion(probabilities: Array, labels: Labels) -> Array:
    """K×K counts: row the label, column the prediction."""
    from sklearn.metrics import confusion_matrix

    classes = range(probabilities.shape[1])
    return np.asarray(
        confusion_matrix(
            labels.values[labels.present], probabilities.argmax(axis=1)[labels.present], labels=list(classes)
        )
    )


def concordance(predicted: Array, labels: Array) -> float:
    """Lin's concordance correlation coefficient (Lin 1989), with biased variances; 0 where nothing varies.

    Args:
        predicted: N.
        labels: N.
    """
    covariance = ((predicted - predicted.mean()) * (labels - labels.mean())).mean()
    spread = predicted.var() + labels.var() + (predicted.mean() - labels.mean()) ** 2
    return float(2 * covariance / spread) if spread > 0 else 0.0


def valence_arousal_scores(predicted: Array, labels: Labels) -> dict[str, float]:
    """CCC and mean squared error of valence and of arousal, and the means of both.

    Args:
        predicted: N×2.
        labels: N×2 in [-1, 1].
    """
    found, truth = predicted[labels.present].astype(np.float64), labels.values[labels.present].astype(np.float64)
    ccc = [concordance(found[:, column], truth[:, column]) for column in range(2)]
    error = ((found - truth) ** 2).mean(axis=0)
    return {
        "ccc": float(np.mean(ccc)),
        "ccc_valence": ccc[0],
        "ccc_arousal": ccc[1],
        "mse": float(error.mean()),
        "mse_valence": float(error[0]),
        "mse_arousal": float(error[1]),
    }


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
        if kind == "categorical":
            scores[task] = {"accuracy": accuracy(predictions[task], labels)}
        else:
            scores[task] = valence_arousal_scores(predictions[task], labels)
    return scores
