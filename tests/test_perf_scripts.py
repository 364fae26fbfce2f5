"""The measuring scripts: each answers, ways are timed in turn, and reports are written whole or not at all."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.testing import CliRunner
from noisyfer.core.errors import UserError
from noisyfer.core.pages import blocks

ROOT = Path(__file__).parent.parent
PERF = ROOT / "perf"
# modules that the scripts share; they have no command line
SHARED = {"measure", "plain", "allocation", "random_rows"}
SCRIPTS = sorted(file.stem for file in PERF.glob("*.py") if file.stem not in SHARED)


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(PERF))
    import measure

    return measure


@pytest.fixture
def report(measure: ModuleType) -> ModuleType:
    import report

    return report


def write_result(measure: ModuleType, file: Path, *cells: str, **other: str) -> None:
    """What a script leaves with `--json`, its machine changed in some entries."""
    measure.finish(file, measure.Table("Ten of them.", ["way", "rate"], [cells]))
    found = json.loads(file.read_text())
    found["command"] = f"python perf/{file.stem}.py"
    found["machine"] |= other
    file.write_text(json.dumps(found))


def page_of(*names: str) -> str:
    return "Before.\n" + "".join(
        f"\n<!-- begin {name} -->\nold {name}\n<!-- end {name} -->\n\nText.\n" for name in names
    )


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_answers_to_help(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # as a script, but in this process, which has loaded torch already
    monkeypatch.syspath_prepend(str(PERF))
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(PERF / f"{script}.py"), run_name="__main__")
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "Usage:" in said
    assert "--json" in said or script == "report"


def test_make_perf_runs_every_script_and_its_results_have_a_block(report: ModuleType) -> None:
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").split("\nperf:")[1].split("\n\n")[0]
    assert sorted(set(re.findall(r"perf/(\w+)\.py", recipe))) == SCRIPTS
    results = {name.split(".")[0] for name in re.findall(r"\$\(RESULTS\)/(\S+)\.json", recipe)}
    places = blocks((ROOT / "docs" / "performance.md").read_text(encoding="utf-8"))
    assert results | {"machine"} == set(places)


def test_ways_run_in_turn_and_the_warm_up_is_not_counted(measure: ModuleType) -> None:
    calls: list[str] = []
    seconds = measure.compare({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=2, warmups=1)
    assert calls == ["a", "b", "a", "b", "a", "b"]
    assert {way: len(found) for way, found in seconds.items()} == {"a": 2, "b": 2}


def test_each_way_gets_its_own_seconds(measure: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def takes(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(measure.time, "perf_counter", lambda: now[0])
    found = measure.compare({"slow": lambda: takes(4), "fast": lambda: takes(0.5)}, repeats=3)
    assert found == {"slow": [4, 4, 4], "fast": [0.5, 0.5, 0.5]}
    assert measure.times_faster(found["fast"], found["slow"]).median == 8
    assert measure.rates(100, found["slow"]).median == 25


def test_spread_is_median_and_quartiles(measure: ModuleType) -> None:
    assert measure.spread([5.0, 1.0, 3.0, 2.0, 4.0]) == measure.Spread(2, 3, 4)
    assert measure.spread([1234.5]).text() == "1,234.5 (1,234.5 to 1,234.5)"


def test_the_peak_of_a_new_process_is_its_own(measure: ModuleType, tmp_path: Path) -> None:
    held = bytearray(400 * 2**20)
    held[:: 2**12] = b"1" * len(held[:: 2**12])  # touch every page
    script = tmp_path / "small.py"
    script.write_text(
        "import sys; sys.path.insert(0, sys.argv[1])\nimport json, measure\n"
        "print(json.dumps({'peak': measure.peak_mb()}))\n"
    )
    assert measure.peak_mb() > 400
    assert measure.in_own_process(str(script), str(PERF))["peak"] < 300


def test_a_script_that_fails_in_its_own_process_is_an_error(measure: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("raise SystemExit('no such way')")
    with pytest.raises(click.ClickException, match=r"bad\.py --alone failed.*no such way"):
        measure.in_own_process(str(tmp_path / "bad.py"), "--alone")


def test_the_command_is_told_without_where_its_json_went(measure: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for written in (["--json", "a.json"], ["--json=a.json"]):
        monkeypatch.setattr(sys, "argv", ["/somewhere/perf/step.py", "--width", "1", *written, "--batch", "64"])
        assert measure.command_line() == "python perf/step.py --width 1 --batch 64"


def test_a_report_fills_its_blocks_and_leaves_the_rest(measure: ModuleType, report: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(page_of("machine", "step", "feed"))
    write_result(measure, tmp_path / "step.json", "ours", "12.5", date="2026-11-25", processor="a Processor")
    for _ in range(2):  # a second time changes nothing
        done = CliRunner().invoke(report.main, [str(tmp_path), "--page", str(page)])
        assert done.exit_code == 0, done.output
        text = page.read_text()
        assert text.count("| ours | 12.5 |") == 1
        assert "`python perf/step.py` (25 November 2026" in text
        assert "a Processor" in text
        assert "old step" not in text
        assert "old machine" not in text
        assert "<!-- begin feed -->\nold feed\n<!-- end feed -->" in text
        assert text.startswith("Before.\n")
        assert text.count("Text.") == 3
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["page.md", "step.json"]


def test_parts_of_a_block_stand_in_the_order_of_their_names(
    measure: ModuleType, report: ModuleType, tmp_path: Path
) -> None:
    write_result(measure, tmp_path / "step.2.json", "second", "1")
    write_result(measure, tmp_path / "step.1.json", "first", "1")
    text = report.block_texts(report.read_results(tmp_path))["step"]
    assert 0 < text.index("first") < text.index("second")


def test_a_result_without_a_block_is_refused_and_the_page_stays(
    measure: ModuleType, report: ModuleType, tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    page.write_text(page_of("machine", "step"))
    write_result(measure, tmp_path / "step.json", "ours", "1")
    write_result(measure, tmp_path / "stop.json", "ours", "1")
    done = CliRunner().invoke(report.main, [str(tmp_path), "--page", str(page)])
    assert done.exit_code == 1
    assert "The page has no block 'stop'; it has machine, step." in done.output
    assert page.read_text() == page_of("machine", "step")


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ("<!-- begin a -->\n", "has no end"),
        ("<!-- end a -->\n", "no partner"),
        ("<!-- begin a -->\n<!-- begin b -->\n<!-- end b -->\n<!-- end a -->\n", "no partner"),
        (page_of("a", "a"), "comes twice"),
    ],
)
def test_markers_that_do_not_pair_are_refused(page: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        blocks(page)


def test_results_of_two_machines_are_refused(measure: ModuleType, report: ModuleType, tmp_path: Path) -> None:
    write_result(measure, tmp_path / "step.json", "ours", "1", date="2026-11-24", torch="2.7.0")
    write_result(measure, tmp_path / "feed.json", "ours", "1", torch="2.8.0")
    with pytest.raises(click.ClickException, match=r"differ in torch: 2\.8\.0 and 2\.7\.0"):
        report.block_texts(report.read_results(tmp_path))
    # dates and threads may differ: each result tells its own, and the page the latest
    write_result(measure, tmp_path / "feed.json", "ours", "1", date="2026-11-25", torch="2.7.0")
    assert "Measured on 25 November 2026" in report.block_texts(report.read_results(tmp_path))["machine"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"command": "x", "machine": {}, "tables": [{"title": "t"}]}'])
def test_a_file_of_something_else_is_refused(report: ModuleType, tmp_path: Path, text: str) -> None:
    (tmp_path / "step.json").write_text(text)
    with pytest.raises(click.ClickException, match=r"step\.json was not written by a script"):
        report.read_results(tmp_path)


def test_a_folder_without_results_is_refused(report: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match=r"There is no \.json file"):
        report.read_results(tmp_path)
