"""Sources, faces, teachers: pretrained models of one dataset label another.

The package can be called: `noisyfer.relabel(…)` is `noisyfer.api.relabel(…)`, though the name is this package's.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Any:
        from importlib import import_module  # by its name, since the package itself needs nothing above it

        return import_module("..api", __name__).relabel(*args, **options)


sys.modules[__name__].__class__ = _Callable
