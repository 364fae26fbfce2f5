"""Datasets in their real layouts on disk; each module of this folder registers its own."""

import importlib
import pkgutil

from .base import EXPRESSIONS, SOURCES, Sample, Source, SourceOptions, find_root

__all__ = ["EXPRESSIONS", "SOURCES", "Sample", "Source", "SourceOptions", "find_root"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f".{_module.name}", __name__)
