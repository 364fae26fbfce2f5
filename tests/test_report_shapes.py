"""What a report tells of files that are no runs' results."""

from __future__ import annotations

from pathlib import Path

import pytest
from noisyfer.benchmark.reporting.find import find_runs
from noisyfer.benchmark.reporting.shapes import misfit
from noisyfer.core.errors import UserError
from report_runs import folder


def test_where_a_value_first_differs_from_a_shape() -> None:
    shape = {"a": {"*": [(int, float)]}, "b": str}
    assert misfit({"a": {}, "b": ""}, shape) == ""
    assert misfit({"a": {"x": [1, 2.5]}, "b": "", "more": 1}, shape) == ""
    assert misfit({"a": {"x": [1, "2"]}, "b": ""}, shape) == "a.x[1]"
    assert misfit({"a": {"x": 1}, "b": ""}, shape) == "a.x"
    assert misfit({"a": []}, shape) == "a"
    assert misfit({"a": {}}, shape) == "b"
    assert misfit(3, shape) == "everything"


def test_a_path_may_be_one_run(hostile_runs: Path) -> None:
    found = find_runs([folder(hostile_runs, "vgg-all")])
    assert [run.config["method"] for run in found.finished] == ["vgg-all"]
    with pytest.raises(UserError, match="no folder"):
        find_runs([folder(hostile_runs, "vgg-all") / "result.json"])
