"""Aggregators of other packages, which noisyfer[audit] brings: crowd-kit's GLAD and MACE, cleanlab's CROWDLAB."""

from __future__ import annotations

import warnings
from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np

from ..core.errors import UserError, first_line
from ..core.streams import stream_seed
from .aggregators import Aggregate, Array, Given, aggregator, most_probable

INSTALL = "pip install 'noisyfer[audit]'"


def library(module: str, package: str, method: str) -> Any:
    """A module of a package that noisyfer can do without.

    Raises:
        UserError: it is not installed, or cannot be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        reason = "" if isinstance(error, ModuleNotFoundError) else f" as it should be ({first_line(error)})"
        raise UserError(f"{method} needs the package {package}, which is not installed{reason}: {INSTALL}.") from error


@aggregator("glad", "categorical", "ability")
def glad(given: Given) -> Aggregate:
    """GLAD by crowd-kit: an ability an annotator and a difficulty a sample (Whitehill et al., NeurIPS 2009).

    The prior is the same for all K classes. The ability α is any number; at 0 a label says nothing.
    """
    crowd = library("crowdkit.aggregation", "crowd-kit", "glad")
    import pandas as pd

    model = crowd.GLAD(labels_priors=pd.Series(1 / given.classes, index=range(given.classes)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandas, about what crowd-kit asks of it
        model.fit(_long(given, given.values[given.present]))
    probs = _by_sample(given, model.probas_, np.arange(given.classes))
    ability = model.alphas_.reindex(range(len(given.values))).to_numpy()
    return _found(given, probs, ability, {"package": f"crowd-kit {version('crowd-kit')}"})


@aggregator("mace", "categorical", "competence")
def mace(given: Given) -> Aggregate:
    """MACE by crowd-kit: each annotator either knows or guesses (Hovy et al., NAACL 2013), by variational Bayes.

    The competence is the probability with which an annotator knows.
    """
    crowd = library("crowdkit.aggregation", "crowd-kit", "mace")
    import pandas as pd

    # crowd-kit 1.4 numbers classes as they come along in one place and in their order in another: made the same here
    codes, classes = pd.factorize(given.values[given.present])
    # further restarts would all begin at the same random numbers
    model = crowd.MACE(n_restarts=1, random_state=stream_seed(given.seed, "mace") % 2**32)
    model.fit(_long(given, codes))
    probs = _by_sample(given, model.probas_, np.asarray(classes))
    return _found(given, probs, model.spamming_[:, 1], {"package": f"crowd-kit {version('crowd-kit')}"})


@aggregator("crowdlab", "categorical", "quality", needs_probs=True)
def crowdlab(given: Given) -> Aggregate:
    """CROWDLAB by cleanlab: annotators and a model, weighted by how well each agrees with the others (Goh et al. 2022).

    With w_s and w_M the weights that cleanlab estimates, P the mean agreement with the consensus where there are two
    labels or more, and the sums over the sets that label sample i,

        p_i ∝ w_M·p_model,i + Σ_s w_s·(P at the class that s gives, (1 − P)/(K − 1) at the others)

    Samples of which the model has no probabilities stay without a label.
    """
    multiannotator = library("cleanlab.multiannotator", "cleanlab", "crowdlab")
    if given.probs is None:
        raise ValueError("a model's probabilities were expected")
    known = np.isfinite(given.probs).all(axis=1)
    used = given.labelled & known
    labels = np.where(given.present, given.values, np.nan).T[used]
    model = given.probs[used].astype(np.float64)
    model /= model.sum(axis=1, keepdims=True)
    try:
        told = multiannotator.get_label_quality_multiannotator(
            labels, model, return_detailed_quality=False, return_weights=True, verbose=False
        )
    except (ValueError, AssertionError) as error:
        raise UserError(f"cleanlab cannot aggregate these label sets: {first_line(error).strip()}.") from error
    table, weights = told["label_quality"], np.asarray(told["annotator_weight"])
    right = table["annotator_agreement"][table["num_annotations"] != 1].mean()
    joint = model * told["model_weight"]
    for column, weight in zip(labels.T, weights, strict=True):
        rows = np.flatnonzero(~np.isnan(column))
        wrong = (1 - right) / max(given.classes - 1, 1)
        joint[rows] += weight * wrong
        joint[rows, column[rows].astype(np.int64)] += weight * (right - wrong)
    values, probs = np.zeros(len(used), np.int64), np.zeros(given.probs.shape, np.float32)
    values[used], probs[used] = table["consensus_label"], joint / joint.sum(axis=1, keepdims=True)
    quality = told["annotator_stats"]["annotator_quality"].reindex(range(len(weights))).to_numpy()
    details = {
        "package": f"cleanlab {version('cleanlab')}",
        "model_weight": float(told["model_weight"]),
        "annotator_weights": weights.tolist(),
    }
    left = int((given.labelled & ~known).sum())
    notes = [f"{left:,} samples of which the model has no probabilities stay without a label."] if left else []
    return Aggregate(values, used, probs, quality, details=details, notes=notes)


def _long(given: Given, labels: Array) -> Any:
    """The labels as crowd-kit takes them: a row a label, set by set."""
    import pandas as pd

    sets, samples = np.nonzero(given.present)
    return pd.DataFrame({"task": samples, "worker": sets, "label": labels})


def _by_sample(given: Given, found: Any, classes: Array) -> Array:
    """N×K of crowd-kit's table, whose rows are labelled samples and whose columns are numbers of classes."""
    probs = np.zeros((given.values.shape[1], given.classes))
    shares = found.to_numpy()
    rows = found.index.to_numpy()
    probs[rows[:, None], classes[found.columns.to_numpy()][None, :]] = shares / shares.sum(axis=1, keepdims=True)
    return probs


def _found(given: Given, probs: Array, reliability: Array, details: dict[str, Any]) -> Aggregate:
    values = most_probable(probs, given.seed)
    return Aggregate(values, given.labelled, probs.astype(np.float32), reliability, details=details)
