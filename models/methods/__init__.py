"""Ways to learn from label sets; each module of this folder registers its own."""

import importlib
import pkgutil

from .base import METHODS, Batch, LabelSetSpec, Method, Problem, Synthesis, TrainingConfig, Uses

__all__ = ["METHODS", "Batch", "LabelSetSpec", "Method", "Problem", "Synthesis", "TrainingConfig", "Uses"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f".{_module.name}", __name__)
