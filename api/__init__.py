"""The commands as functions, with the same words: `--batch-size 8` is `batch_size=8`, `--model` twice a list.

They show progress as the commands do, on a terminal or in a notebook (bars need ipywidgets there, else lines are
printed), unless `progress=False`; what they return is for a program. Errors are `noisyfer.core.errors.UserError`. The
root of the package has all of them: `noisyfer.bench(…)`.
"""

from __future__ import annotations

from .common import Names, Place, Run
from .data import aggregate, convert, inspect, make_faces, open, relabel
from .runs import bench, export, predict, sweep

__all__ = [
    "Names",
    "Place",
    "Run",
    "aggregate",
    "bench",
    "convert",
    "export",
    "inspect",
    "make_faces",
    "open",
    "predict",
    "relabel",
    "sweep",
]
