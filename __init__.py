"""noisyfer: facial emotion recognition with noisy multi-task annotations.

What the command line does is here as functions of the same names, loaded when they are first used (`noisyfer.api`):

    import noisyfer
    noisyfer.make_cifar(data="digits")
    runs = noisyfer.bench("vgg-all,proposed", manifest="data_manifests/digits.parquet", preset="smoke")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .api import Run, aggregate, bench, convert, export, inspect, make_faces, open, predict, relabel, sweep
    from .benchmark.cifar import make_cifar
    from .manifest import Manifest
    from .relabel.exporting import export_labels
    from .relabel.importing import import_labels
    from .training.dataset import ManifestDataset

__all__ = [
    "Manifest",
    "ManifestDataset",
    "Run",
    "aggregate",
    "bench",
    "convert",
    "export",
    "export_labels",
    "import_labels",
    "inspect",
    "make_cifar",
    "make_faces",
    "open",
    "predict",
    "relabel",
    "sweep",
]

_ELSEWHERE = {
    "Manifest": "manifest",
    "ManifestDataset": "training.dataset",
    "export_labels": "relabel.exporting",
    "import_labels": "relabel.importing",
    "make_cifar": "benchmark.cifar",
}
"""Where those names are that are not in `api`."""


def __getattr__(name: str) -> Any:
    """A public name, from the module where it is; only then is that loaded."""
    if name not in __all__:
        raise AttributeError(f"module 'noisyfer' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f".{_ELSEWHERE.get(name, 'api')}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
