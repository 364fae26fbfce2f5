"""Fixtures that several test files use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

if TYPE_CHECKING:
    from noisyfer.manifest import Manifest

# a failing assertion of these shows its values, as in a test file
pytest.register_assert_rewrite("manifest_rows", "messages", "method_builders", "network_checks")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Tests run side by side: one compute thread each."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process draw no pictures, which take longer than a smoke run, but for tests marked `pictures`."""
    if request.node.get_closest_marker("pictures") is None:
        monkeypatch.setattr("noisyfer.benchmark.pictures.draw_run", lambda *_: None)


@pytest.fixture
def seeded() -> None:
    """PyTorch's random numbers are the same in every run."""
    torch.manual_seed(20)


@pytest.fixture(scope="session")
def digits_manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged digits with three noisy label sets; not to be written to."""
    from noisyfer.benchmark.cifar import make_cifar

    path = tmp_path_factory.mktemp("digits") / "digits.parquet"
    make_cifar((0.2, 0.3, 0.4), data="digits", out=path)
    return path


@pytest.fixture(scope="session")
def hostile_runs(digits_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `runs` of three finished runs whose manifest, folder and classes have hostile names; not to be written
    to. `proposed` has the seeds 0 and 1, `vgg-all` the seed 0; the manifest is beside it.
    """
    from report_runs import make_hostile_runs

    return make_hostile_runs(digits_manifest, tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A started Chromium, for modules that are marked by `browsers.NEEDED`."""
    from browsers import chromium

    with chromium() as launched:
        yield launched


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder without any data set in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NOISYFER_DATA", raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def no_waiting_for_the_disk() -> Iterator[None]:
    """That files are flushed is tested in test_files; elsewhere it would only wait, a thousand times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where `manifest` lies, or another one is to be written."""
    return tmp_path / "m.parquet"


@pytest.fixture
def manifest(path: Path) -> Manifest:
    """Twenty rows of `manifest_rows.HEADER`."""
    from manifest_rows import HEADER, rows
    from noisyfer.manifest import write_manifest

    return write_manifest(path, HEADER, [rows(20)])
