"""The file of decisions: torn lines, foreign files, a full disk, undoing, formulas."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import pytest
from noisyfer.benchmark.reviewing.decisions import DecisionFile, made_now, read_decisions, standing
from noisyfer.core.errors import UserError
from test_review import HOSTILE


def test_a_torn_last_line_does_not_count_and_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    with DecisionFile(path) as file:
        file.append(made_now(HOSTILE, "s", "cat", "accept", "cat"))
    whole = path.read_bytes()
    for cut in (b"s9,s,cat,cha", b'"s9', b"s9,s,cat,change,dog,2026"):
        path.write_bytes(whole + cut)
        found, torn = read_decisions(path)
        assert ([each.id for each in found], torn) == ([HOSTILE], True)
        with DecisionFile(path) as file:
            assert file.torn
            assert path.read_bytes() == whole
    path.write_bytes(whole[:9])  # of the heading
    with DecisionFile(path) as file:
        assert file.decisions == []
    assert read_decisions(path) == ([], False)


@pytest.mark.parametrize("content", ["mine\n", "mine", "id,set,before,decision,class,time\na,b,c,d,e,f\n"])
def test_a_file_of_something_else_is_left_as_it_is(content: str, tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text(content)
    for attempt in (DecisionFile, read_decisions):
        with pytest.raises(UserError, match=r"is no (file of )?decision"):
            attempt(path)
    assert path.read_text() == content


def test_a_full_disk_keeps_the_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "d.csv"
    with DecisionFile(path) as file:
        file.append(made_now("s0", "s", "cat", "accept", "cat"))
        whole = path.read_bytes()

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match="the disk is full"):
            file.append(made_now("s1", "s", "cat", "accept", "cat"))
        assert path.read_bytes() == whole
        assert len(file.decisions) == 1


def test_undo_takes_back_the_samples_last_decision() -> None:
    def of(name: str, decision: str, given: str = "") -> Any:
        return made_now(name, "s", "cat", decision, given)

    made = [of("x", "accept", "cat"), of("y", "change", "dog"), of("x", "change", "dog"), of("x", "undo")]
    assert standing(made) == made[:2]
    assert standing([of("x", "undo")]) == []


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "+1", "-1", "@x", "\t=1", "'=1", "＝1", "plain", "'quoted'"])
def test_no_cell_of_the_decisions_is_a_formula(text: str, tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    with DecisionFile(path) as file:
        file.append(made_now(text, "s", text, "change", text))
    [found], _ = read_decisions(path)
    assert (found.id, found.before, found.given) == (text, text, text)
    cells = next(csv.reader(path.read_text(encoding="utf-8").splitlines()[1:]))
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "＝")) for cell in cells)
