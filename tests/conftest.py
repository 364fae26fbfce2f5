"""Fixtures that several test files use."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Tests run side by side: one compute thread each."""
    torch.set_num_threads(1)


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


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder without any data set in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NOISYFER_DATA", raising=False)
    return tmp_path
