"""Other people's labels: formats, each of which registers itself, and the join with a manifest's samples."""

import importlib
import pkgutil

from .base import FORMATS, Format, detect
from .options import ImportOptions
from .report import ImportReport

__all__ = ["FORMATS", "Format", "ImportOptions", "ImportReport", "detect", "import_labels"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f".{_module.name}", __name__)

from .job import import_labels  # noqa: E402
