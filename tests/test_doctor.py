"""What an installation has and whether it works."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner
from noisyfer.benchmark import doctor
from noisyfer.cli import main
from noisyfer.core.errors import UserError


def test_versions_devices_sources_and_a_job_that_works(here: Path) -> None:
    (here / "datasets/raf").mkdir(parents=True)
    ran = CliRunner().invoke(main, ["doctor", "--json"])
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    assert found["versions"]["torch"] == version("torch")
    assert found["devices"][0]["device"] == "cpu"
    assert found["sources"]["affectnet"].startswith("not here")
    assert found["sources"]["raf"].startswith("here, but not as it should be")
    assert found["self_check"]["problem"] == ""
    assert [path.name for path in here.iterdir()] == ["datasets"]


def test_a_job_that_does_not_work_is_told_and_is_the_exit_status(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise UserError("No space.")

    monkeypatch.setattr(doctor, "make_cifar", broken)
    ran = CliRunner().invoke(main, ["doctor"])
    assert ran.exit_code == 1
    assert "UserError: No space." in ran.stdout
    assert "passed" not in ran.stdout


def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("nobody-has-this",))
    assert doctor.versions()["nobody-has-this"] == "not installed"
