"""Noise models: clean labels in, the labels of a mistaken annotator out.

Every model is a pure function of the clean labels, a rate in [0, 1) and a random generator. `noise_model` turns what a
user types into one.
"""

from __future__ import annotations

from ...core.errors import unknown_name
from . import flips, instance  # noqa: F401 (they register their models)
from .base import NOISE_MODELS, CleanLabels, NoiseModel
from .matrix import PREFIX, MatrixNoise, matrix_noise, shipped_matrices
from .rates import annotator_names, parse_rates
from .votes import majority_vote, measured_rate, transition_matrix

__all__ = [
    "NOISE_MODELS",
    "CleanLabels",
    "MatrixNoise",
    "NoiseModel",
    "annotator_names",
    "majority_vote",
    "measured_rate",
    "noise_model",
    "parse_rates",
    "shipped_matrices",
    "transition_matrix",
]


def noise_model(spec: str) -> NoiseModel:
    """The noise model that `spec` names: a registered name, or "matrix:" with a shipped name or the path of a CSV file.

    Raises:
        UserError: there is no such model, or its matrix cannot be used.
    """
    if spec.startswith(PREFIX):
        return matrix_noise(spec.removeprefix(PREFIX))
    if spec in NOISE_MODELS:
        return NOISE_MODELS[spec]()
    shipped = [PREFIX + name for name in shipped_matrices()]
    raise unknown_name("noise model", spec, [*NOISE_MODELS, *shipped, f"{PREFIX}FILE"])
